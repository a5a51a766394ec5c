"""Filters with lengths and angles that are known."""

import pytest
import torch
from small import conv1x1, linear, noise, subject_on
from torch import nn

from convscope.core.errors import ConfigError
from convscope.diagnostics.filters import filters


def test_faint_and_parallel_filters() -> None:
    conv = nn.Conv2d(1, 4, 2, bias=False)
    rows = [[3, 4, 0, 0], [-6, -8, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 2.0]]
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(rows).view(4, 1, 2, 2))
    found = filters(subject=subject_on(nn.Sequential(conv, nn.Flatten(), linear([[1] * 100] * 3)), noise(2)))
    assert found.layer == "0"
    assert found.norms == (5, 10, 0.5, 2)
    assert found.faint == 1
    assert found.alike == ((0, 1, pytest.approx(-1)),)
    assert found.weights[1].tolist() == [[[-6, -8], [0, 0]]]
    assert found.sentence == (
        "toy on toys: of the 4 filters of 2x2 in 0, 1 is shorter than 10% of the longest, and 1 pair is nearly "
        "parallel (|cosine| of at least 0.95)."
    )


def test_the_first_called_counts_and_none_is_refused() -> None:
    class Swapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.second, self.first = conv1x1(1.0), conv1x1(2.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.second(self.first(x))
            return found

    assert filters(subject=subject_on(Swapped(), noise(2))).layer == "first"
    with pytest.raises(ConfigError) as caught:
        filters(subject=subject_on(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), noise(2)))
    assert str(caught.value) == "Sequential has no convolution, so there are no filters to show."
