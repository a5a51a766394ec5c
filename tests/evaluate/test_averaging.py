"""A network with the mean of other networks' weights."""

import pytest
import tiny
import torch
from torch import nn

from convscope.core.errors import ConfigError
from convscope.evaluate.averaging import average_weights
from convscope.models import build


def test_by_hand() -> None:
    """Floats are averaged, batches seen are the first network's; no network is changed."""
    models = [nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1)) for _ in range(3)]
    for number, model in enumerate(models):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(number**2)
        model[1].running_mean.fill_(10 * number)
        model[1].num_batches_tracked.fill_(7 + number)
    before = [tiny.of_tensors(model.state_dict()) for model in models]
    found = average_weights(models)
    assert [parameter.item() for parameter in found.parameters()] == pytest.approx([5 / 3] * 4)
    assert float(found[1].running_mean) == 10 and int(found[1].num_batches_tracked) == 7  # type: ignore[index]
    assert [tiny.of_tensors(model.state_dict()) for model in models] == before
    assert not found.training and models[0].training


def test_the_mean_of_a_network_and_itself_is_itself_bit_for_bit() -> None:
    model = build("resnet20", classes=4, channels=3, size=16, width=4)
    assert tiny.of_tensors(average_weights([model] * 3).state_dict()) == tiny.of_tensors(model.state_dict())


def test_the_mean_of_linear_networks_is_the_mean_of_their_outputs() -> None:
    """Where a network is linear in its weights, averaging weights is an ensemble."""
    models = [nn.Linear(4, 3).double() for _ in range(4)]
    x = torch.rand(5, 4, dtype=torch.float64)
    torch.testing.assert_close(average_weights(models)(x), torch.stack([m(x) for m in models]).mean(0))


def test_refusals() -> None:
    with pytest.raises(ConfigError) as error:
        average_weights([])
    assert str(error.value) == "There are no networks to average."
    for other, how in (
        (nn.Linear(2, 4), "(3,) in network 1 and (4,)"),
        (nn.Linear(2, 3, bias=False), "(3,) in network 1 and missing"),
    ):
        with pytest.raises(ConfigError) as error:
            average_weights([nn.Linear(2, 3), nn.Linear(2, 3), other])
        assert str(error.value) == (
            f"Weights can be averaged only between networks of one architecture: bias is {how} in network 3."
        )
