"""Which layers does a network have, and what do they cost?

In: a network and the shape of one image.  Out: a `Summary`, a row per layer
in the order of the calls, which can say itself as a table.  The network runs
as a copy without numbers (torch's meta device): no memory, no arithmetic, and
the network itself is not touched.

    C  channels      H, W  pixels

MACs are multiply-accumulates for one image, counted for convolutions, linear
layers and layers with a method `macs(output shape)`, as is usual; norms,
activations and pools count none.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Row:
    """One layer, or one call of it."""

    name: str
    """Where it is in the network, e.g. `layer1.0.conv1`."""
    kind: str
    """Its class, e.g. `Conv2d`."""
    output: tuple[int, ...]
    """Shape of its output for one image, without the batch: (C, H, W) or (features,)."""
    weights: int
    """Parameters that are not biases."""
    biases: int
    macs: int

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def group(self) -> str:
        """convolutions, linear or other."""
        if "conv" in self.kind.lower():
            return "convolutions"
        return "linear" if "linear" in self.kind.lower() else "other"


@dataclass(frozen=True)
class Summary:
    """The layers of a network."""

    shape: tuple[int, int, int]
    """(C, H, W) of the image."""
    rows: tuple[Row, ...]

    @property
    def weights(self) -> int:
        """Of all layers."""
        return sum(row.weights for row in self.rows)

    @property
    def biases(self) -> int:
        """Of all layers."""
        return sum(row.biases for row in self.rows)

    @property
    def parameters(self) -> int:
        """Of all layers."""
        return sum(row.parameters for row in self.rows)

    @property
    def macs(self) -> int:
        """Of all layers, for one image."""
        return sum(row.macs for row in self.rows)

    def of(self, group: str) -> tuple[int, int]:
        """(parameters, MACs) of the `convolutions`, the `linear` layers or the `other` ones."""
        chosen = [row for row in self.rows if row.group == group]
        return sum(row.parameters for row in chosen), sum(row.macs for row in chosen)

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "weights", "biases", "parameters", "MACs")
        cells = [head, *(_cells(row) for row in self.rows)]
        total = ("total", "", "", *map(_count, (self.weights, self.biases, self.parameters, self.macs)))
        groups = [
            (group, "", "", "", "", *map(_count, self.of(group)))
            for group in ("convolutions", "linear", "other")
        ]
        widths = [max(map(len, column)) for column in zip(*cells, total, *groups, strict=True)]
        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        lines = [_line(cell, widths) for cell in (*cells, total, *groups)]
        end = len(cells)
        top = f"input {_times(self.shape)}"
        return "\n".join([top, lines[0], rule, *lines[1:end], rule, *lines[end:]]) + "\n"


def summarise(model: nn.Module, shape: tuple[int, int, int]) -> Summary:
    """List the layers in the order in which an image meets them.

    A layer is a module without parts, or one with parameters of its own.  One that is called twice has
    two rows, and its parameters are counted in the first; `nn.Identity`, which marks a part that is
    switched off, has none.

    Args:
        model: any network that takes a batch of images; unchanged afterwards.
        shape: (C, H, W) of one image.
    """
    ghost = _without_numbers(model)
    rows: list[Row] = []
    counted: set[int] = set()
    for name, module in ghost.named_modules():
        if not isinstance(module, nn.Identity) and (
            not list(module.children()) or list(module.parameters(recurse=False))
        ):
            module.register_forward_hook(_recorder(name, rows, counted))
    dtype = next((p.dtype for p in ghost.parameters()), torch.float32)
    with torch.no_grad():
        ghost(torch.empty(1, *shape, dtype=dtype, device="meta"))
    return Summary(shape, tuple(rows))


def _without_numbers(model: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose tensors have shapes only, and no hooks."""
    # deepcopy takes what it finds under an object's id for its copy, so no number is ever copied.
    memo: dict[int, Any] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.to("meta")
    ghost = copy.deepcopy(model, memo)
    for module in ghost.modules():
        module._forward_hooks.clear()
        module._forward_pre_hooks.clear()
    return ghost.eval()


def _recorder(name: str, rows: list[Row], counted: set[int]) -> Any:
    def record(module: nn.Module, inputs: Sequence[Any], output: Any) -> None:
        weights = biases = 0
        for key, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in counted:
                counted.add(id(parameter))
                if key.endswith("bias"):
                    biases += parameter.numel()
                else:
                    weights += parameter.numel()
        shape = output.shape[1:] if isinstance(output, Tensor) else torch.Size()
        row = Row(name, type(module).__name__, tuple(shape), weights, biases, _macs(module, shape))
        rows.append(row)

    return record


def _macs(module: nn.Module, output: torch.Size) -> int:
    if isinstance(module, nn.Conv2d):
        return math.prod(output) * module.in_channels // module.groups * math.prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return math.prod(output) * module.in_features
    own = getattr(module, "macs", None)
    return int(own(output)) if callable(own) else 0


def _cells(row: Row) -> tuple[str, ...]:
    counts = (row.weights, row.biases, row.parameters, row.macs)
    return (row.name, row.kind, _times(row.output), *map(_count, counts))


def _count(number: int) -> str:
    return f"{number:,}" if number else "."


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
    right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:], strict=True)]
    return "  ".join(left + right).rstrip()
