"""Which layers does a network have, and what do they cost?

In: a network and the shape of one image.  Out: a `Summary`, a row per layer
in the order of the calls, which can say itself as tables: the layers, how
convolutions and linear layers share the costs, and how the stages do.  The
network runs as a copy without numbers (torch's meta device): no memory, no
arithmetic, and the network itself is not touched.

    C  channels      H, W  pixels

MACs are multiply-accumulates for one image, counted for convolutions, linear
layers and layers with a method `macs(output shape)`, as is usual; norms,
activations and pools count none.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError

from .geometry import without_numbers
from .graph import trace
from .receptive import Field


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
    sees: tuple[int, int] | Literal["all"] | None = None
    """Its receptive field in pixels of the image, down and across; `all`: something before it looks at the whole
    map; None: it cannot be told."""

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return self.weights + self.biases

    @property
    def side(self) -> tuple[int, int]:
        """Height and width of its map; a vector is a map of 1x1."""
        return (self.output[-2], self.output[-1]) if len(self.output) > 2 else (1, 1)

    @property
    def group(self) -> str:
        """convolutions, linear or other."""
        if "conv" in self.kind.lower():
            return "convolutions"
        return "linear" if "linear" in self.kind.lower() else "other"


@dataclass(frozen=True)
class Stage:
    """Layers one after the other whose maps have the same size."""

    side: tuple[int, int]
    """Height and width of the map; (1, 1) for vectors too."""
    layers: int
    """With multiply-adds."""
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """The layers of a network."""

    shape: tuple[int, int, int]
    """(C, H, W) of the image."""
    rows: tuple[Row, ...]
    idle: int = 0
    """Parameters that no layer uses in evaluation, such as those of auxiliary classifiers; in none of the sums."""

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
        return _costs([row for row in self.rows if row.group == group])

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The layers by the size of their maps, in order.

        What comes between two layers of one size belongs to their stage: the gates of squeeze-and-excitation,
        whose map is a single pixel, make no stages of their own.
        """
        found: list[Stage] = []
        rows = list(self.rows)
        while rows:
            side = rows[0].side
            end = 1 + max(i for i, row in enumerate(rows) if row.side == side)
            stage, rows = rows[:end], rows[end:]
            costs = (sum(row.macs > 0 for row in stage), *_costs(stage))
            found.append(Stage(side, *costs))
        return tuple(found)

    def __str__(self) -> str:
        idle = [f"{self.idle:,} parameters more are used in training only.\n"] if self.idle else []
        return "\n".join(
            [f"input {_times(self.shape)}\n{self._layers()}", self._groups(), self._profile(), *idle]
        )

    def _layers(self) -> str:
        head = ("layer", "kind", "output", "weights", "biases", "parameters", "MACs", "field")
        total = ("total", "", "", *map(_count, (self.weights, self.biases, self.parameters, self.macs)), "")
        return _table(head, [_cells(row) for row in self.rows], total, left=3)

    def _groups(self) -> str:
        head = ("", "parameters", "share", "MACs", "share")
        rows = []
        for group in ("convolutions", "linear", "other"):
            parameters, macs = self.of(group)
            shares = (_share(parameters, self.parameters), _share(macs, self.macs))
            rows.append((group, _count(parameters), shares[0], _count(macs), shares[1]))
        return _table(head, rows)

    def _profile(self) -> str:
        head = ("map", "layers", "parameters", "MACs", "share")
        rows = [
            (
                _times(stage.side),
                _count(stage.layers),
                _count(stage.parameters),
                _count(stage.macs),
                _share(stage.macs, self.macs),
            )
            for stage in self.stages
        ]
        bars = ["", "", *(_bar(stage.macs, self.macs) for stage in self.stages)]
        lines = _table(head, rows).splitlines()
        return "".join(f"{line}  {bar}".rstrip() + "\n" for line, bar in zip(lines, bars, strict=True))


def summarise(model: nn.Module, shape: tuple[int, int, int]) -> Summary:
    """List the layers in the order in which an image meets them.

    A layer is a module without parts, or one with parameters of its own.  One that is called twice has
    two rows, and its parameters are counted in the first; `nn.Identity`, which marks a part that is
    switched off, has none.  Receptive fields are left out where torch.fx cannot follow the network.

    Args:
        model: any network that takes a batch of images; unchanged afterwards.
        shape: (C, H, W) of one image.
    """
    ghost = without_numbers(model)
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
    idle = sum(parameter.numel() for parameter in ghost.parameters() if id(parameter) not in counted)
    return Summary(shape, tuple(_seeing(rows, _fields(model, shape))), idle)


def _fields(model: nn.Module, shape: tuple[int, int, int]) -> dict[str, list[Any]]:
    """What each layer sees, call by call; a layer with parts sees what the last of them does."""
    try:
        nodes = trace(model, shape).nodes
    except ConfigError:
        return {}
    found: dict[str, list[Any]] = {}
    for node in nodes:
        sees = node.sees.size if isinstance(node.sees, Field) else node.sees
        if node.module is not None:
            found.setdefault(node.name, []).append(sees)
        path = node.name
        while path:
            path = path.rpartition(".")[0]
            found[f"{path}."] = [sees]
    return found


def _seeing(rows: list[Row], fields: dict[str, list[Any]]) -> Iterator[Row]:
    calls: Counter[str] = Counter()
    for row in rows:
        seen = fields.get(row.name) or fields.get(f"{row.name}.") or [None]
        yield replace(row, sees=seen[min(calls[row.name], len(seen) - 1)])
        calls[row.name] += 1


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


def _costs(rows: Sequence[Row]) -> tuple[int, int]:
    """(parameters, MACs) of several layers."""
    return sum(row.parameters for row in rows), sum(row.macs for row in rows)


def _cells(row: Row) -> tuple[str, ...]:
    counts = (row.weights, row.biases, row.parameters, row.macs)
    return (row.name, row.kind, _times(row.output), *map(_count, counts), _sight(row.sees))


def _sight(sees: tuple[int, int] | Literal["all"] | None) -> str:
    if isinstance(sees, tuple):
        rows, columns = sees
        return str(rows) if rows == columns else f"{rows}x{columns}"
    return sees or "?"


def _count(number: int) -> str:
    return f"{number:,}" if number else "."


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}".replace("%", " %") if part else "."


def _bar(part: int, whole: int) -> str:
    """As long as the share; 40 for all."""
    return "#" * round(40 * part / whole) if part else ""


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] | None = None, *, left: int = 1
) -> str:
    """Lines of columns, of which the first ones are words and the others numbers."""
    last = [total] if total else []
    widths = [max(map(len, column)) for column in zip(head, *rows, *last, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    body = [_line(cells, widths, left) for cells in (head, *rows, *last)]
    lines = [body[0], rule, *body[1 : 1 + len(rows)], *([rule] if last else []), *body[1 + len(rows) :]]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str], widths: Sequence[int], left: int) -> str:
    sides = [(str.ljust if i < left else str.rjust) for i in range(len(widths))]
    return "  ".join(
        side(cell, width) for side, cell, width in zip(sides, cells, widths, strict=True)
    ).rstrip()
