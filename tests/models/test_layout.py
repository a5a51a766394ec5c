"""No two boxes overlap, no arrow crosses a box, arrows end at their boxes, the longest path is straight."""

import itertools
import random

import pytest

from convscope.models.layout import ROW_GAP, Layout, lay_out

Box = tuple[float, float, float, float]


def boxes(sizes: list[tuple[float, float]], layout: Layout) -> list[Box]:
    """Left, top, right, bottom."""
    return [(x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.corners, sizes, strict=True)]


def drawn(seed: int) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    """Boxes of any size, each with one to three arrows from earlier ones."""
    dice = random.Random(seed)
    sizes = [(dice.uniform(30, 300), dice.uniform(20, 90)) for _ in range(dice.randint(2, 25))]
    arrows = [
        (start, end)
        for end in range(1, len(sizes))
        for start in sorted({dice.randrange(max(0, end - 6), end) for _ in range(dice.randint(1, 3))})
    ]
    return sizes, arrows


@pytest.mark.parametrize("seed", range(40))
def test_nothing_overlaps(seed: int) -> None:
    sizes, arrows = drawn(seed)
    layout = lay_out(sizes, arrows)
    placed = boxes(sizes, layout)
    for (l1, t1, r1, b1), (l2, t2, r2, b2) in itertools.combinations(placed, 2):
        assert r1 < l2 or r2 < l1 or b1 < t2 or b2 < t1
    assert min(left for left, *_ in placed) >= -1e-9
    assert max(right for _, _, right, _ in placed) <= layout.width + 1e-9
    assert max(bottom for *_, bottom in placed) == pytest.approx(layout.height)


@pytest.mark.parametrize("seed", range(40))
def test_arrows_go_from_box_to_box_and_cross_none(seed: int) -> None:
    sizes, arrows = drawn(seed)
    layout = lay_out(sizes, arrows)
    placed = boxes(sizes, layout)
    for (start, end), route in zip(arrows, layout.routes, strict=True):
        (left, _, right, bottom), (other_left, top, other_right, _) = placed[start], placed[end]
        assert route[0] == pytest.approx(((left + right) / 2, bottom))
        assert route[-1] == pytest.approx(((other_left + other_right) / 2, top))
        straight = list(zip(route[::2], route[1::2], strict=True))
        for (x, from_y), (to_x, to_y) in straight:
            assert x == to_x
            for left, upper, right, lower in placed:
                assert not (left < x < right and max(upper, from_y) < min(lower, to_y))
        # Between two rows there are no boxes to be crossed.
        for (_, (_, from_y)), ((_, to_y), _) in itertools.pairwise(straight):
            assert to_y - from_y == pytest.approx(ROW_GAP)
            assert not any(upper < to_y - 1e-6 and lower > from_y + 1e-6 for _, upper, _, lower in placed)


def test_a_block_with_a_shortcut_by_hand() -> None:
    """Four boxes below each other, and an arrow past the two in the middle, to their right."""
    layout = lay_out([(100, 40), (200, 20), (100, 40), (60, 40)], [(0, 1), (1, 2), (0, 3), (2, 3)])
    assert layout.corners == ((50, 0), (0, 40 + 30), (50, 70 + 20 + 30), (70, 120 + 40 + 30))
    lane = 100 + 100 + 22 + 8
    x, y = zip(*layout.routes[2], strict=True)
    assert x[:2] == (100, 100)
    assert x[2:6] == pytest.approx((lane,) * 4, abs=0.1)
    assert y == (40, 40, 70, 90, 120, 160, 190, 190)
    assert layout.width == pytest.approx(lane + 8, abs=0.1)
    assert layout.height == 230


def test_branches_stand_side_by_side_and_the_longest_path_is_straight() -> None:
    sizes = [(50.0, 20.0)] * 6
    layout = lay_out(sizes, [(0, 1), (0, 2), (2, 3), (0, 4), (1, 5), (3, 5), (4, 5)])
    tops = [y for _, y in layout.corners]
    assert tops == [0, 50, 50, 100, 50, 150]
    spine = [layout.corners[i][0] for i in (0, 2, 3, 5)]
    assert len(set(spine)) == 1
    assert sorted([1, 2, 4], key=lambda i: layout.corners[i][0]) == [1, 2, 4]
