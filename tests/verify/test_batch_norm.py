"""Each check of `batch_norm` with norms that compute something else, and its formula by hand."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.verify import batch_norm as topic

batch_norm = F.batch_norm


def norms(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Both of torch's norms, with something done to their result."""
    monkeypatch.setattr(F, "batch_norm", lambda *args, **options: change(batch_norm(*args, **options)))


def test_the_formula_by_hand() -> None:
    """0 and 2 have the mean 1 and the variance 1; with scale 3 and shift 4 they become 1 and 7."""
    norm = nn.BatchNorm1d(topic.CHANNELS, eps=0).double()
    nn.init.constant_(norm.weight, 3)
    nn.init.constant_(norm.bias, 4)
    x = torch.tensor([0.0, 2.0], dtype=torch.float64)[:, None].expand(2, topic.CHANNELS)
    assert topic._by_hand(x, norm, (0,)).tolist() == [[1] * topic.CHANNELS, [7] * topic.CHANNELS]


@pytest.mark.parametrize(
    "check", [topic._features, topic._maps, topic._moments, topic._identity, topic._running]
)
def test_a_norm_that_is_off_is_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    norms(monkeypatch, lambda out: 1.001 * out)
    assert not check().holds


def test_a_norm_with_an_unbiased_variance_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def unbiased(x: Any, mean: Any, variance: Any, weight: Any, bias: Any, *_: Any) -> torch.Tensor:
        v, m = torch.var_mean(x, (0, 2, 3), keepdim=True)
        return (x - m) / (v + 1e-5).sqrt() * weight.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)

    monkeypatch.setattr(F, "batch_norm", unbiased)
    assert topic._bessel().holds
    assert not topic._maps().holds


def test_a_norm_without_a_shift_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def centred(out: torch.Tensor) -> torch.Tensor:
        return out - out.mean((0, 2, 3), keepdim=True)

    norms(monkeypatch, centred)
    assert not topic._zero_mean().holds
    assert topic._zero_mean_in_expectation().holds


def test_a_norm_of_each_image_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda norm, x: x - x.mean((2, 3), keepdim=True))
    assert topic._company().holds


def test_evaluation_with_the_batch_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        F, "batch_norm", lambda x, m, v, w, b, training, *more: batch_norm(x, m, v, w, b, True, *more)
    )
    assert not topic._alone().holds


def test_a_batch_of_two_with_much_eps_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "NO_EPS", 1.0)
    assert not topic._two().holds
    assert not topic._moments().holds
    assert not topic._scale_of_weights().holds


def test_a_running_average_with_another_share_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._norm

    def slower(*args: Any, **options: Any) -> Any:
        norm = right(*args, **options)
        norm.momentum = 0.05
        return norm

    monkeypatch.setattr(topic, "_norm", slower)
    assert not topic._running().holds


def test_a_running_variance_without_correction_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def biased(norm: Any, x: torch.Tensor) -> None:
        norm.running_var.copy_(x.var((0, 2, 3), correction=0))

    monkeypatch.setattr(nn.BatchNorm2d, "forward", biased)
    assert topic._unbiased().holds


def test_statistics_of_one_pass_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._estimated
    monkeypatch.setattr(topic, "_estimated", lambda *args, together: right(*args, together=True))
    assert not topic._layer_by_layer().holds
    monkeypatch.setattr(topic, "_estimated", lambda *args, together: right(*args, together=False))
    assert topic._at_once().holds


def test_a_running_average_that_is_exact_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._from_the_set

    def exact(network: Any) -> float:
        topic._estimated(network, topic._training_set(), together=False)
        return right(network)

    monkeypatch.setattr(topic, "_from_the_set", exact)
    assert topic._running_is_not().holds


def test_a_wrong_folding_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic.fold

    def forgetful(network: nn.Module) -> nn.Module:
        folded = right(network)
        convolution = next(m for m in folded.modules() if isinstance(m, nn.Conv2d) and m.bias is not None)
        nn.init.zeros_(convolution.bias)
        return folded

    monkeypatch.setattr(topic, "fold", forgetful)
    assert not topic._folding().holds
    monkeypatch.setattr(topic, "fold", lambda network: network)
    assert not topic._folding().holds


@pytest.mark.parametrize("check", [topic._inert, topic._inert_gradient, topic._scale_of_weights])
def test_without_a_norm_biases_and_scales_matter(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "batch_norm", lambda x, *args, **options: x)
    assert not check().holds


def test_a_norm_that_ignores_its_statistics_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "batch_norm", lambda x, *args: x - x.mean((0, 2, 3), keepdim=True))
    assert topic._inert_in_evaluation().holds


def test_no_eps_at_all_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._normed
    monkeypatch.setattr(topic, "_normed", lambda x, w, **_: right(x, w, eps=topic.NO_EPS))
    assert topic._scale_of_small_weights().holds


def test_norms_without_parameters_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    network = nn.Sequential(nn.Linear(1, 1), nn.BatchNorm2d(3, affine=False))
    monkeypatch.setattr(topic, "build", lambda *args, **options: network)
    assert not topic._trainable().holds
