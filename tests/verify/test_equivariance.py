"""Each check of `equivariance` with layers that behave otherwise, and moves by hand."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from convscope.verify import equivariance as topic

conv2d, max_pool2d, avg_pool2d = F.conv2d, F.max_pool2d, F.avg_pool2d


def test_a_move_by_hand() -> None:
    assert topic._moved(torch.tensor([[1, 2], [3, 4]]), 1, 0).tolist() == [[3, 4], [1, 2]]
    assert topic._moved(torch.tensor([[1, 2, 3]]), 0, 1).tolist() == [[3, 1, 2]]


def by_place(x: torch.Tensor) -> torch.Tensor:
    """Every column of a map with a weight of its own."""
    return x * (1 + torch.arange(x.shape[-1]))


@pytest.mark.parametrize(
    "check", [topic._convolution, topic._inside, topic._strided, topic._only_convolutions, topic._invariant]
)
def test_a_convolution_that_knows_its_place_is_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda *args, **options: by_place(conv2d(*args, **options)))
    assert not check().holds


def test_a_border_that_does_no_harm_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda x, w, padding: conv2d(F.pad(x, (1, 1, 1, 1), mode="circular"), w))
    assert topic._border().holds


def test_a_stride_that_does_no_harm_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means of whole maps in the place of a convolution."""

    def constant(x: torch.Tensor, w: torch.Tensor, stride: int) -> torch.Tensor:
        return x[:, :, 1:-1, 1:-1].mean((2, 3), keepdim=True).expand(-1, -1, 4, 4)

    monkeypatch.setattr(F, "conv2d", constant)
    assert topic._stride_of_one().holds


@pytest.mark.parametrize("check", [topic._pools, topic._pool_forgets])
def test_pools_that_know_their_place_are_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "max_pool2d", lambda x, *sides: max_pool2d(by_place(x), *sides))
    assert not check().holds


def test_a_pool_over_channels_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "avg_pool2d", lambda x, *sides: avg_pool2d(x - x.mean(1, keepdim=True), *sides))
    assert not topic._pools_by_channel().holds


def test_a_pool_for_which_one_pixel_is_nothing_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "max_pool2d", lambda x, sides: x.amax(-1, keepdim=True).expand(-1, -1, -1, 2))
    assert topic._pool_of_one().holds


def test_a_1x1_convolution_that_looks_aside_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda x, w: conv2d(x + x.roll(1, -1), w))
    assert not topic._pointwise().holds


def test_a_linear_layer_that_is_a_convolution_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda layer, x: 3 * x)
    assert topic._linear().holds


def test_logits_that_forget_the_place_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "linear", lambda x, w: x.mean() * w.sum())
    assert topic._logistic().holds


def test_features_without_place_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "_features", lambda x: x.mean((2, 3), keepdim=True).expand_as(x))
    assert topic._maps_not_invariant().holds


def test_a_network_that_forgets_the_place_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    average = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    monkeypatch.setattr(topic, "build", lambda *args, **options: average)
    assert topic._network().holds


# Goes red when `_largest` moves the output by as much as the image under a stride.
def test_the_output_of_a_stride_moves_less() -> None:
    x = torch.arange(64.0).view(1, 1, 8, 8)
    assert topic._largest(lambda x: x[:, :, ::2, ::2], x, stride=2, step=2) == 0
    assert topic._largest(lambda x: x[:, :, ::2, ::2], x, stride=1, step=2) > 0
