"""Where the counts, names and intervals of a confusion are on its figures."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from convscope.diagnostics.confusion import Confusion, Pair, Shown
from convscope.diagnostics.confusion_seeds import over_seeds
from convscope.plots import confusion

NAMES = ("ant", "bee", "cow")


def result(counts: Any = ((5, 4, 0), (1, 6, 0), (0, 0, 7)), classes: tuple[str, ...] = NAMES) -> Confusion:
    table = np.array(counts)
    k, images = len(table), int(table.sum())
    shown = (Shown(8, "8", "ant", "bee", 0.9), Shown(3, "3", "ant", "bee", 0.8))
    pairs = (Pair("ant", "bee", 4, 4 / 9, 0.2, 0.7, shown),) if np.trace(table) < images else ()
    pixels = np.full((2, 3, 2, 2), 7, np.uint8)
    return Confusion(
        subject="a net on insects", data="insects", split="val", images=images, which="0" * 16, rows="true class",
        columns="predicted class", classes=classes, counts=table, by_truth=table / table.sum(1, keepdims=True),
        by_prediction=table / table.sum(0), precision=np.ones(k), recall=np.ones(k), f1=np.ones(k),
        accuracy=np.trace(table) / images, macro_precision=1.0, macro_recall=1.0, macro_f1=1.0, symmetry=1.8,
        symmetry_df=1, symmetry_p=0.18, symmetry_p_drawn=0.375, reverse_correlation=0.5, pairs=pairs,
        pair_pixels=pixels[None, :, :][: len(pairs)], errors=shown[: 2 * len(pairs)],
        error_pixels=pixels[: 2 * len(pairs)],
    )  # fmt: skip


def test_counts_stand_in_the_cells_off_the_diagonal_with_truth_on_rows() -> None:
    figure = confusion.draw(result())
    axes = figure.axes[0]
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {((1, 0), "4"), ((0, 1), "1")}
    drawn = np.ma.filled(np.ma.asarray(axes.images[1].get_array()).astype(float), np.nan)
    np.testing.assert_array_equal(drawn, [[np.nan, 4, np.nan], [1, np.nan, np.nan], [np.nan] * 3])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == list(NAMES)
    assert axes.get_title() == "Images off the diagonal; on it 18 right"
    assert figure.get_suptitle() == (
        "a net on insects, val, n = 23: 78.26% right\npairs and reverses: Bowker 1.8, df 1, p = 0.38 by drawing"
    )


def test_examples_of_a_pair_and_the_surest_errors_are_shown_with_their_positions() -> None:
    axes = confusion.draw(result()).axes
    photos = [one for one in axes[1:] if one.images and one.axison is False]
    titles = [one.get_title("left") or one.get_title() for one in photos]
    assert titles == [
        "ant as bee: 4 (44.4%)\n8: 90.0%", "3: 80.0%", "ant as bee\n8: 90.0%",
        "ant as bee\n3: 80.0%",
    ]  # fmt: skip
    assert all(np.asarray(one.images[0].get_array()).tolist() == [[[7] * 3] * 2] * 2 for one in photos)


def test_many_classes_have_no_numbers_and_no_errors_no_colours() -> None:
    many = np.ones((40, 40), int)
    figure = confusion.draw(result(many, tuple(f"class {k}" for k in range(40))))
    assert len(figure.axes[0].texts) == 0
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == [
        f"class {k}" for k in range(0, 40, 2)
    ]
    perfect = confusion.draw(result(np.diag([2, 3, 4])))
    assert len(perfect.axes[0].texts) == 0
    perfect.canvas.draw()


def test_runs_are_dots_beside_the_mean_and_its_interval() -> None:
    other = result([[7, 2, 0], [1, 6, 0], [0, 0, 7]])
    both = over_seeds(
        [result(), dataclasses.replace(other, by_truth=other.counts / other.counts.sum(1, keepdims=True))]
    )
    figure = confusion.draw_over_seeds(both)
    texts = {(text.get_position(), text.get_text()) for text in figure.axes[0].texts}
    assert texts == {((1, 0), "3.0"), ((0, 1), "1.0")}
    bars = figure.axes[2]
    assert [bar.get_width() for bar in bars.patches] == pytest.approx([100 * 3 / 9, 100 / 7])  # type: ignore[attr-defined]
    assert [label.get_text() for label in bars.get_yticklabels()] == ["ant as bee", "bee as ant"]
    dots = [line for line in bars.lines if line.get_marker() == "o"]
    assert np.asarray(dots[0].get_xdata()).tolist() == pytest.approx([400 / 9, 200 / 9])
    segments = bars.collections[0].get_segments()  # type: ignore[attr-defined]
    assert segments[0][:, 0].tolist() == pytest.approx([100 * both.pairs[0].low, 100 * both.pairs[0].high])
