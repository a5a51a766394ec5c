"""GoogLeNet: counts worked out by hand for each variant, torchvision's names, and what each variant does."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.models.blocks import Parts, Separable
from convscope.models.googlenet import (
    MODULES,
    SLIDES_3B,
    AuxiliaryHead,
    ConvLayer,
    Form,
    GoogLeNet,
    Inception,
    SmallForm,
    VariantParts,
    Widths,
    googlenet,
    googlenet_cifar,
)
from convscope.models.response import ResponseNorm

LARGE = {"classes": 1000, "channels": 3, "size": 224}
SMALL = {"classes": 10, "channels": 3, "size": 32}
TINY = {"classes": 3, "channels": 3, "size": 32}
PLAIN = Parts(norm="none")

# The paper's table 1: channels in; 1x1; 1x1 and 3x3; 1x1 and 5x5; 1x1 behind the pool; channels out.
TABLE = {
    "3a": (192, 64, 96, 128, 16, 32, 32, 256),
    "3b": (256, 128, 128, 192, 32, 96, 64, 480),
    "4a": (480, 192, 96, 208, 16, 48, 64, 512),
    "4b": (512, 160, 112, 224, 24, 64, 64, 512),
    "4c": (512, 128, 128, 256, 24, 64, 64, 512),
    "4d": (512, 112, 144, 288, 32, 64, 64, 528),
    "4e": (528, 256, 160, 320, 32, 128, 128, 832),
    "5a": (832, 256, 160, 320, 32, 128, 128, 832),
    "5b": (832, 384, 192, 384, 48, 128, 128, 1024),
}


def module_convs(name: str, large: int) -> dict[str, tuple[int, int, int]]:
    """(channels in, out, kernel) of the convolutions of a module, by torchvision's names."""
    into, one, reduced3, three, reduced5, five, pooled, _ = TABLE[name]
    return {
        "branch1": (into, one, 1),
        "branch2.0": (into, reduced3, 1),
        "branch2.1": (reduced3, three, 3),
        "branch3.0": (into, reduced5, 1),
        "branch3.1": (reduced5, five, large),
        "branch4.1": (into, pooled, 1),
    }


def all_convs(large: int, *, auxiliary: bool) -> dict[str, tuple[int, int, int]]:
    """The same of the whole network."""
    found = {"conv1": (3, 64, 7), "conv2": (64, 64, 1), "conv3": (64, 192, 3)}
    for name in TABLE:
        found |= {f"inception{name}.{key}": conv for key, conv in module_convs(name, large).items()}
    if auxiliary:
        found |= {"aux1.conv": (512, 128, 1), "aux2.conv": (528, 128, 1)}
    return found


def by_hand(large: int, *, norm: bool, auxiliary: bool) -> tuple[int, int]:
    """Parameters of convolutions with their norms, and of linear layers."""
    conv = sum(
        into * out * kernel**2 + (2 * out if norm else out)  # scale and shift, or a bias
        for into, out, kernel in all_convs(large, auxiliary=auxiliary).values()
    )
    head = (128 * 4 * 4 * 1024 + 1024) + (1024 * 1000 + 1000)  # 3,123,176
    return conv, 1024 * 1000 + 1000 + (2 * head if auxiliary else 0)


def counts(net: nn.Module) -> tuple[int, int]:
    linear = sum(p.numel() for m in net.modules() if isinstance(m, nn.Linear) for p in m.parameters())
    return sum(p.numel() for p in net.parameters()) - linear, linear


@pytest.mark.parametrize(
    ("variant", "auxiliary", "total"),
    [
        ("paper", False, 6_998_552),
        ("paper", True, 13_378_280),
        ("bn", False, 7_005_832),
        ("bn", True, 13_385_816),
        ("torchvision", False, 6_624_904),
        ("torchvision", True, 13_004_888),
    ],
)
def test_parameters_by_hand(variant: str, auxiliary: bool, total: int) -> None:
    with torch.device("meta"):
        net = googlenet(**LARGE, form=Form(variant=variant, auxiliary=auxiliary))
    expected = by_hand(3 if variant == "torchvision" else 5, norm=variant != "paper", auxiliary=auxiliary)
    assert counts(net) == expected
    assert sum(expected) == total


def test_one_module_by_hand() -> None:
    """3a: 12,352 + 18,528 + 110,720 + 3,088 + 12,832 + 6,176, with biases."""
    parts = [into * out * kernel**2 + out for into, out, kernel in module_convs("3a", 5).values()]
    assert parts == [12_352, 18_528, 110_720, 3_088, 12_832, 6_176]
    found = Inception(192, MODULES["3a"], PLAIN)
    assert sum(p.numel() for p in found.parameters()) == sum(parts) == 163_696


def test_the_table_of_the_modules_is_the_papers() -> None:
    """X3.6: nine modules, whose outputs are the inputs of the next."""
    assert {name: tuple(widths) for name, widths in MODULES.items()} == {
        name: row[1:7] for name, row in TABLE.items()
    }
    assert [widths.out for widths in MODULES.values()] == [row[7] for row in TABLE.values()]


def test_parameters_for_cifar_by_hand() -> None:
    """X3.5: the stem 3 x 64 x 49 + 64, 64 x 64 + 64, 64 x 192 x 25 + 192, nine modules, ten outputs."""
    stem = 9_472 + 4_160 + 307_392
    modules = sum(
        into * out * kernel**2 + out for name in TABLE for into, out, kernel in module_convs(name, 5).values()
    )
    last = 1024 * 10 + 10
    assert (stem, modules, last) == (321_024, 5_849_136, 10_250)
    assert stem + modules + last == 6_180_410
    with torch.device("meta"):
        assert counts(googlenet_cifar(**SMALL)) == (stem + modules, last)


def test_the_slides_second_module_has_512_channels_where_its_label_says_480() -> None:
    """E3.16: 128 + 256 + 64 + 64, against the paper's 128 + 192 + 96 + 64; what follows takes what comes."""
    assert (SLIDES_3B.out, MODULES["3b"].out) == (128 + 256 + 64 + 64, 128 + 192 + 96 + 64) == (512, 480)
    with torch.device("meta"):
        paper = googlenet_cifar(**SMALL)
        slide = googlenet_cifar(**SMALL, form=SmallForm(module_3b="slide"))
    papers = [(256, 128, 1), (256, 128, 1), (128, 192, 3), (256, 32, 1), (32, 96, 5), (256, 64, 1)]
    slides = [(256, 128, 1), (256, 128, 1), (128, 256, 3), (256, 24, 1), (24, 64, 5), (256, 64, 1)]
    here, there = (sum(a * b * k**2 + b for a, b, k in convs) for convs in (papers, slides))
    change = there - here
    # 4a sees 32 channels more in its four 1x1 convolutions of 192, 96, 16 and 64.
    change += 32 * (192 + 96 + 16 + 64)
    assert sum(counts(slide)) - sum(counts(paper)) == change == 45_080


def torchvisions(*, auxiliary: bool) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for name, (into, out, kernel) in all_convs(3, auxiliary=auxiliary).items():
        found[f"{name}.conv.weight"] = (out, into, kernel, kernel)
        for each in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.bn.{each}"] = (out,)
        found[f"{name}.bn.num_batches_tracked"] = ()
    linears = {"fc": (1000, 1024)}
    if auxiliary:
        linears |= {
            f"aux{i}.{fc}": s for i in (1, 2) for fc, s in (("fc1", (1024, 2048)), ("fc2", (1000, 1024)))
        }
    for name, shape in linears.items():
        found[f"{name}.weight"], found[f"{name}.bias"] = shape, shape[:1]
    return found


@pytest.mark.parametrize("changed", [{}, {"dropout": 0.0}, {"conv_dropout": 0.1}, {"activation": "mish"}])
@pytest.mark.parametrize("auxiliary", [False, True])
def test_names_and_shapes_are_torchvisions(auxiliary: bool, changed: dict[str, object]) -> None:
    with torch.device("meta"):
        net = googlenet(**LARGE, parts=replace(VariantParts(), **changed), form=Form(auxiliary=auxiliary))
    found = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert found == torchvisions(auxiliary=auxiliary)
    # Spelt out, so that a rule that is wrong in the same way as the code is found.
    assert found["inception4e.branch3.1.conv.weight"] == (128, 32, 3, 3)


def test_what_each_variant_is_made_of() -> None:
    found = {}
    for variant in ("paper", "bn", "torchvision"):
        net = googlenet(**TINY, form=Form(variant=variant, width=1 / 16, auxiliary=True))
        norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
        kernels = {m.branch3[1].conv.kernel_size[0] for m in net.modules() if isinstance(m, Inception)}
        responses = [name for name, m in net.named_modules() if isinstance(m, ResponseNorm)]
        found[variant] = (kernels, len(norms), {m.eps for m in norms}, responses, net.maxpool4.kernel_size)
    # 3 + 9 x 6 convolutions, and one in each auxiliary head.
    assert found == {
        "paper": ({5}, 0, set(), ["response1", "response2"], 3),
        "bn": ({5}, 59, {1e-5}, [], 3),
        "torchvision": ({3}, 59, {1e-3}, [], 2),
    }


def test_branches_follow_each_other_in_order() -> None:
    """X3.7: 1x1; 1x1 and 3x3; 1x1 and 5x5; pool and 1x1."""
    inception = Inception(5, Widths(2, 3, 4, 2, 3, 1), PLAIN).double()
    x = torch.randn(2, 5, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def layer(x: torch.Tensor, made: ConvLayer, padding: int) -> torch.Tensor:
        return F.conv2d(x, made.conv.weight, made.conv.bias, padding=padding).clamp(min=0)

    i = inception
    expected = [
        layer(x, i.branch1, 0),
        layer(layer(x, i.branch2[0], 0), i.branch2[1], 1),
        layer(layer(x, i.branch3[0], 0), i.branch3[1], 2),
        layer(F.max_pool2d(F.pad(x, (1, 1, 1, 1), value=-torch.inf), 3, 1), i.branch4[1], 0),
    ]
    assert [e.shape[1] for e in expected] == [2, 4, 3, 1]
    torch.testing.assert_close(inception(x), torch.cat(expected, 1))


def sides(net: GoogLeNet, names: tuple[str, ...], size: int) -> list[int]:
    found: list[int] = []
    for name in names:
        hook = lambda m, inputs, output: found.append(output.shape[2])  # noqa: E731
        getattr(net, name).register_forward_hook(hook)
    net.eval()(torch.zeros(1, 3, size, size))
    return found


@pytest.mark.parametrize("variant", ["paper", "bn", "torchvision"])
def test_sizes_of_the_maps_are_the_papers(variant: str) -> None:
    """Table 1, pools rounding up: 112, 56, 28, 14, 7."""
    net = googlenet(**LARGE, form=Form(variant=variant, width=1 / 32))
    names = ("conv1", "maxpool1", "conv3", "maxpool2", "inception3b", "maxpool3", "inception4e", "maxpool4")
    assert sides(net, (*names, "inception5b"), 224) == [112, 56, 56, 28, 28, 14, 14, 7, 7]


def test_sizes_of_the_maps_for_cifar() -> None:
    """X3.5: 28 behind the unpadded 5x5, then (28 - 3) / 2 + 1 = 13.5 gives 14, then 7."""
    net = googlenet_cifar(**SMALL, form=SmallForm(width=1 / 32))
    assert sides(net, ("stem", "stage3", "pool3", "stage4", "pool4", "stage5"), 32) == [28, 28, 14, 14, 7, 7]


def test_auxiliary_heads_speak_in_training_only() -> None:
    net = googlenet(**TINY, form=Form(auxiliary=True, width=1 / 16), parts=VariantParts(dropout=0.0))
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    seen: dict[str, torch.Tensor] = {}
    for name in ("inception4a", "inception4d"):
        getattr(net, name).register_forward_hook(
            lambda m, i, output, name=name: seen.__setitem__(name, output)
        )
    logits, first, second = net.train()(images)
    assert [x.shape for x in (logits, first, second)] == [(4, 3)] * 3
    # In training mode a norm uses the batch alone, so a second call says the same.
    torch.testing.assert_close(first, net.aux1(seen["inception4a"]))
    torch.testing.assert_close(second, net.aux2(seen["inception4d"]))
    alone = net.eval()(images)
    assert alone.shape == (4, 3)
    without = googlenet(**TINY, form=Form(width=1 / 16))
    assert without.train()(images).shape == (4, 3)


def test_an_auxiliary_head_by_functions() -> None:
    """Average to 4x4, 1x1, two linear layers."""
    head = AuxiliaryHead(6, 3, replace(PLAIN, dropout=0.4), 1 / 32).double().eval()
    x = torch.randn(2, 6, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = F.avg_pool2d(x, 2)
    y = F.conv2d(y, head.conv.conv.weight, head.conv.conv.bias).clamp(min=0).flatten(1)
    y = (y @ head.fc1.weight.T + head.fc1.bias).clamp(min=0)
    torch.testing.assert_close(head(x), y @ head.fc2.weight.T + head.fc2.bias)
    assert head.drop.p == 0.7
    assert isinstance(AuxiliaryHead(6, 3, PLAIN, 1 / 32).drop, nn.Identity)


def test_a_separable_network_keeps_its_5x5() -> None:
    """S1.8: the stem's 3x3 and one in each module."""
    parts = VariantParts(separable=True)
    net = googlenet(**TINY, form=Form(variant="bn", width=1 / 16), parts=parts)
    assert sum(isinstance(m, Separable) for m in net.modules()) == 1 + 9


@pytest.mark.parametrize(("variant", "norm"), [("paper", "none"), ("bn", "batch"), ("torchvision", "batch")])
def test_saying_what_the_variant_has_anyway_changes_nothing(variant: str, norm: str) -> None:
    form = Form(variant=variant, width=1 / 16)
    said, unsaid = (googlenet(**TINY, form=form, parts=VariantParts(norm=n)) for n in (norm, "auto"))
    assert said.state_dict().keys() == unsaid.state_dict().keys()


@pytest.mark.parametrize(
    ("variant", "norm", "has", "others"),
    [
        ("paper", "batch", "none", "'bn' or 'torchvision'"),
        ("bn", "none", "batch", "'paper'"),
        ("torchvision", "none", "batch", "'paper'"),
    ],
)
def test_a_norm_that_the_variant_does_not_have(variant: str, norm: str, has: str, others: str) -> None:
    with pytest.raises(ConfigError) as caught:
        googlenet(**TINY, form=Form(variant=variant), parts=VariantParts(norm=norm))
    assert str(caught.value) == (
        f"googlenet's variant {variant!r} has norm {has!r}, so norm cannot be {norm!r}. "
        f"Leave norm out, or choose the variant {others}."
    )


def test_forms_that_are_not_known() -> None:
    with pytest.raises(ConfigError) as caught:
        googlenet(**TINY, form=Form(variant="v2"))  # type: ignore[arg-type]
    assert str(caught.value) == "The variant of googlenet must be 'paper', 'bn' or 'torchvision', not 'v2'."
    with pytest.raises(ConfigError) as caught:
        googlenet_cifar(**SMALL, form=SmallForm(module_3b="480"))  # type: ignore[arg-type]
    assert str(caught.value) == "The module_3b of googlenet-cifar must be 'paper' or 'slide', not '480'."
