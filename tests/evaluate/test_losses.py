"""What one image costs, on paper and beside torch's functions for labels and for whole batches."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from convscope.core import catalog, config
from convscope.core.config import Choice, Recipe, RunConfig
from convscope.core.errors import ConfigError
from convscope.evaluate.losses import bce, cross_entropy, l1, mse

K = 5


@pytest.fixture
def logits() -> Tensor:
    return torch.randn(12, K, generator=torch.Generator().manual_seed(0)) * 3


@pytest.fixture
def labels() -> Tensor:
    return torch.arange(12) % K


@pytest.fixture
def one_hot(labels: Tensor) -> Tensor:
    return F.one_hot(labels, K).float()


@pytest.fixture
def mixed() -> Tensor:
    """Shares of images mixed from several classes."""
    return torch.rand(12, K, generator=torch.Generator().manual_seed(1)).softmax(1)


def values(found: Tensor) -> list[float]:
    return [pytest.approx(x, rel=1e-6) for x in found.tolist()]


# By hand -------------------------------------------------------------------------------------------------------


def test_on_paper() -> None:
    """Probabilities 1/2, 1/4, 1/4 of three classes, true class first; then half first and half second."""
    logits = torch.log(torch.tensor([[2.0, 1.0, 1.0]])).repeat(2, 1)
    shares = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]])
    assert values(cross_entropy(logits, shares)) == [math.log(2), (math.log(2) + math.log(4)) / 2]
    # Smoothed by 0.3: shares 0.8, 0.1, 0.1.
    smoothed = 0.8 * math.log(2) + 0.2 * math.log(4)
    assert values(cross_entropy(logits[:1], shares[:1], smoothing=0.3)) == [smoothed]


def test_distances_on_paper() -> None:
    logits, shares = torch.tensor([[0.5, -1.0, 2.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    assert mse(logits, shares).tolist() == [(0.25 + 1 + 4) / 4]
    assert l1(logits, shares).tolist() == [(0.5 + 1 + 2) / 4]


def test_a_question_per_class_on_paper() -> None:
    """Sigmoids of 3/4 and 1/5 for a first class that is there and a second that is not."""
    logits = torch.tensor([[math.log(3), -math.log(4)]])
    assert values(bce(logits, torch.tensor([[1.0, 0.0]]))) == [-(math.log(3 / 4) + math.log(4 / 5)) / 2]
    assert values(bce(logits, torch.tensor([[0.5, 0.5]]))) == [
        -(math.log(3 / 4) + math.log(1 / 4) + math.log(1 / 5) + math.log(4 / 5)) / 4
    ]


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_equal_logits_cost_ln_k_whatever_the_shares(classes: int, smoothing: float) -> None:
    """S1.25, E1.6: per image, without any sum."""
    shares = torch.rand(4, classes, generator=torch.Generator().manual_seed(2)).softmax(1)
    for level in (0.0, 7.0):
        logits = torch.full((4, classes), level)
        assert values(cross_entropy(logits, shares, smoothing)) == [math.log(classes)] * 4
    assert values(bce(torch.zeros(4, classes), shares)) == [math.log(2)] * 4


def test_zero_everywhere_costs_one_in_k_of_a_distance(one_hot: Tensor) -> None:
    for loss in (mse, l1):
        assert values(loss(torch.zeros(12, K), one_hot)) == [1 / K] * 12


# Beside torch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_of_labels_is_torchs(
    logits: Tensor, labels: Tensor, one_hot: Tensor, smoothing: float
) -> None:
    """Torch's path for integers, which has no shares."""
    wanted = F.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing)
    assert torch.allclose(cross_entropy(logits, one_hot, smoothing), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.25])
def test_cross_entropy_of_shares_by_its_formula(logits: Tensor, mixed: Tensor, smoothing: float) -> None:
    shares = (1 - smoothing) * mixed + smoothing / K
    wanted = -(shares * logits.softmax(1).log()).sum(1)
    assert torch.allclose(cross_entropy(logits, mixed, smoothing), wanted, rtol=1e-5)


def test_the_others_are_torchs_means_over_a_batch(logits: Tensor, one_hot: Tensor, mixed: Tensor) -> None:
    """Torch's classes average over all elements at once; so does the mean of what the images cost."""
    for shares in (one_hot, mixed):
        pairs = [(mse, torch.nn.MSELoss()), (bce, torch.nn.BCEWithLogitsLoss()), (l1, torch.nn.L1Loss())]
        for ours, theirs in pairs:
            assert ours(logits, shares).mean().item() == pytest.approx(
                theirs(logits, shares).item(), rel=1e-6
            )


def test_bce_is_the_printed_formula_on_probabilities(logits: Tensor, mixed: Tensor) -> None:
    """S4.8, where p is far enough from 0 and 1 for the printed form."""
    p = torch.sigmoid(logits.double())
    wanted = -(mixed * p.log() + (1 - mixed) * (1 - p).log()).mean(1)
    assert torch.allclose(bce(logits, mixed).double(), wanted, rtol=1e-5)


def test_s4_8s_sum_is_k_times_our_mean(logits: Tensor, one_hot: Tensor) -> None:
    assert torch.allclose((one_hot - logits).abs().sum(1), K * l1(logits, one_hot), rtol=1e-6)


# Options -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (1.0, "Input should be less than 1"),
        (-0.1, "Input should be greater than or equal to 0"),
    ],
)
def test_a_smoothing_that_cannot_be(given: float, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        catalog.resolve("losses", "cross-entropy", {"smoothing": given})
    assert (
        str(caught.value)
        == f"The option 'smoothing' of the loss 'cross-entropy' cannot be {given}: {reason}."
    )


def test_smoothing_renames_no_older_run_while_it_is_off() -> None:
    def name(**options: float) -> str:
        recipe = Recipe(loss=Choice(name="cross-entropy", options=options))
        asked = config.resolve(RunConfig(recipe=recipe), (), 0.1, 0.2)
        return config.identity(asked, "0" * 64)

    assert name() == name(smoothing=0.0) != name(smoothing=0.1)
