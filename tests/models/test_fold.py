"""Folded networks give the same logits; which norms go is counted by hand, and the others have a reason to stay."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

import convscope
from convscope.core.errors import ConfigError
from convscope.models import build
from convscope.models.fold import fold

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def trained(net: nn.Module) -> nn.Module:
    """Norms as they might be after training: nothing at the value it starts with."""
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, NORMS):
            with torch.no_grad():
                for tensor, low in (
                    (module.running_mean, -1),
                    (module.running_var, 0.2),
                    (module.weight, -1),
                ):
                    if tensor is not None:
                        tensor.uniform_(low, 2, generator=generator)
                if module.bias is not None:
                    module.bias.uniform_(-1, 1, generator=generator)
    return net


def norms(net: nn.Module) -> list[str]:
    return [name for name, module in net.named_modules() if isinstance(module, NORMS)]


def assert_same_logits(net: nn.Module, folded: nn.Module, *shape: int) -> None:
    images = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = net.eval()(images), folded(images)
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


# Shortcut A has no norm: 1 + 18 = 19 convolutions, each with its own; B has two more.  In version 2 the norm
# comes before: only those after the stem and in the middle of the nine blocks follow a convolution, and eight
# first norms of a block and the network's last follow a sum.
@pytest.mark.parametrize(
    ("name", "options", "before", "after"),
    [
        ("resnet20", {}, 19, 0),
        ("resnet20", {"shortcut": "B"}, 21, 0),
        ("resnet20", {"shortcut": "none"}, 19, 0),
        ("resnet20", {"version": 2}, 19, 9),
        ("resnet20", {"conv_dropout": 0.3}, 19, 0),
        ("simplenn", {"norm": "batch"}, 2, 0),
        ("simplenn", {}, 0, 0),
        ("lenet5", {"norm": "batch", "activation": "swish"}, 2, 0),
        ("mlp", {"norm": "batch", "hidden": 2, "width": 9}, 2, 0),
    ],
)
def test_networks_of_the_catalog(name: str, options: dict[str, object], before: int, after: int) -> None:
    net = trained(build(name, classes=5, size=16, **options))
    folded = fold(net)
    assert len(norms(net)) == before
    assert len(norms(folded)) == after
    assert [n for n, _ in folded.named_modules()] == [n for n, _ in net.named_modules()]
    assert_same_logits(net, folded, 3, 16, 16)


def test_by_hand() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, eps=0.0)).eval()
    conv, norm = net
    with torch.no_grad():
        conv.weight[:] = torch.tensor([3.0, 5.0]).view(2, 1, 1, 1)
        norm.running_mean[:] = torch.tensor([1.0, 2.0])
        norm.running_var[:] = torch.tensor([4.0, 0.25])
        norm.weight[:] = torch.tensor([10.0, 1.0])
        norm.bias[:] = torch.tensor([7.0, 0.0])
    folded = fold(net)
    assert folded[0].weight.flatten().tolist() == [15, 10]  # 3 * 10 / 2, 5 * 1 / 0.5
    assert folded[0].bias.tolist() == [2, -4]  # (0 - 1) * 10 / 2 + 7, (0 - 2) / 0.5
    assert type(folded[1]) is nn.Identity
    assert conv.bias is None


class Own(nn.Module):
    """A user's: grouped, dilated, and with a norm without scale and shift."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(4, 8, 3, padding=2, dilation=2, groups=2)
        self.norm = nn.BatchNorm2d(8, affine=False)
        self.second = nn.Linear(8, 3, bias=False)
        self.last = nn.BatchNorm1d(3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        return self.last(self.second(x.mean((2, 3))))


def test_a_users_own_module() -> None:
    net = trained(Own())
    folded = fold(net)
    assert norms(folded) == []
    assert_same_logits(net, folded, 4, 6, 6)


class Stays(nn.Module):
    """A convolution and a norm that must not be folded, for a reason that is passed in."""

    def __init__(self, use: Callable[["Stays", Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.use = use

    def forward(self, x: Tensor) -> Tensor:
        return self.use(self, x)


def convolved_twice(net: Stays, x: Tensor) -> Tensor:
    return net.norm(net.conv(net.conv(x).relu()))


def normed_twice(net: Stays, x: Tensor) -> Tensor:
    return net.norm(net.norm(net.conv(x)).relu())


def also_used_elsewhere(net: Stays, x: Tensor) -> Tensor:
    seen = net.conv(x)
    return net.norm(seen) + seen


def weight_used_elsewhere(net: Stays, x: Tensor) -> Tensor:
    return F.conv2d(net.norm(net.conv(x)), net.conv.weight, padding=1)


def something_between(net: Stays, x: Tensor) -> Tensor:
    return net.norm(net.conv(x).relu())


@pytest.mark.parametrize(
    "use", [convolved_twice, normed_twice, also_used_elsewhere, weight_used_elsewhere, something_between]
)
def test_a_norm_stays_where_folding_would_change_the_result(use: Callable[[Stays, Tensor], Tensor]) -> None:
    net = trained(Stays(use))
    folded = fold(net)
    assert norms(folded) == ["norm"]
    assert torch.equal(folded.conv.weight, net.conv.weight)
    assert_same_logits(net, folded, 3, 5, 5)


def in_order(net: Stays, x: Tensor) -> Tensor:
    return net.norm(net.conv(x))


def without_statistics(net: Stays) -> None:
    net.norm = nn.BatchNorm2d(3, track_running_stats=False)


def sharing_its_weight(net: Stays) -> None:
    net.other = nn.Conv2d(3, 3, 3)
    net.other.weight = net.conv.weight


def watched(net: Stays) -> None:
    net.conv.register_forward_hook(lambda module, inputs, output: None)


def parametrised(net: Stays) -> None:
    weight_norm(net.conv)


@pytest.mark.parametrize("change", [without_statistics, sharing_its_weight, watched, parametrised])
def test_a_norm_stays_where_its_layer_is_not_alone(change: Callable[[Stays], None]) -> None:
    net = Stays(in_order)
    assert norms(fold(net)) == []
    change(net)
    folded = fold(trained(net))
    assert norms(folded) == ["norm"]
    assert_same_logits(net, folded, 3, 5, 5)


def test_the_model_is_untouched_and_may_be_training() -> None:
    net = trained(build("resnet20", classes=5, width=4)).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    folded = fold(net)
    assert net.training
    assert not any(module.training for module in folded.modules())
    after = net.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    shared = {p.data_ptr() for p in net.parameters()} & {p.data_ptr() for p in folded.parameters()}
    assert not shared


def test_weights_keep_their_layout_type_and_what_learns() -> None:
    net = trained(build("resnet20", classes=5, width=4)).double()
    net.conv1.requires_grad_(False)
    folded = fold(net)
    assert folded.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert {p.dtype for p in folded.parameters()} == {torch.float64}
    learning = {name for name, p in folded.named_parameters() if p.requires_grad}
    still = {name for name, p in folded.named_parameters() if not p.requires_grad}
    assert still == {"conv1.weight", "conv1.bias"}
    assert "layer1.0.conv1.bias" in learning
    assert all(p.is_leaf for p in folded.parameters())


def test_folding_again_changes_nothing() -> None:
    once = convscope.fold(trained(build("simplenn", classes=5, norm="batch")))
    twice = convscope.fold(once)
    assert all(torch.equal(twice.state_dict()[key], value) for key, value in once.state_dict().items())


class Deciding(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_network_that_cannot_be_followed_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        fold(Deciding())
    assert str(caught.value) == (
        "The structure of Deciding cannot be traced, because torch.fx says: symbolically traced variables cannot be "
        "used as inputs to control flow. Its forward may not decide by the numbers in a batch or count its images. "
        "Move such a part into a module of its own without parts, which is not looked into."
    )
