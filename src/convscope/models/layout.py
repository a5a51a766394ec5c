"""Where do boxes go on a page so that arrows between them cross none?

In: the sizes of boxes, and arrows from earlier boxes to later ones.  Out: a
place for each box, and the points through which each arrow goes.  Knows
nothing of networks or of how either is drawn.

Boxes lie in rows, each below everything that points to it.  An arrow that
passes a row has a narrow place of its own there, as if it were a box, so it
goes beside the boxes.  One longest path, the spine, goes straight down.

Reference:
    Sugiyama, Tagawa, Toda (1981), Methods for Visual Understanding of Hierarchical System Structures.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Point = tuple[float, float]

ROW_GAP = 30.0
"""Between rows, where arrows bend."""
COLUMN_GAP = 22.0
_LANE = 16.0
_SWEEPS = 24


@dataclass(frozen=True)
class Layout:
    """Everything is right of and below (0, 0)."""

    corners: tuple[Point, ...]
    """Left upper corner of each box."""
    routes: tuple[tuple[Point, ...], ...]
    """Of each arrow: from the middle of a lower edge to the middle of an upper one.  It is straight within a row
    and bends between two rows: pairs of points, one row after the other."""
    width: float
    height: float


@dataclass
class _Place:
    """A box, or where an arrow passes a row."""

    row: int
    width: float
    above: list[int]
    below: list[int]
    chain: int | None = None
    """The arrow, if it is one."""
    x: float = 0.0
    """Of the middle."""


def lay_out(sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]]) -> Layout:
    """Find a place for everything.

    Args:
        sizes: width and height of each box.
        arrows: (from, to) as indices of boxes; from is always the smaller one.
    """
    places, chains = _places(sizes, arrows)
    rows: list[list[int]] = [[] for _ in range(1 + max(place.row for place in places))]
    for index, place in enumerate(places):
        rows[place.row].append(index)
    _order(rows, places)
    _spread(rows, places, _spine(places[: len(sizes)], arrows), chains)
    left = min(place.x - place.width / 2 for place in places)
    for place in places:
        place.x -= left
    heights = [max((sizes[i][1] for i in row if i < len(sizes)), default=0.0) for row in rows]
    tops = [sum(heights[:i]) + i * ROW_GAP for i in range(len(rows))]
    corners = tuple((places[i].x - sizes[i][0] / 2, tops[places[i].row]) for i in range(len(sizes)))

    def route(start: int, end: int, chain: list[int]) -> tuple[Point, ...]:
        def at(index: int, share: float) -> Point:
            place = places[index]
            return place.x, tops[place.row] + share * heights[place.row]

        passed = [at(index, share) for index in chain for share in (0.0, 1.0)]
        lower_edge = (places[start].x, corners[start][1] + sizes[start][1])
        return (lower_edge, at(start, 1.0), *passed, at(end, 0.0), at(end, 0.0))

    routes = tuple(route(a, b, chain) for (a, b), chain in zip(arrows, chains, strict=True))
    right = max(place.x + place.width / 2 for place in places)
    return Layout(corners, routes, right, tops[-1] + heights[-1])


def _places(
    sizes: Sequence[tuple[float, float]], arrows: Sequence[tuple[int, int]]
) -> tuple[list[_Place], list[list[int]]]:
    """The boxes, then what arrows need in the rows they pass; and of each arrow those places."""
    row = [0] * len(sizes)
    for start, end in sorted(arrows, key=lambda arrow: arrow[1]):
        row[end] = max(row[end], row[start] + 1)
    places = [_Place(row[i], width, [], []) for i, (width, _) in enumerate(sizes)]
    chains: list[list[int]] = []
    for number, (start, end) in enumerate(arrows):
        chain = list(range(len(places), len(places) + row[end] - row[start] - 1))
        places += [_Place(row[start] + 1 + i, _LANE, [], [], number) for i in range(len(chain))]
        path = [start, *chain, end]
        for upper, lower in zip(path, path[1:], strict=False):
            places[upper].below.append(lower)
            places[lower].above.append(upper)
        chains.append(chain)
    return places, chains


def _order(rows: list[list[int]], places: list[_Place]) -> None:
    """Sort each row by where its neighbours are, downwards and upwards in turn: fewer arrows cross."""
    at = {index: i / len(row) for row in rows for i, index in enumerate(row)}
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in rows if down else reversed(rows):

            def wanted(index: int, down: bool = down) -> float:
                neighbours = places[index].above if down else places[index].below
                return sum(at[n] for n in neighbours) / len(neighbours) if neighbours else at[index]

            row.sort(key=wanted)
            at.update({index: (i + 0.5) / len(row) for i, index in enumerate(row)})


def _spine(boxes: list[_Place], arrows: Sequence[tuple[int, int]]) -> set[int]:
    """One box of each row, each pointing to the next."""
    index = max(range(len(boxes)), key=lambda i: boxes[i].row)
    found = {index}
    while boxes[index].row:
        index = next(a for a, b in arrows if b == index and boxes[a].row == boxes[index].row - 1)
        found.add(index)
    return found


def _spread(rows: list[list[int]], places: list[_Place], spine: set[int], chains: list[list[int]]) -> None:
    """Give every place its x: the spine at 0, an arrow straight down, the rest near its neighbours."""
    for _ in range(_SWEEPS):
        for row in rows:
            wanted = []
            for index in row:
                place = places[index]
                near = place.above + place.below if place.chain is None else chains[place.chain]
                wanted.append(0.0 if index in spine else sum(places[i].x for i in near) / max(1, len(near)))
            middles = _apart([places[i].width for i in row], wanted, [i in spine for i in row])
            for index, middle in zip(row, middles, strict=True):
                places[index].x = middle


def _apart(widths: list[float], wanted: list[float], fixed: list[bool]) -> list[float]:
    """Middles as near as possible to the wanted ones without overlap; the fixed one stays.

    Without it, what stands left and right of it is pushed outwards.
    """
    here = fixed.index(True)
    found = list(wanted)
    for i in range(here + 1, len(widths)):
        found[i] = max(found[i], found[i - 1] + (widths[i - 1] + widths[i]) / 2 + COLUMN_GAP)
    for i in range(here - 1, -1, -1):
        found[i] = min(found[i], found[i + 1] - (widths[i + 1] + widths[i]) / 2 - COLUMN_GAP)
    return found
