"""ResNeXt: its paths one by one against its groups, and counts by hand."""

from typing import Any

import pytest
import torch

from convscope.models import build, resnext


def by_hand(blocks: tuple[int, ...], cardinality: int, width: int, stem: int, classes: int) -> int:
    """Parameters of a ResNeXt that puts out 256 channels first: grouped kernels see `width` channels each."""
    total = 3 * 64 * stem**2 + 2 * 64
    into = 64
    for stage, n in enumerate(blocks):
        share, out = width * 2**stage, 256 * 2**stage
        inner = cardinality * share
        for i in range(n):
            total += into * inner + 9 * share * inner + inner * out + 2 * (inner + inner + out)
            total += into * out + 2 * out if i == 0 else 0
            into = out
    return total + into * classes + classes


@pytest.mark.parametrize(
    ("name", "blocks", "paths", "classes", "parameters"),
    [
        ("resnext50", (3, 4, 6, 3), (32, 4), 1000, 25_028_904),
        ("resnext101", (3, 4, 23, 3), (32, 8), 1000, 88_791_336),
        ("resnext29", (3, 3, 3), (8, 64), 10, 34_426_698),
    ],
)
def test_parameters(name: str, blocks: Any, paths: tuple[int, int], classes: int, parameters: int) -> None:
    with torch.device("meta"):
        net = getattr(resnext, name)(classes=classes, channels=3, size=224)
    stem = 3 if name == "resnext29" else 7
    assert sum(p.numel() for p in net.parameters()) == by_hand(blocks, *paths, stem, classes) == parameters


def cut_up(grouped: Any, explicit: Any) -> None:
    """Give each path its part of a grouped block's weights; with biases, the first path gets the last layer's."""
    paths = len(explicit.paths)
    for p, path in enumerate(explicit.paths):
        first, bn1, _, second, bn2, _, _, last = path
        for ours, theirs in (
            (first, grouped.conv1),
            (second, grouped.conv2),
            (bn1, grouped.bn1),
            (bn2, grouped.bn2),
        ):
            for key, value in ours.state_dict().items():
                whole = theirs.state_dict()[key]
                value.copy_(whole.chunk(paths)[p] if whole.ndim else whole)
        last.weight.data.copy_(grouped.conv3.weight.chunk(paths, 1)[p])
        if last.bias is not None:
            last.bias.data.copy_(grouped.conv3.bias if p == 0 else torch.zeros_like(last.bias))


# Goes red when a path's part of the last convolution is its neighbour's.
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_explicit_paths_compute_what_groups_compute(norm: str) -> None:
    """S3.51: block (a) is block (b)."""
    nets = {
        paths: build(
            "resnext29", classes=3, cardinality=4, width=2, out=8, blocks=2, norm=norm, paths=paths
        ).double()
        for paths in ("grouped", "explicit")
    }
    grouped, explicit = nets["grouped"], nets["explicit"]
    inside = ("conv1", "conv2", "conv3", "bn1", "bn2", "paths")
    shared = {
        k: v
        for k, v in grouped.state_dict().items()
        if k.startswith(("conv1", "bn1")) or k.split(".")[-2] not in inside
    }
    assert explicit.load_state_dict(shared, strict=False).unexpected_keys == []
    for name, block in explicit.named_modules():
        if hasattr(block, "paths"):
            cut_up(grouped.get_submodule(name), block)
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(explicit(images), grouped(images))


def test_paths_have_a_bias_each_where_the_groups_have_one() -> None:
    """S3.51: 32 biases for one, in each of 16 blocks of ResNeXt-50."""
    options = {"classes": 10, "channels": 3, "size": 32, "parts": resnext.Parts(norm="none")}
    with torch.device("meta"):
        grouped = resnext.resnext50(**options)
        explicit = resnext.resnext50(**options, form=resnext.Form(paths="explicit"))
    more = [sum(p.numel() for p in net.parameters()) for net in (explicit, grouped)]
    assert more[0] - more[1] == 31 * 256 * (3 * 1 + 4 * 2 + 6 * 4 + 3 * 8)


def test_torchvisions_names() -> None:
    with torch.device("meta"):
        net = resnext.resnext50(classes=1000, channels=3, size=224)
    shapes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert shapes["layer1.0.conv1.weight"] == (128, 64, 1, 1)
    assert shapes["layer1.0.conv2.weight"] == (128, 4, 3, 3)
    assert shapes["layer4.2.conv3.weight"] == (2048, 1024, 1, 1)
    assert shapes["layer4.0.downsample.0.weight"] == (2048, 1024, 1, 1)
    # 53 convolutions, 53 norms with two tensors each, and the linear layer.
    assert len(shapes) == 53 * 3 + 2
