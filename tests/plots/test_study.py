"""What is on the figures of a study."""

import math
from typing import Any

import numpy as np
import pytest
from drawings import heading
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from outcomes import DIVERGED, FAILED, line, outcome_of, study_of

from convscope.core.errors import UnknownName
from convscope.plots import study as drawn
from convscope.plots import style
from convscope.studies.conduct import Outcome
from convscope.studies.design import Curve, Published, arm, factorial
from convscope.studies.report import report

REACH = 0.0248414
"""Of the t interval of 0.49, 0.50, 0.51: 4.302653 x 0.01 / sqrt(3)."""


def compared() -> Outcome:
    """Three arms: one published, one of which a run diverged, one of which none finished."""
    study = study_of(
        [
            arm("constant", published=Published(0.45, "S1.28")),
            arm("fast", lr=0.1),
            arm("wild", lr=9.0, published=Published(0.3, "S1.39")),
        ]
    )
    return outcome_of(
        study,
        {
            "constant": [line(0.49), line(0.5), line(0.51)],
            "fast": [line(0.6), DIVERGED, line(0.7)],
            "wild": [DIVERGED, DIVERGED, FAILED],
        },
    )


def labelled(axes: Axes, label: str) -> list[Any]:
    """The points of every line with this label."""
    return [
        [tuple(point) for point in np.asarray(item.get_xydata()).tolist()]
        for item in axes.lines
        if item.get_label() == label
    ]


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def notes_of(axes: Axes) -> dict[float, str]:
    """What is written beside the rows."""
    return {text.get_position()[1]: text.get_text() for text in axes.texts if text.get_text()}


def test_intervals_show_seeds_means_and_what_was_published() -> None:
    outcome = compared()
    (axes,) = drawn.intervals(report(outcome)).axes
    first, second = axes.containers
    assert first[0].get_xydata().tolist() == [[pytest.approx(50), 0]]
    assert second[0].get_xydata().tolist() == [[pytest.approx(65), 1]]
    low, high = (cap.get_xdata()[0] for cap in first[1])
    assert (low, high) == pytest.approx((50 - 100 * REACH, 50 + 100 * REACH), abs=1e-4)
    seeds = [[x for x, _ in points] for points in labelled(axes, "one seed")]
    assert seeds == [pytest.approx([49, 50, 51]), pytest.approx([60, 70])]
    assert labelled(axes, "published") == [[(pytest.approx(45), 0)], [(pytest.approx(30), 2)]]
    ((at, _), _) = labelled(axes, "baseline: constant")[0]
    assert at == pytest.approx(50)
    assert axes.get_xlabel() == "final accuracy (%)"


def test_intervals_have_the_arms_from_the_top_and_say_what_is_missing() -> None:
    outcome = compared()
    figure = drawn.intervals(report(outcome))
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["constant", "fast", "wild"]
    bottom, top = axes.get_ylim()
    assert bottom > top
    assert notes_of(axes) == {
        0: "published: S1.28",
        1: "1 of 3 diverged",
        2: "published: S1.39\n2 of 3 diverged, 1 failed",
    }
    assert set(legend_of(figure)) == {
        "one seed", "mean with its 95 % t interval", "published", "baseline: constant",
    }  # fmt: skip
    assert heading(figure) == "demo: A demonstration, 3 seeds"


def test_one_seed_has_no_interval_and_a_count_is_no_share() -> None:
    study = study_of([arm("small"), arm("large", lr=0.1)], seeds=1, measure="parameters")
    lines = {name: [line(size, "parameters")] for name, size in (("small", 61706.0), ("large", 70000.0))}
    outcome = outcome_of(study, lines)
    figure = drawn.intervals(report(outcome))
    (axes,) = figure.axes
    assert axes.containers[0][0].get_xdata().tolist() == [61706]
    assert np.isnan([cap.get_xdata()[0] for cap in axes.containers[0][1]]).all()
    assert "mean of one seed" in legend_of(figure)
    assert axes.get_xlabel() == "parameters"


def test_a_baseline_without_a_run_has_no_line() -> None:
    study = study_of([arm("one"), arm("two", lr=0.1)])
    outcome = outcome_of(study, {"one": [], "two": [line()]})
    (axes,) = drawn.intervals(report(outcome)).axes
    assert labelled(axes, "baseline: one") == []
    assert notes_of(axes) == {0: "3 of 3 not run", 1: "2 of 3 not run"}


def curved(*seeds: list[float | None], train: list[float | None] | None = None) -> list[Any]:
    return [line(val_accuracy=list(seed), train_accuracy=list(train or seed)) for seed in seeds]


def band_of(axes: Axes, number: int = 0) -> set[tuple[float, float]]:
    corners = np.asarray(axes.collections[number].get_paths()[0].vertices)
    return {(round(x, 3), round(y, 3)) for x, y in corners.tolist()}


def test_curves_are_means_with_their_interval_and_training_dashed() -> None:
    study = study_of([arm("one"), arm("two", lr=0.1)])
    lines = {
        "one": curved([0.29, 0.49], [0.3, 0.5], [0.31, 0.51], train=[0.4, 0.8]),
        "two": [*curved([0.2, 0.4]), DIVERGED, DIVERGED],
    }
    figure = drawn.curves(outcome_of(study, lines))
    (axes,) = figure.axes
    assert [label for label in legend_of(figure)] == ["one", "two"]
    assert labelled(axes, "one") == [[(1, pytest.approx(30)), (2, pytest.approx(50))]]
    ends = {(1, 27.516), (1, 32.484), (2, 47.516), (2, 52.484)}
    assert ends <= band_of(axes)
    assert len(axes.collections) == 1, "one seed has no band"
    dashed = [item for item in axes.lines if item.get_linestyle() == "--"]
    assert np.asarray(dashed[0].get_ydata()).tolist() == pytest.approx([40, 80])
    assert [to_hex(item.get_color()) for item in dashed] == [colour.lower() for colour in style.COLOURS[:2]]
    assert axes.get_title() == "two: 2 of 3 diverged"
    assert axes.get_ylabel() == "validation accuracy (%)"
    assert heading(figure).endswith("\nmean with its 95 % t interval; dashed: training, while it learns")


def test_what_was_printed_by_epoch_stands_beside_the_curve() -> None:
    study = study_of(
        [arm("one", curve=Curve((0.2, 0.4), "S4.10", (0.01, 0.02))), arm("two", lr=0.1)], seeds=1
    )
    outcome = outcome_of(study, {"one": curved([0.3, 0.5]), "two": curved([0.3, 0.5])})
    figure = drawn.curves(outcome)
    (points,) = (item for item in figure.axes[0].containers if item.get_label() == "one: S4.10")
    (bars,) = points.lines[2]
    assert [[y for _, y in end] for end in bars.get_segments()] == [
        pytest.approx([19, 21]), pytest.approx([38, 42]),
    ]  # fmt: skip
    assert np.asarray(points.lines[0].get_data()).T.tolist() == [
        [1, pytest.approx(20)],
        [2, pytest.approx(40)],
    ]
    assert heading(figure).endswith("; diamonds: printed")
    assert not drawn.curves(outcome, "val_loss").axes[0].containers


def test_where_a_seed_has_no_value_there_is_no_mean() -> None:
    study = study_of([arm("one"), arm("two", lr=0.1)])
    lines = {"one": curved([0.3, 0.5, 0.7], [0.3, 0.5], [0.3, None, 0.7]), "two": curved([0.2], [0.2], [0.2])}
    (axes,) = drawn.curves(outcome_of(study, lines)).axes
    assert labelled(axes, "one")[0] == [(1, pytest.approx(30)), (2, pytest.approx(math.nan, nan_ok=True)),
                                        (3, pytest.approx(math.nan, nan_ok=True))]  # fmt: skip


def test_training_alone_is_drawn_once() -> None:
    study = study_of([arm("one"), arm("two", lr=0.1)], seeds=1)
    losses = {name: [line(train_loss=[2.0, 0.2])] for name in ("one", "two")}
    figure = drawn.curves(outcome_of(study, losses), "train_loss")
    (axes,) = figure.axes
    assert [item.get_linestyle() for item in axes.lines] == ["-", "-"]
    assert axes.get_yscale() == "log"
    assert heading(figure) == "demo: A demonstration, 1 seed\none run each"


def test_no_panel_has_more_than_seven_colours() -> None:
    study = study_of([arm(f"width {width}", l1=float(width)) for width in range(1, 17)], seeds=1)
    figure = drawn.curves(outcome_of(study, {item.name: curved([0.1, 0.2]) for item in study.arms}))
    solid = [[item.get_label() for item in axes.lines if item.get_linestyle() == "-"] for axes in figure.axes]
    assert [len(labels) for labels in solid] == [6, 6, 4]
    assert sum(solid, []) == [f"width {width}" for width in range(1, 17)]
    for axes in figure.axes:
        colours = [item.get_color() for item in axes.lines if item.get_linestyle() == "-"]
        assert len(set(colours)) == len(colours)
    assert figure.axes[0].get_ylim() == figure.axes[2].get_ylim()
    assert not figure.legends
    assert [axes.get_legend() is not None for axes in figure.axes] == [True] * 3


RATES = {"low": {"lr": 0.001}, "mid": {"lr": 0.01}, "high": {"lr": 0.1}}
NORMS = {"none": {}, "batch": {"model.norm": "batch"}}


def crossed(**options: Any) -> Outcome:
    """Two factors; the highest rate diverges without norm."""
    study = study_of(list(factorial({"norm": NORMS, "rate": RATES})), seeds=2, **options)
    losses = {"none, rate low": 3.0, "none, rate mid": 2.0, "batch, rate low": 1.5, "batch, rate mid": 0.5,
              "batch, rate high": 1.0}  # fmt: skip
    lines = {
        f"norm {name}": [
            line(val_accuracy=[0.1, 0.2], train_loss=[5.0, loss - 0.1]),
            line(val_accuracy=[0.1, 0.2], train_loss=[5.0, loss + 0.1]),
        ]
        for name, loss in losses.items()
    }
    return outcome_of(study, {**lines, "norm none, rate high": [DIVERGED, DIVERGED]})


def test_a_factorial_has_a_panel_for_each_level_of_its_first_factor() -> None:
    figure = drawn.curves(crossed())
    assert [axes.get_title() for axes in figure.axes] == [
        "norm none\nrate high: 2 of 2 diverged",
        "norm batch",
    ]
    solid = [[item.get_label() for item in axes.lines if item.get_linestyle() == "-"] for axes in figure.axes]
    assert solid == [["rate low", "rate mid", "rate high"]] * 2
    assert legend_of(figure) == solid[0]


def test_bands_reach_from_the_lowest_to_the_highest_mean_over_the_rates() -> None:
    figure = drawn.bands(crossed(axis="lr"))
    (axes,) = figure.axes
    none, batch = band_of(axes, 0), band_of(axes, 1)
    assert {y for x, y in none if x == 2} == {2, 3}
    assert {y for x, y in batch if x == 2} == {0.5, 1.5}
    assert {y for x, y in none | batch if x == 1} == {5}
    assert legend_of(figure) == ["norm none (rate high: 2 of 2 diverged)", "norm batch"]
    assert heading(figure) == (
        "demo: A demonstration, 2 seeds\ntraining loss, lowest to highest over rate low, mid, high\n"
        "a spread of training curves, not a loss landscape (E2.10)"
    )
    assert axes.get_yscale() == "log"


def test_a_band_over_the_other_factor_if_that_is_wanted() -> None:
    (axes,) = drawn.band(crossed(), "norm", by="rate").axes
    low, mid, high = (band_of(axes, number) for number in range(3))
    assert [{y for x, y in band if x == 2} for band in (low, mid, high)] == [{1.5, 3}, {0.5, 2}, {1}]


def test_no_axis_follows_an_interval_to_where_no_share_can_be() -> None:
    """0.02, 0.5 and 0.98: +-1.19 around 0.5."""
    study = study_of([arm("one"), arm("two", lr=0.1)], axis="lr")
    lines = {name: [line(value) for value in (0.02, 0.5, 0.98)] for name in ("one", "two")}
    figures = drawn.figures(report(outcome_of(study, lines)))
    assert figures["intervals"].axes[0].get_xlim() == figures["sweep"].axes[0].get_ylim() == (-3, 103)


def test_curves_know_four_names() -> None:
    with pytest.raises(UnknownName) as caught:
        drawn.curves(crossed(), "val_acuracy")
    assert str(caught.value) == (
        "No curve is called 'val_acuracy'. Did you mean 'val_accuracy' or 'train_accuracy'? Known: train_accuracy, "
        "train_loss, val_accuracy, val_loss."
    )


def test_only_the_figures_that_apply() -> None:
    outcome = compared()
    assert list(drawn.figures(report(outcome))) == ["intervals"]
    assert list(drawn.figures(report(crossed()))) == ["intervals", "curves"]
    outcome = crossed(axis="lr")
    assert tuple(drawn.figures(report(outcome))) == ("intervals", "curves", "bands", "sweep") == drawn.FIGURES
    study = study_of([arm("one"), arm("two", lr=0.1)], seeds=1, measure="final_loss")
    lines = {name: [line(0.5, "final_loss", val_loss=[1.0, 0.5])] for name in ("one", "two")}
    figures = drawn.figures(report(outcome_of(study, lines)))
    assert list(figures) == ["intervals", "curves"]
    assert figures["curves"].axes[0].get_ylabel() == "validation loss"
