"""Means of probabilities, and the weights that suit them best."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.evaluate.mixture import TOLERANCE, cross_fitted, fit_weights, mixture


def draw(members: int = 4, images: int = 60, classes: int = 5, seed: int = 0) -> tuple[list[Tensor], Tensor]:
    """Logits that know something of the labels, each member something else."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (images,), generator=generator)
    hint = F.one_hot(labels, classes)
    made = [
        torch.randn(images, classes, generator=generator) * (1 + k) + 0.8 * (1 + k) * hint
        for k in range(members)
    ]
    return made, labels


def logits_of(*rows: list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


# Means ------------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    """0.25 x (0.8, 0.2) + 0.75 x (0.4, 0.6) = (0.5, 0.5)."""
    members = [logits_of([0.8, 0.2]), logits_of([0.4, 0.6])]
    assert mixture(members).exp().tolist() == [pytest.approx([0.6, 0.4])]
    assert mixture(members, [0.25, 0.75]).exp().tolist() == [pytest.approx([0.5, 0.5])]


def test_probabilities_are_averaged_and_not_logits() -> None:
    """A member says the same whatever is added to its logits of an image."""
    members = [member.double() for member in draw()[0]]
    shifted = [member + torch.arange(60.0)[:, None] for member in members]
    torch.testing.assert_close(mixture(shifted), mixture(members))
    expected = np.mean([torch.softmax(member, 1).numpy() for member in members], axis=0)
    np.testing.assert_allclose(mixture(members).exp().numpy(), expected, rtol=1e-12)


def test_one_member_says_what_it_said() -> None:
    (member,), _ = draw(members=1)
    torch.testing.assert_close(mixture([member]), member.double().log_softmax(1), rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", range(5))
def test_together_never_worse_than_on_average(seed: int) -> None:
    """Jensen: -log is convex."""
    members, labels = draw(seed=seed)
    losses = [float(F.cross_entropy(member.double(), labels)) for member in members]
    assert float(F.nll_loss(mixture(members), labels)) <= np.mean(losses)
    weights = [0.1, 0.2, 0.3, 0.4]
    assert float(F.nll_loss(mixture(members, weights), labels)) <= np.dot(weights, losses)


def test_the_order_of_the_members_changes_nothing() -> None:
    members, labels = draw(members=3)
    weights, together = fit_weights(members, labels), mixture(members)
    for order in itertools.permutations(range(3)):
        turned = [members[k] for k in order]
        torch.testing.assert_close(mixture(turned), together)
        torch.testing.assert_close(fit_weights(turned, labels), weights[list(order)])


def test_a_probability_too_small_for_any_float_costs_what_it_should() -> None:
    """exp(-2000) is 0 in float64; its logarithm is not minus infinity."""
    members = [torch.tensor([[0.0, 2000.0]]), torch.tensor([[0.0, 1000.0]])]
    assert float(mixture(members)[0, 0]) == pytest.approx(-1000 - math.log(2))


# Weights ----------------------------------------------------------------------------------------------------


def test_weights_by_hand() -> None:
    """True classes get 0.9 and 0.2 from A, 0.5 and 0.5 from B, which always says the same.

    log(0.5 + 0.4 t) + log(0.5 - 0.3 t) is largest where 0.4 (0.5 - 0.3 t) = 0.3 (0.5 + 0.4 t): t = 5/24.
    """
    a, b = logits_of([0.9, 0.1], [0.8, 0.2]), logits_of([0.5, 0.5], [0.5, 0.5])
    labels = torch.tensor([0, 1])
    assert fit_weights([a, b], labels).tolist() == pytest.approx([5 / 24, 19 / 24], abs=1e-3)
    loss = -(math.log(0.5 + 0.4 * 5 / 24) + math.log(0.5 - 0.3 * 5 / 24)) / 2
    fitted = mixture([a, b], fit_weights([a, b], labels))
    assert loss <= float(F.nll_loss(fitted, labels)) <= loss + TOLERANCE


def test_a_member_that_is_better_everywhere_gets_everything() -> None:
    good, bad = logits_of([0.9, 0.1], [0.2, 0.8]), logits_of([0.5, 0.5], [0.5, 0.5])
    assert fit_weights([bad, good], torch.tensor([0, 1])).tolist() == pytest.approx([0, 1], abs=1e-6)


def test_members_that_are_alike_share() -> None:
    (one, other), labels = draw(members=2)
    weights = fit_weights([one, one, other], labels)
    assert float(weights[0]) == float(weights[1])


@pytest.mark.parametrize("seed", range(4))
def test_no_weights_are_better(seed: int) -> None:
    """As good as what scipy finds, which knows nothing of our method; and never worse than a single member."""
    members, labels = draw(seed=seed)
    own = torch.stack([m.double().softmax(1)[torch.arange(len(labels)), labels] for m in members]).numpy()
    weights = fit_weights(members, labels)
    ours = float(F.nll_loss(mixture(members, weights), labels))
    found = minimize(
        lambda w: -np.log(w @ own).mean(), np.full(4, 0.25), method="SLSQP", bounds=[(1e-12, 1)] * 4,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-12},
    )  # fmt: skip
    assert ours == pytest.approx(found.fun, abs=2e-7)
    assert ours <= min(float(F.cross_entropy(m.double(), labels)) for m in members) + TOLERANCE
    assert float(weights.sum()) == pytest.approx(1) and float(weights.min()) >= 0


def test_an_image_that_nobody_thinks_possible_decides_nothing() -> None:
    """Its probability is 0 for all members in float64; in logarithms it still counts, by ratios."""
    a = torch.tensor([[3000.0, 0.0], [2.0, 0.0]])
    b = torch.tensor([[3000.0, 0.0], [0.0, 2.0]])
    assert fit_weights([a, b], torch.tensor([1, 0])).tolist() == pytest.approx([1, 0], abs=1e-6)


# Scoring weights on images they did not see -----------------------------------------------------------------


def test_no_image_is_scored_with_weights_its_label_chose() -> None:
    """Whatever label an image has, what is said about it stays; what is said about the others may not."""
    members, labels = draw(members=3, images=24)
    before = cross_fitted(members, labels)
    moved = False
    for image in range(len(labels)):
        changed = labels.clone()
        changed[image] = (labels[image] + 1) % 5
        after = cross_fitted(members, changed)
        assert torch.equal(after[image], before[image])
        moved = moved or not torch.allclose(after, before)
    assert moved


def test_weights_flatter_on_the_images_they_were_fitted_on() -> None:
    """The same images, once with weights that have seen them: why the figure is cross-fitted."""
    gaps = []
    for seed in range(5):
        members, labels = draw(images=40, seed=seed)
        seen = mixture(members, fit_weights(members, labels))
        gaps.append(float(F.nll_loss(cross_fitted(members, labels), labels) - F.nll_loss(seen, labels)))
    assert min(gaps) >= -TOLERANCE and max(gaps) > 0.005


# Refusals ---------------------------------------------------------------------------------------------------


def refused(call) -> str:
    with pytest.raises(ConfigError) as error:
        call()
    return str(error.value)


def test_what_cannot_be_mixed() -> None:
    a, b = torch.zeros(2, 3), torch.zeros(2, 4)
    sentence = "Members must have predicted the same images and classes; shapes given: "
    assert refused(lambda: mixture([a, b])) == f"{sentence}(2, 3) and (2, 4)."
    assert refused(lambda: mixture([])) == f"{sentence}none."
    for weights, shown in (([0.5, 0.6], "0.5, 0.6"), ([1.5, -0.5], "1.5, -0.5"), ([1.0], "1")):
        assert refused(lambda w=weights: mixture([a, a], w)) == (
            f"2 members need 2 weights, none below zero and together 1, not {shown}."
        )


def test_what_weights_cannot_be_fitted_to() -> None:
    a = torch.zeros(2, 3)
    sentence = "Weights are fitted to labels: 2 images need 2 labels in 0 to 2."
    for labels in ([0], [0, 3], [0, -1]):
        assert refused(lambda given=labels: fit_weights([a], torch.tensor(given))) == sentence
    broken = torch.tensor([[0.0, 0, 0], [0, float("nan"), 0]])
    assert refused(lambda: fit_weights([a, broken], torch.tensor([0, 1]))) == (
        "Member 2 of 2 gives image 1 an output that is not finite: leave it out."
    )
    assert refused(lambda: cross_fitted([a[:1]], torch.tensor([0]))) == (
        "Weights are fitted on one half of the images and scored on the other: 1 is too few."
    )
