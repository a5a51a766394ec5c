"""Initialisations are compared with torch's own, draw for draw, and with fans counted by hand."""

import math

import pytest
import torch
from torch import nn

from convscope.compute.fences import seeded
from convscope.core.errors import UnknownName
from convscope.models.init import initialise, kaiming, torch_default, xavier
from convscope.models.lenet import CONNECTIONS, PartialConv2d


def test_kaiming_equals_torchs_with_fan_out() -> None:
    ours, theirs = nn.Conv2d(5, 7, 3), torch.empty(7, 5, 3, 3)
    with seeded(1):
        kaiming(ours)
    with seeded(1):
        nn.init.kaiming_normal_(theirs, mode="fan_out", nonlinearity="relu")
    torch.testing.assert_close(ours.weight.detach(), theirs, rtol=1e-6, atol=0)


def test_kaiming_of_a_linear_layer_equals_torchs_with_fan_in() -> None:
    ours, theirs = nn.Linear(50, 7), torch.empty(7, 50)
    with seeded(1):
        kaiming(ours)
    with seeded(1):
        nn.init.kaiming_normal_(theirs, mode="fan_in", nonlinearity="relu")
    torch.testing.assert_close(ours.weight.detach(), theirs, rtol=1e-6, atol=0)


@pytest.mark.parametrize("layer", [nn.Conv2d(5, 7, 3), nn.Linear(11, 4)])
def test_xavier_equals_torchs(layer: nn.Module) -> None:
    theirs = torch.empty_like(layer.weight)
    with seeded(1):
        xavier(layer)
    with seeded(1):
        nn.init.xavier_normal_(theirs)
    torch.testing.assert_close(layer.weight.detach(), theirs, rtol=1e-6, atol=0)


# torch counts all output channels of a grouped convolution, though an input reaches only its own group's.
def test_fans_of_a_grouped_convolution_by_hand() -> None:
    layer = nn.Conv2d(8, 12, (3, 5), groups=4, bias=False)
    with seeded(1):
        kaiming(layer)
    with seeded(1):
        standard = torch.empty_like(layer.weight).normal_()
    # 12 / 4 outputs x 15 places
    torch.testing.assert_close(layer.weight.detach(), standard * math.sqrt(2 / 45))


def test_fans_of_a_partial_convolution_by_hand() -> None:
    n_in, n_out = PartialConv2d(CONNECTIONS, 5).fans()
    # The first map sees three inputs and the last all six; input 0 reaches 10 of the 16 maps.
    assert n_in[0].item() == 3 * 25
    assert n_in[-1].item() == 6 * 25
    assert n_out[0].item() == 10 * 25


def test_a_partial_convolution_is_initialised_too() -> None:
    layer = PartialConv2d(CONNECTIONS, 5)
    with seeded(1):
        kaiming(layer)
    with seeded(1):
        standard = torch.empty_like(layer.weight).normal_()
    torch.testing.assert_close(layer.weight.detach(), standard * math.sqrt(2 / 250))
    assert layer.bias.tolist() == [0] * 16


@pytest.mark.parametrize("init", [kaiming, xavier])
def test_biases_become_zero_and_norms_neutral(init) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(5)
    init(net)
    assert net[0].bias.tolist() == [0] * 4
    assert net[1].weight.tolist() == [1] * 4
    assert net[1].bias.tolist() == [0] * 4
    assert net[3].bias.tolist() == [0] * 2
    assert not (net[0].weight == 5).any()


def test_torchs_default_changes_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = [parameter.detach().clone() for parameter in net.parameters()]
    torch_default(net)
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


# The law behind the formula (S3.70, S3.72): thirty ReLU layers neither blow gradients up nor drown them.
def test_kaiming_keeps_the_size_of_gradients_and_torchs_default_does_not() -> None:
    def growth(init) -> float:
        with seeded(3):
            layers = [nn.Linear(200, 200, bias=False) for _ in range(30)]
            images = torch.randn(64, 200)
            direction = torch.randn(64, 200)
        net = nn.Sequential(*(nn.Sequential(layer, nn.ReLU()) for layer in layers))
        with seeded(4):
            init(net)
        images.requires_grad_()
        (gradient,) = torch.autograd.grad((net(images) * direction).sum(), images)
        return (gradient.norm() / direction.norm()).item()

    assert 0.3 < growth(kaiming) < 3
    # Variance 1/(3 n_in) instead of 2/n_in: a factor of 1/sqrt(6) per layer.
    assert 0.1 < growth(torch_default) / 6**-15 < 10


def test_an_unknown_initialisation_is_corrected() -> None:
    with pytest.raises(UnknownName) as caught:
        initialise(nn.Identity(), "xavir")
    assert str(caught.value) == (
        "No initialisation is called 'xavir'. Did you mean 'xavier'? Known: kaiming, torch, xavier."
    )
