"""What is on the figure of a sweep."""

from dataclasses import replace

import numpy as np
import pytest
from drawings import ticks
from matplotlib.axes import Axes
from outcomes import DIVERGED, line, outcome_of, study_of

from convscope.plots import sweep
from convscope.studies.conduct import Outcome
from convscope.studies.design import Published, arm, factorial
from convscope.studies.report import report

REACH = 2.48414
"""Of the t interval of 49, 50, 51: 4.302653 x 1 / sqrt(3)."""


def drawn(outcome: Outcome) -> Axes:
    (axes,) = sweep.draw(report(outcome)).axes
    return axes


def around(centre: float, measure: str = "final_accuracy") -> list:  # type: ignore[type-arg]
    return [line(centre + shift, measure) for shift in (-0.01, 0, 0.01)]


def penalties() -> Outcome:
    """0, 1e-4 and 1e-2, not in this order; one run of the last diverged."""
    study = study_of(
        [
            arm("1e-2", weight_decay=1e-2, published=Published(0.66, "S1.45")),
            arm("0", weight_decay=0.0),
            arm("1e-4", weight_decay=1e-4, published=Published(0.74, "S1.46")),
        ],
        axis="weight_decay",
    )
    lines = {"0": around(0.6), "1e-4": around(0.7), "1e-2": [line(0.3), DIVERGED, line(0.5)]}
    return outcome_of(study, lines)


def test_the_baseline_and_the_training_images_where_they_are_told() -> None:
    """As in double descent: a curve for each, and the threshold."""
    study = study_of([arm("narrow", lr=0.5), arm("wide", lr=2.0)], axis="lr", also=("train_accuracy",))
    lines = {
        name: [
            replace(line(), numbers={"final_accuracy": value, "train_accuracy": value + 0.2})
            for value in (0.5, 0.6, 0.7)
        ]
        for name in ("narrow", "wide")
    }
    axes = drawn(outcome_of(study, lines))
    by_label = {item.get_label(): np.asarray(item.get_xydata()).tolist() for item in axes.lines}
    assert by_label["training images"] == [pytest.approx([0.5, 80]), pytest.approx([2, 80])]
    assert by_label["baseline: narrow"] == [[0.5, 0], [0.5, 1]]


def test_means_intervals_seeds_and_published_along_a_logarithmic_axis() -> None:
    axes = drawn(penalties())
    (bars,) = axes.containers
    zero = bars[0].get_xdata()[0]
    assert bars[0].get_xdata().tolist() == pytest.approx([zero, 1e-4, 1e-2])
    assert bars[0].get_ydata().tolist() == pytest.approx([60, 70, 40])
    low, high = (cap.get_ydata()[:2] for cap in bars[1])
    assert low.tolist() == pytest.approx([60 - REACH, 70 - REACH], abs=1e-4)
    assert high.tolist() == pytest.approx([60 + REACH, 70 + REACH], abs=1e-4)
    seeds = [np.asarray(item.get_ydata()).tolist() for item in axes.lines if item.get_alpha() == 0.4]
    assert seeds == [pytest.approx([59, 60, 61]), pytest.approx([69, 70, 71]), pytest.approx([30, 50])]
    (published,) = (item for item in axes.lines if item.get_marker() == "D")
    assert np.asarray(published.get_xydata()).tolist() == [
        pytest.approx([1e-4, 74]),
        pytest.approx([1e-2, 66]),
    ]
    assert published.get_label() == "published: S1.46, S1.45"
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == (
        "log", "weight decay", "final accuracy (%)",
    )  # fmt: skip


def test_zero_stands_behind_a_break() -> None:
    axes = drawn(penalties())
    # Two decades: 0 is 0.4 + 0.1 x 2 decades left of 1e-4.
    zero = 1e-4 / 10**0.6
    assert axes.get_xticks().tolist() == pytest.approx([zero, 1e-4, 1e-2])
    assert ticks(axes) == ["0", "0.0001", "0.01"]
    (mark,) = (text for text in axes.texts if text.get_text() == "//")
    assert zero < mark.get_position()[0] < 1e-4
    (joined,) = (item for item in axes.lines if item.get_linewidth() == 1 and item.get_linestyle() == "-")
    assert np.asarray(joined.get_ydata()).tolist() == pytest.approx([np.nan, 70, 40], nan_ok=True)


def test_a_cross_above_says_how_many_diverged() -> None:
    axes = drawn(penalties())
    (cross,) = (item for item in axes.lines if item.get_marker() == "x")
    (x,), (y,) = np.asarray(cross.get_xdata()), np.asarray(cross.get_ydata())
    assert (x, y > 1) == (pytest.approx(1e-2), True)
    assert [text.get_text().strip() for text in axes.texts] == ["1/3", "//"]


def test_a_factorial_has_a_line_for_each_level_of_the_other_factor() -> None:
    study = study_of(
        list(
            factorial(
                {
                    "norm": {"none": {}, "batch": {"model.norm": "batch"}},
                    "rate": {"mid": {}, "high": {"lr": 0.1}},  # mid is the rate of the study
                },
                {("batch", "high"): Published(0.7, "S1.40")},
            )
        ),
        axis="lr",
    )
    lines = {item.name: around(0.5 + 0.1 * number) for number, item in enumerate(study.arms)}
    outcome = outcome_of(study, {**lines, "norm none, rate high": [DIVERGED] * 3})
    axes = drawn(outcome)
    none, batch = axes.containers
    assert (none.get_label(), batch.get_label()) == ("norm none", "norm batch")
    assert none[0].get_ydata().tolist() == pytest.approx([50, np.nan], nan_ok=True)
    assert batch[0].get_ydata().tolist() == pytest.approx([70, 80])
    # One decade; the lines stand 1.6 % of it apart.
    left, right = (np.array(bars[0].get_xdata(), dtype=float) for bars in (none, batch))
    assert np.log10(right / left).tolist() == pytest.approx([0.016] * 2)
    assert np.sqrt(left * right).tolist() == pytest.approx([0.01, 0.1])
    assert ticks(axes) == ["0.01", "0.1"]
    assert axes.get_xlabel() == "learning rate"
    assert none[0].get_color() != batch[0].get_color()


def test_a_factor_of_numbers_is_a_linear_axis() -> None:
    noises = {"0": {}, **{rate: {"data.label_noise": f"symmetric:rate={rate}"} for rate in ("0.2", "0.8")}}
    study = study_of(list(factorial({"noise": noises})), axis="noise", baseline="noise 0")
    axes = drawn(outcome_of(study, {f"noise {rate}": around(0.9 - float(rate)) for rate in noises}))
    (bars,) = axes.containers
    assert bars[0].get_xydata().tolist() == [
        pytest.approx(point) for point in ([0, 90], [0.2, 70], [0.8, 10])
    ]
    assert (axes.get_xscale(), ticks(axes)) == ("linear", ["0", "0.2", "0.8"])
    assert not axes.texts


def test_a_spike_of_the_loss_over_many_widths() -> None:
    widths = [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 32, 64]
    study = study_of(
        [arm(f"width {width}", l1=float(width)) for width in widths], axis="l1", measure="final_loss"
    )
    losses = {f"width {width}": around(9.0 if width == 8 else 1.0, "final_loss") for width in widths}
    axes = drawn(outcome_of(study, losses))
    (bars,) = axes.containers
    assert bars[0].get_xdata().tolist() == pytest.approx(widths)
    assert axes.get_yscale() == "log"
    at = np.log(axes.get_xticks())
    assert (np.diff(at) >= 0.06 * np.log(64)).all()
    assert ticks(axes)[0] == "1"
    assert axes.figure.get_suptitle() == (
        "demo: A demonstration, 3 seeds\nmean with its 95 % t interval; beside it each seed"
    )
