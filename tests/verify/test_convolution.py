"""Each check of `convolution` with what it checks made wrong, and matrices and sizes by hand."""

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from convscope.models import summary
from convscope.verify import convolution as topic

conv1d, conv2d, linear, max_pool2d = F.conv1d, F.conv2d, F.linear, F.max_pool2d


def flipped(x: torch.Tensor, w: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
    """What mathematicians call a convolution."""
    return conv2d(x, w.flip(-1), *args, **options)


@pytest.mark.parametrize("check", [topic._formula, topic._matrix])
def test_a_flipped_filter_is_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", flipped)
    assert not check().holds


def test_images_that_see_each_other_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda x, *args, **options: conv2d(x - x.mean(0), *args, **options))
    assert not topic._alone().holds


def test_a_bias_from_nowhere_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda x, w, b=None, **options: conv2d(x, w, b, **options) + (b is None))
    assert not topic._alone().holds


def test_a_flipped_row_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv1d", lambda x, w: conv1d(x, w.flip(-1)))
    assert not topic._row().holds


def test_the_matrix_by_hand() -> None:
    w = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    assert topic.as_matrix(w, (2, 3), 0, 1).tolist() == [[1, 2, 0, 3, 4, 0], [0, 1, 2, 0, 3, 4]]
    # With one pixel of padding and stride 2 the windows begin in rows -1 and 1, columns -1 and 1.
    assert topic.as_matrix(w, (2, 3), 1, 2).tolist() == [
        [4, 0, 0, 0, 0, 0],
        [0, 3, 4, 0, 0, 0],
        [0, 0, 0, 2, 0, 0],
        [0, 0, 0, 0, 1, 2],
    ]


def test_weights_that_are_not_shared_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer whose weights depend on the place."""
    monkeypatch.setattr(F, "conv2d", lambda x, w: conv2d(x, w) * (1 + torch.arange(5)))
    assert not topic._shared().holds


@pytest.mark.parametrize("check", [topic._examples, topic._unseen, topic._sizes])
def test_a_forgotten_padding_is_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(x: torch.Tensor, w: torch.Tensor, b: Any = None, stride: int = 1, padding: int = 0) -> Any:
        return conv2d(x, w, b, stride)

    monkeypatch.setattr(F, "conv2d", without)
    assert not check().holds


def test_sizes_of_other_windows_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        F, "max_pool2d", lambda x, *sides, ceil_mode: max_pool2d(x, *sides, ceil_mode=not ceil_mode)
    )
    assert not topic._sizes_of_pools().holds
    assert not topic._ceil().holds


def test_a_pool_that_always_rounds_up_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not topic._always_up().holds
    monkeypatch.setattr(topic, "POOLS", [(32, 3, 0, 2), (5, 3, 0, 1)])
    assert topic._always_up().holds


@pytest.mark.parametrize(
    ("case", "down", "up"),
    [
        ((7, 3, 0, 2), 3, 3),
        ((32, 3, 0, 2), 15, 16),
        ((3, 1, 0, 3), 1, 1),
        ((5, 2, 1, 2), 3, 3),
        ((4, 3, 1, 2), 2, 3),
        ((2, 3, 0, 1), 0, 0),
    ],
)
def test_sizes_by_hand(case: tuple[int, int, int, int], down: int, up: int) -> None:
    assert topic._rounded_down(*case) == down
    assert topic._rounded_up(*case) == up == topic._pooled(case, average=False, ceil=True)


def test_a_place_that_sees_its_neighbour_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda x, *rest: conv2d(x.roll(1, -1), *rest))
    assert not topic._pixelwise().holds


def test_another_receptive_field_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "conv2d", lambda x, w, padding: conv2d(x, w, padding=2 * padding, dilation=2))
    assert not topic._stacked().holds


@pytest.mark.parametrize("check", [topic._products, topic._networks])
def test_wrong_counts_of_the_summary_are_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = summary._macs
    monkeypatch.setattr(topic, "COUNTED", ("lenet5",))
    assert check().holds
    monkeypatch.setattr(summary, "_macs", lambda *args: right(*args) + 1)
    assert not check().holds


def test_a_layer_of_another_width_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = torch.nn.Conv2d
    monkeypatch.setattr(
        topic.nn, "Conv2d", lambda into, out, side, **options: wide(into, out + 1, side, **options)
    )
    assert not topic._pixelwise_count().holds
