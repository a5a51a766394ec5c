"""Squeeze-and-excitation networks: what they have more than the networks they come from, by hand."""

import pytest
import torch

from convscope.models import resnet, senet, summarise


def ghost(module: object, name: str, classes: int = 1000, size: int = 224) -> torch.nn.Module:
    with torch.device("meta"):
        net: torch.nn.Module = getattr(module, name)(classes=classes, channels=3, size=size)
    return net


def counted(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def added(blocks: tuple[int, ...], channels: tuple[int, ...]) -> int:
    """Two layers with biases per block, the hidden one 16 times narrower."""
    return sum(n * (2 * c * (c // 16) + c // 16 + c) for n, c in zip(blocks, channels, strict=True))


@pytest.mark.parametrize(
    ("depth", "blocks", "parameters"),
    [
        (18, (2, 2, 2, 2), 11_778_592),
        (50, (3, 4, 6, 3), 28_088_024),
        (101, (3, 4, 23, 3), 49_326_872),
        (152, (3, 8, 36, 3), 66_821_848),
    ],
)
def test_what_excitation_adds(depth: int, blocks: tuple[int, ...], parameters: int) -> None:
    """S3.52; for ResNet-50: 3 x 8,464 + 4 x 33,312 + 6 x 132,160 + 3 x 526,464 = 2,530,992."""
    first = 64 if depth == 18 else 256
    more = added(blocks, (first, 2 * first, 4 * first, 8 * first))
    assert (
        counted(ghost(senet, f"se_resnet{depth}"))
        == counted(ghost(resnet, f"resnet{depth}")) + more
        == parameters
    )


@pytest.mark.parametrize(("depth", "n", "parameters"), [(20, 3, 272_095), (110, 18, 1_742_200)])
def test_what_it_adds_to_the_small_ones(depth: int, n: int, parameters: int) -> None:
    plain = counted(ghost(resnet, f"resnet{depth}", 10, 32))
    assert (
        counted(ghost(senet, f"se_resnet{depth}", 10, 32))
        == plain + added((n,) * 3, (16, 32, 64))
        == parameters
    )


def test_senet154_by_hand() -> None:
    """The four changes of the appendix; grouped kernels see 2 channels in, 4 out, then 4 and 8, and so on."""
    stem = 9 * (3 * 64 + 64 * 64 + 64 * 128) + 2 * (64 + 64 + 128)
    total, into = stem, 128
    for stage, n in enumerate((3, 8, 36, 3)):
        reduced, inner, out = 128 * 2**stage, 256 * 2**stage, 256 * 2**stage
        for i in range(n):
            total += into * reduced + 9 * (reduced // 64) * inner + inner * out + 2 * (reduced + inner + out)
            total += added((1,), (out,))
            if i == 0:
                total += (1 if stage == 0 else 9) * into * out + 2 * out
            into = out
    total += 2048 * 1000 + 1000
    assert counted(ghost(senet, "senet154")) == total == 115_088_984


def test_excitation_costs_next_to_nothing() -> None:
    """Section 4 counts 0.26 % more for ResNet-50, with the averages that we do not count."""
    plain = summarise(ghost(resnet, "resnet50"), (3, 224, 224)).macs
    biases = sum(n * (c // 16 + c) for n, c in zip((3, 4, 6, 3), (256, 512, 1024, 2048), strict=True))
    more = summarise(ghost(senet, "se_resnet50"), (3, 224, 224)).macs - plain
    assert more == 2_530_992 - biases  # each weight is used once per image
    assert more / plain < 0.001
