"""Response normalisation against torch's, and by hand."""

import pytest
import torch
from torch import nn

from convscope.models.response import ResponseNorm


def noise(*shape: int) -> torch.Tensor:
    return 30 * torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("channels", [1, 2, 5, 96])
def test_it_equals_torchs_in_value_and_gradient(channels: int) -> None:
    images = noise(3, channels, 5, 4).requires_grad_()
    # The paper's constants; torch multiplies alpha by the mean of five squares where the paper has their sum.
    ours, theirs = ResponseNorm()(images), nn.LocalResponseNorm(5, 5e-4, 0.75, 2.0)(images)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    direction = torch.randn(ours.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (a,), (b,) = (torch.autograd.grad(x, images, direction) for x in (ours, theirs))
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_neighbour_in_the_channels_counts_and_one_at_the_side_does_not() -> None:
    image = torch.zeros(1, 8, 1, 2, dtype=torch.float64)
    image[0, 3, 0, 0] = 100.0
    image[0, 5, 0, 0] = 200.0
    image[0, 6, 0, 0] = 300.0
    image[0, 3, 0, 1] = 100.0
    found = ResponseNorm()(image)
    # Channels 1 to 5 reach channel 3, and 6 does not: 2 + 1e-4 (100^2 + 200^2) = 7.
    assert found[0, 3, 0, 0].item() == pytest.approx(100 / 7**0.75)
    # Channels 4 to 8: 2 + 1e-4 (200^2 + 300^2) = 15.
    assert found[0, 6, 0, 0].item() == pytest.approx(300 / 15**0.75)
    assert found[0, 3, 0, 1].item() == pytest.approx(100 / 3**0.75)


def test_it_stays_channels_last_in_both_directions() -> None:
    images = noise(2, 6, 4, 3).to(memory_format=torch.channels_last).requires_grad_()
    found = ResponseNorm()(images)
    (gradient,) = torch.autograd.grad(found.square().sum(), images)
    assert found.stride() == gradient.stride() == images.stride() == (72, 1, 18, 6)
