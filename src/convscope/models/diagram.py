"""What does a network look like?

In: a network and its summary.  Out: the text of an SVG picture,
drawn from the traced network and from nothing else, so that it cannot lie: a
box for each layer, with the norm and activation that follow it, its output's
shape and its parameters, and an arrow for each connection.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

from torch import nn

from .geometry import windows
from .graph import Graph, Node, trace
from .layout import Layout, lay_out
from .summary import Summary

FONT = 12
LETTER = 0.62 * FONT
"""Width of a letter: 0.6 of the size in the fonts below, and some room."""
_LINE = 16
_PADDING = 8
_MARGIN = 24
_HEAD = 74
_FAMILY = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"

COLOURS = {
    "convolution": ("#dbeafe", "#1d4ed8"),
    "norm, activation": ("#f3f4f6", "#6b7280"),
    "pool": ("#dcfce7", "#15803d"),
    "linear": ("#ffedd5", "#c2410c"),
    "sum, product, joint": ("#fae8ff", "#a21caf"),
    "other": ("#ffffff", "#374151"),
}
"""Filling and edge of a box, by what stands first in it."""
_JOINTS = ("add", "sub", "mul", "cat", "concat", "concatenate", "stack")


@dataclass(frozen=True)
class Box:
    """Layers one after the other that are drawn as one."""

    nodes: tuple[int, ...]
    """By their place in the graph."""
    group: str
    lines: tuple[str, ...]
    """One for each layer, and one for the output's shape and the parameters."""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels."""
        return 2 * _PADDING + LETTER * max(map(len, self.lines)), 2 * _PADDING + _LINE * len(self.lines)


def svg(network: nn.Module, summary: Summary, name: str) -> str:
    """Draw a network.

    Args:
        network: any that torch.fx can follow; unchanged.
        summary: of this network; the numbers below the title, and the shape of the image.
        name: for the title.

    Raises:
        ConfigError: torch.fx cannot follow the network.
    """
    graph = trace(network, summary.shape)
    boxes = _boxes(graph)
    home = {node: i for i, box in enumerate(boxes) for node in box.nodes}
    arrows = [(home[source], i) for i, box in enumerate(boxes) for source in graph.nodes[box.nodes[0]].inputs]
    layout = lay_out([box.size for box in boxes], arrows)
    costs = f"{summary.parameters:,} parameters, {summary.macs:,} multiply-adds"
    return _drawn((name, f"input {_times(summary.shape)}, {costs}"), boxes, arrows, layout)


def _boxes(graph: Graph) -> list[Box]:
    users: list[list[int]] = [[] for _ in graph.nodes]
    for i, node in enumerate(graph.nodes):
        for source in node.inputs:
            users[source].append(i)
    chains: list[list[int]] = []
    ends: dict[int, list[int]] = {}
    for i, node in enumerate(graph.nodes):
        before = node.inputs[0] if len(node.inputs) == 1 else None
        if before in ends and len(users[before]) == 1 and _follows(node, graph.nodes[before]):
            chain = ends.pop(before)
            chain.append(i)
        else:
            chain = [i]
            chains.append(chain)
        ends[i] = chain
    counted: set[int] = set()
    return [_box(chain, graph, counted) for chain in chains]


def _follows(node: Node, before: Node) -> bool:
    """Whether it is drawn in the box of the one before: a norm, an activation, another form of the same numbers."""
    if before.kind == "image" or _group(node) not in ("norm, activation", "other"):
        return False
    return math.prod(node.output) == math.prod(before.output)


def _box(chain: Sequence[int], graph: Graph, counted: set[int]) -> Box:
    nodes = [graph.nodes[i] for i in chain]
    parameters = sum(_parameters(node, counted) for node in nodes)
    last = _times(nodes[-1].output) or "several"
    lines = (
        *(_described(node) for node in nodes),
        f"{last}, {parameters:,} parameters" if parameters else last,
    )
    return Box(tuple(chain), _group(nodes[0]), lines)


def _parameters(node: Node, counted: set[int]) -> int:
    """Those that no earlier call had."""
    own = {id(p): p.numel() for p in node.module.parameters()} if node.module is not None else {}
    new = own.keys() - counted
    counted |= new
    return sum(own[key] for key in new)


def _group(node: Node) -> str:
    kind = node.kind.lower()
    for word, group in (("conv", "convolution"), ("linear", "linear"), ("pool", "pool"), ("sampl", "pool")):
        if word in kind:
            return group
    if node.module is None:
        return "sum, product, joint" if node.kind in _JOINTS else "other"
    return "norm, activation"


def _described(node: Node) -> str:
    if node.module is None:
        return node.name
    words = [node.kind]
    passed = windows(node.module)
    if passed is not None:
        rows, columns = passed
        words[0] += f" {rows.kernel}x{columns.kernel}"
        if (rows.stride, columns.stride) != (1, 1):
            same = rows.stride == columns.stride
            words.append(f"stride {rows.stride}" if same else f"stride {rows.stride}x{columns.stride}")
        if (rows.dilation, columns.dilation) != (1, 1):
            words.append(f"dilation {rows.dilation}")
    groups = getattr(node.module, "groups", 1)
    if groups != 1:
        words.append(f"{groups} groups")
    return f"{node.name}: {', '.join(words)}"


# --- as text ------------------------------------------------------------------------------------------------


def _drawn(
    head: tuple[str, str], boxes: Sequence[Box], arrows: Sequence[tuple[int, int]], layout: Layout
) -> str:
    legend, legend_width = _legend()
    width = max(layout.width, legend_width, LETTER * len(head[1]), 1.5 * LETTER * len(head[0])) + 2 * _MARGIN
    height = layout.height + _HEAD + 2 * _MARGIN
    across, down = (width - layout.width) / 2, float(_MARGIN + _HEAD)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-labelledby="title desc" '
        f'font-family="{_FAMILY}" font-size="{FONT}">',
        f'<title id="title">{escape(head[0])}</title>',
        f'<desc id="desc">{escape(head[1])}. From the image at the top to the logits at the bottom.</desc>',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="#4b5563"/></marker></defs>',
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 14}" font-size="{1.5 * FONT:g}" font-weight="bold" fill="#111827">'
        f"{escape(head[0])}</text>",
        f'<text x="{_MARGIN}" y="{_MARGIN + 36}" fill="#374151">{escape(head[1])}</text>',
        *legend,
        f'<g transform="translate({across:.1f} {down:.1f})">',
        *(_arrow(arrow, route) for arrow, route in zip(arrows, layout.routes, strict=True)),
        *(
            line
            for i, (box, corner) in enumerate(zip(boxes, layout.corners, strict=True))
            for line in _rectangle(i, box, corner)
        ),
        "</g>",
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _legend() -> tuple[list[str], float]:
    lines, x, y = [], float(_MARGIN), _MARGIN + 50
    for group, (fill, edge) in COLOURS.items():
        lines.append(
            f'<rect class="key" x="{x:.1f}" y="{y}" width="12" height="12" fill="{fill}" stroke="{edge}"/>'
        )
        lines.append(f'<text x="{x + 18:.1f}" y="{y + 10}" fill="#374151">{escape(group)}</text>')
        x += 18 + LETTER * len(group) + 16
    return lines, x - _MARGIN


def _arrow(arrow: tuple[int, int], route: Sequence[tuple[float, float]]) -> str:
    (x, y), *rest = route
    path = [f"M{x:.1f} {y:.1f}"]
    for number, (to_x, to_y) in enumerate(rest):
        if number % 2 and abs(to_x - x) > 0.05:  # between two rows
            middle = (y + to_y) / 2
            path.append(f"C{x:.1f} {middle:.1f} {to_x:.1f} {middle:.1f} {to_x:.1f} {to_y:.1f}")
        else:
            path.append(f"L{to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return (
        f'<path class="arrow" data-from="{arrow[0]}" data-to="{arrow[1]}" d="{" ".join(_without_repeats(path))}" '
        f'fill="none" stroke="#4b5563" stroke-width="1.3" marker-end="url(#arrow)"/>'
    )


def _without_repeats(path: Iterable[str]) -> list[str]:
    """A line of no length at the end would turn the arrow's head to the right."""
    found: list[str] = []
    for step in path:
        ends = " ".join(step[1:].split()[-2:])
        if not (found and step[0] == "L" and " ".join(found[-1][1:].split()[-2:]) == ends):
            found.append(step)
    return found


def _rectangle(number: int, box: Box, corner: tuple[float, float]) -> list[str]:
    (x, y), (width, height) = corner, box.size
    fill, edge = COLOURS[box.group]
    lines = [
        f'<g class="box" id="box{number}"><title>{escape(box.lines[0])}</title>',
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="5" fill="{fill}" '
        f"stroke={quoteattr(edge)}/>",
    ]
    for i, line in enumerate(box.lines):
        last = i == len(box.lines) - 1
        colour, weight = ("#4b5563", "normal") if last else ("#111827", "bold" if i == 0 else "normal")
        lines.append(
            f'<text x="{x + _PADDING:.1f}" y="{y + _PADDING + _LINE * i + 12:.1f}" fill="{colour}" '
            f'font-weight="{weight}">{escape(line)}</text>'
        )
    return [*lines, "</g>"]


def _times(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
