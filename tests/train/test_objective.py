"""How the losses of images are put together: against torch, against finite differences, by hand."""

import numpy as np
import pytest
import tiny
import torch
import torch.nn.functional as F
from torch import nn

from convscope.core.config import Recipe
from convscope.core.errors import ConfigError
from convscope.data import ImageSet
from convscope.train.loop import gradients
from convscope.train.objective import Objective, class_weights

LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0], [0.0, 1.0, 3.0], [1.0, -2.0, 0.0]])
LABELS = torch.tensor([0, 1, 2, 0])


def images(labels: list[int], classes: int = 3) -> ImageSet:
    count = len(labels)
    return ImageSet(
        torch.zeros(count, 1, 2, 2, dtype=torch.uint8),
        torch.arange(count),
        torch.tensor(labels),
        tuple("abcdefgh"[:classes]),
    )


def objective(**recipe: object) -> Objective:
    """Of classes a, b, c with 1, 2 and 5 images."""
    return Objective(tiny.config(**recipe).recipe, images([0, 1, 1, 2, 2, 2, 2, 2]))


def test_without_weights_it_is_torchs_mean() -> None:
    assert torch.allclose(objective()(LOGITS, LABELS), F.cross_entropy(LOGITS, LABELS), atol=1e-6)


def test_balanced_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    labels = [0, 1, 1, 2, 2, 2, 2, 2]
    found = class_weights(Recipe(class_weights="balanced"), images(labels))
    assert found is not None
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert found.tolist() == pytest.approx(expected.tolist())


def test_weighted_it_is_torchs_weighted_mean() -> None:
    weights = torch.tensor([8 / 3, 4 / 3, 8 / 15])
    expected = F.cross_entropy(LOGITS, LABELS, weight=weights)
    assert torch.allclose(objective(class_weights="balanced")(LOGITS, LABELS), expected, atol=1e-6)


def test_a_mixed_image_counts_as_a_mixture() -> None:
    found = objective(class_weights=[1.0, 3.0, 5.0]).weights(torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]]))
    assert found.tolist() == pytest.approx([2 / 7, 5 / 7])


@pytest.mark.parametrize("given", [[1.0, 2.0], [1.0, -1.0, 2.0], [0.0, 0.0, 0.0]])
def test_weights_that_cannot_be_are_refused(given: list[float]) -> None:
    with pytest.raises(ConfigError) as error:
        objective(class_weights=given)
    assert str(error.value) == (
        f"class_weights are {len(given)} numbers ({', '.join(f'{w:g}' for w in given)}) for 3 classes: a, b, c. "
        f"Give one number per class, none below zero and not all zero, or `balanced`."
    )


def test_the_l1_penalty_is_the_gradient_of_the_sum_of_absolute_values() -> None:
    """S1.46, against autograd on the loss as it is printed; biases do not decay."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    with torch.no_grad():
        model.weight[0, 0] = 0.0
    x = torch.randn(4, 4)
    found = objective(l1=0.01)
    found(model(x), LABELS).backward()
    found.add_penalty(model)
    ours = model.weight.grad.clone(), model.bias.grad.clone()
    model.zero_grad()
    (F.cross_entropy(model(x), LABELS) + 0.01 * model.weight.abs().sum()).backward()
    assert torch.allclose(ours[0], model.weight.grad, atol=1e-7)
    assert torch.allclose(ours[1], model.bias.grad, atol=1e-7)


def test_a_step_feels_the_penalty() -> None:
    """S1.46, in the run's own step: the gradient differs by l1 x sign(weight) where weights decay, else not."""
    found = []
    for l1 in (0.0, 0.01):
        made = tiny.session(l1=l1)
        gradients(made, *made.batch(0))
        found.append({name: (p, p.grad) for name, p in made.model.named_parameters()})
    for name, (parameter, plain) in found[0].items():
        expected = 0.01 * parameter.sign() if parameter.ndim > 1 else torch.zeros_like(parameter)
        assert torch.allclose(found[1][name][1] - plain, expected, atol=1e-6), name


def test_a_batch_without_an_image_that_counts_teaches_nothing() -> None:
    found = objective(class_weights=[1.0, 0.0, 0.0])
    loss = found(LOGITS.clone().requires_grad_(), torch.tensor([1, 2, 1, 2]))
    loss.backward()
    assert float(loss.detach()) == 0.0
