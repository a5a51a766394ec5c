"""What does the network make of an image, block by block?

In: a few images, and the network.  Out: the maps after every block, and how
much they still look like the image.

    n  images shown      B  blocks      M  maps shown per block      S  largest side of a map
    C  channels          H, W  pixels
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.data import ImageSet
from convscope.evaluate.subject import Result, Subject

from .recording import AtLeastOne, Positions, Split, at, called, does_nothing, parts, watching


@dataclass(frozen=True)
class Features(Result):
    """Maps after every block."""

    subject: str
    split: str
    positions: tuple[int, ...]
    """Of the images shown, in the split, (n,)."""
    labels: tuple[str, ...]
    """Their classes, (n,)."""
    blocks: tuple[str, ...]
    """Modules whose output is shown, in the order of the calls, (B,)."""
    shapes: tuple[tuple[int, ...], ...]
    """(C, H, W) of each block's output."""
    channels: np.ndarray
    """Which channels are shown, by the variance of their maps, largest first; -1 where there are fewer, (B, M)."""
    pixels: np.ndarray
    """The images, uint8, (n, C, H, W)."""
    maps: np.ndarray
    """Those channels, each in the upper left corner and nan around it, float32, (n, B, M, S, S)."""
    means: np.ndarray
    """The mean over all channels, placed alike, (n, B, S, S)."""
    likeness: tuple[float, ...]
    """Largest |correlation| of a channel with the grey image at the map's size, mean over `compared` images, (B,)."""
    chance: tuple[float, ...]
    """The same with another image in place of the map's own, (B,)."""
    compared: int

    @property
    def sentence(self) -> str:
        """What was found."""
        return (
            f"{self.subject}: of {len(self.blocks)} blocks, the most similar map correlates "
            f"{self.likeness[0]:.2f} with its image after {self.blocks[0]} (with another image {self.chance[0]:.2f}) "
            f"and {self.likeness[-1]:.2f} after {self.blocks[-1]} ({self.chance[-1]:.2f}); mean over "
            f"{self.compared} images of {self.split}."
        )


def features(
    *,
    subject: Subject,
    split: Split = "val",
    positions: Positions = (0,),
    channels: AtLeastOne = 8,
    compared: AtLeastOne = 64,
) -> Features:
    """The maps of chosen images after every block.

    The blocks are found by a rule that holds for any module: the network's direct parts, each `nn.Sequential`
    replaced by its own; parts made of other modules are blocks, and so is each convolution among them together
    with the norm and the activation (parts that keep the map's size) that directly follow it; only what puts
    out a map of more than one pixel counts.  Where that leaves fewer than two, the parts of the parts are taken.

    How far a map still shows the image is measured by correlation.  Small maps correlate with anything, the more
    so the more channels there are to choose from: hence the same with another image beside it.

    Args:
        split: val or train.
        positions: which images of the split, counted from 0.
        channels: maps shown per block: those that vary most over the pixels of these images.
        compared: images, evenly spread over the split, for the correlation.

    Raises:
        ConfigError: a position that is not there, or a network without maps.

    Reference:
        S2.20 (figure 9 of the second document: maps of every residual block for the picture of a ship).
    """
    chosen = at(subject, split, positions)
    blocks = blocks_of(subject.model, subject.inputs(chosen.subset(torch.arange(1))))
    kept = _kept(subject, chosen, blocks)
    side = max(max(maps.shape[2:]) for maps in kept.values())
    order = {name: maps.var((0, 2, 3), correction=0).argsort(descending=True) for name, maps in kept.items()}
    shown = np.full((len(blocks), channels), -1, dtype=np.int64)
    maps = np.full((len(chosen), len(blocks), channels, side, side), np.nan, dtype=np.float32)
    means = np.full((len(chosen), len(blocks), side, side), np.nan, dtype=np.float32)
    for b, (name, output) in enumerate(kept.items()):
        which, (height, width) = order[name][:channels], output.shape[2:]
        shown[b, : len(which)] = which.numpy()
        maps[:, b, : len(which), :height, :width] = output[:, which].numpy()
        means[:, b, :height, :width] = output.mean(1).numpy()
    images = subject.images(split, compared)
    own, other = _likeness(subject, images, blocks)
    return Features(
        subject=subject.name,
        split=split,
        positions=tuple(positions),
        labels=tuple(chosen.classes[k] if k >= 0 else "" for k in chosen.labels.tolist()),
        blocks=tuple(blocks),
        shapes=tuple(tuple(found.shape[1:]) for found in kept.values()),
        channels=shown,
        pixels=chosen.batch(torch.arange(len(chosen))).numpy(),
        maps=maps,
        means=means,
        likeness=own,
        chance=other,
        compared=len(images),
    )


def blocks_of(model: nn.Module, example: Tensor) -> dict[str, nn.Module]:
    """The blocks of any network, by the rule that `features` states.

    Raises:
        ConfigError: no part of it puts out a map.
    """
    shapes = called(model, example)
    maps = {name: shape for name, shape in shapes.items() if len(shape) == 3 and shape[1] * shape[2] > 1}
    opened = _expanded(model, "")
    blocks = _among(opened, maps)
    while len(blocks) < 2 and any(list(part.children()) for _, part in opened):
        opened = [inner for name, part in opened for inner in _expanded(part, f"{name}.") or [(name, part)]]
        blocks = _among(opened, maps) or blocks
    if not blocks:
        raise ConfigError(
            f"No part of {type(model).__name__} is a block or a convolution with a map of more than one pixel, so "
            f"there are no maps to show."
        )
    return dict(blocks)


def _among(
    parts: Sequence[tuple[str, nn.Module]], maps: Mapping[str, tuple[int, ...]]
) -> list[tuple[str, nn.Module]]:
    """The blocks among these parts, in the order of the calls."""
    order = list(maps)
    found = sorted((order.index(name), name, part) for name, part in parts if name in maps)
    blocks: list[tuple[str, nn.Module]] = []
    follows = False
    for _, name, part in found:
        made_of_others = bool(list(part.children()))
        convolves = any(p.dim() >= 4 for p in part.parameters(recurse=False))
        if made_of_others or convolves:
            blocks.append((name, part))
            follows = convolves
        elif follows and maps[name] == maps[blocks[-1][0]]:
            blocks[-1] = (name, part)
        else:
            follows = False
    return blocks


def _expanded(module: nn.Module, prefix: str) -> list[tuple[str, nn.Module]]:
    """The parts of a module; sequences are replaced by theirs."""
    found: list[tuple[str, nn.Module]] = []
    for key, child in module.named_children():
        if type(child) in (nn.Sequential, nn.ModuleList):
            found += _expanded(child, f"{prefix}{key}.")
        elif not does_nothing(child):
            found.append((f"{prefix}{key}", child))
    return found


def _kept(subject: Subject, images: ImageSet, blocks: dict[str, nn.Module]) -> dict[str, Tensor]:
    kept: dict[str, list[Tensor]] = {name: [] for name in blocks}

    def see(name: str, entered: Tensor, output: Tensor) -> None:
        kept[name].append(output.detach().float().cpu().clone())

    with torch.no_grad(), watching(blocks, see):
        for inputs, _ in parts(subject, images):
            subject.model(inputs)
    return {name: torch.cat(found) for name, found in kept.items()}


def _likeness(
    subject: Subject, images: ImageSet, blocks: dict[str, nn.Module]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per block: the largest |correlation| with the own image, and with the one before it in the batch."""
    found: dict[str, list[Tensor]] = {name: [] for name in blocks}
    grey = torch.empty(0)

    def see(name: str, entered: Tensor, output: Tensor) -> None:
        small = F.adaptive_avg_pool2d(grey, (output.shape[-2], output.shape[-1]))
        pair = torch.stack([_largest(output, small), _largest(output, small.roll(1, 0))])
        found[name].append(pair.cpu())

    with torch.no_grad(), watching(blocks, see):
        for inputs, _ in parts(subject, images):
            grey = inputs.mean(1, keepdim=True)
            subject.model(inputs)
    averaged = [torch.cat(pairs, 1).mean(1).tolist() for pairs in found.values()]
    return tuple(own for own, _ in averaged), tuple(other for _, other in averaged)


def _largest(maps: Tensor, grey: Tensor) -> Tensor:
    """Largest |correlation| over the channels: maps (n, C, H, W), grey (n, 1, H, W) -> (n,); 0 for constant maps."""
    a = maps.flatten(2) - maps.flatten(2).mean(2, keepdim=True)
    b = grey.flatten(2) - grey.flatten(2).mean(2, keepdim=True)
    length = a.norm(dim=2) * b.norm(dim=2)
    found: Tensor = ((a * b).sum(2).abs() / length.clamp(min=1e-12)).amax(1)
    return found
