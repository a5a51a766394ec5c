"""A lent network comes back bit for bit, and its loss is the one it was trained with."""

import math
from typing import Any

import pytest
import torch
from noise import linear, normed, subject_with
from torch import Tensor, nn

from convscope.core.config import Choice, Recipe
from convscope.diagnostics.weightspace import batch_statistics, borrowed, image_loss


def test_lent_network_is_put_back_after_an_exception() -> None:
    model = normed().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ZeroDivisionError), borrowed(model, "batch"):
        model.eval()(torch.full((2, 2, 4, 4), math.nan))
        model[0].weight.data.mul_(2)
        raise ZeroDivisionError
    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert model.training
    assert model[1].track_running_stats


def test_batch_statistics_never_touch_the_stored_ones() -> None:
    model = normed().train()
    with batch_statistics(model):
        model(torch.randn(4, 2, 4, 4, generator=torch.Generator().manual_seed(0)))
    assert model[1].running_mean.tolist() == [0.0] * 4
    assert int(model[1].num_batches_tracked) == 0


def test_loss_of_a_run_is_the_one_it_was_trained_with() -> None:
    recipe = Recipe(loss=Choice(name="cross-entropy", options={"smoothing": 0.5}))
    own = image_loss(subject_with(linear(), recipe=recipe), "auto")
    assert own.text == "cross-entropy:smoothing=0.5"
    outputs = torch.tensor([[2.0, 0.0, 0.0]])
    expected = nn.functional.cross_entropy(outputs, torch.tensor([0]), label_smoothing=0.5)
    assert float(own(outputs, torch.tensor([0]))) == pytest.approx(float(expected))
    assert image_loss(subject_with(linear()), "auto").text == "cross-entropy"


class Counting(nn.Module):
    """Somebody's own layer, which remembers how often it was used."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("times", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.times += 1
        return x


def test_what_a_layer_remembers_is_put_back_too() -> None:
    model: Any = nn.Sequential(Counting(), nn.Flatten(), nn.Linear(4, 3))
    with borrowed(model):
        model(torch.ones(2, 4))
        assert float(model[0].times) == 1
    assert float(model[0].times) == 0
