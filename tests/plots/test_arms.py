"""What the figures of a study say alike."""

import pytest
from drawings import heading
from outcomes import DIVERGED, FAILED, line, outcome_of, study_of

from convscope.plots import arms, style
from convscope.studies.design import arm
from convscope.studies.stats import summary

TWO = (arm("one"), arm("two", lr=0.1))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([line()] * 5, ""),
        ([DIVERGED, line(), DIVERGED, line(), line()], "2 of 5 diverged"),
        ([FAILED, line(), line(), line(), line()], "1 of 5 failed"),
        ([DIVERGED, line(), FAILED, line()], "1 of 5 diverged, 1 failed, 1 not run"),
        ([], "5 of 5 not run"),
    ],
)
def test_what_did_not_finish_is_said(lines: list, said: str) -> None:  # type: ignore[type-arg]
    outcome = outcome_of(study_of(TWO, seeds=5), {"one": lines, "two": [line()] * 5})
    assert arms.lost(outcome, TWO[0]) == said


def test_no_interval_is_no_number() -> None:
    assert arms.ends(summary([0.5])) == pytest.approx((0.5, float("nan"), float("nan")), nan_ok=True)
    assert arms.ends(None) == pytest.approx((float("nan"),) * 3, nan_ok=True)
    # t with 2 degrees of freedom: 4.302653 x 0.1 / sqrt(3)
    assert arms.ends(summary([0.4, 0.5, 0.6])) == pytest.approx(
        (0.5, 0.5 - 0.248414, 0.5 + 0.248414), abs=1e-6
    )


@pytest.mark.parametrize(
    ("measure", "shown", "scale"),
    [
        ("final_accuracy", "final accuracy (%)", 100),
        ("val_accuracy", "validation accuracy (%)", 100),
        ("gap", "gap (points)", 100),
        ("train_loss", "training loss", 1),
        ("activations/dead_share", "activations: dead share (%)", 100),
        ("parameters", "parameters", 1),
    ],
)
def test_names_with_units(measure: str, shown: str, scale: float) -> None:
    assert (arms.named(measure), arms.scale(measure)) == (shown, scale)


@pytest.mark.parametrize(
    ("measure", "values", "scale"),
    [
        ("val_loss", [0.1, 0.5], "log"),
        ("val_loss", [0.1, 0.49], "linear"),
        ("val_loss", [-0.1, 0.5], "linear"),
        ("val_accuracy", [0.1, 0.9], "linear"),
    ],
)
def test_a_loss_that_varies_much_is_logarithmic(measure: str, values: list[float], scale: str) -> None:
    _, (first, second) = style.panels(1, 2)
    second.sharey(first)
    second.plot(values)  # the panel that has the axis may not be the one with the range
    arms.measured(first, measure)
    assert first.get_yscale() == scale


def test_the_legend_names_each_thing_once_in_even_lines() -> None:
    figure = style.figure(4.0, 3.0)
    axes = figure.subplots()
    for label in ("a" * 20, "b", "b", "c", "d"):
        axes.plot([0], [0], label=label)
    arms.legend(figure, axes)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["a" * 20, "b", "c", "d"]
    # A column of 20 letters is 1.66 inches wide: two of them fit into 4.
    assert legend._ncols == 2  # type: ignore[attr-defined]


def test_the_title_tells_seeds_and_what_was_pooled() -> None:
    lines = {"one": [line()], "two": [line()]}
    figure = style.figure()
    arms.title(figure, outcome_of(study_of(TWO, seeds=1), lines), "and more")
    assert heading(figure) == "demo: A demonstration, 1 seed\nand more"
    arms.title(figure, outcome_of(study_of(TWO, seeds=3), lines, mixed=("The code differs.",)))
    assert heading(figure) == "demo: A demonstration, 3 seeds, pooled over different conditions"


def test_a_long_title_is_broken_to_the_figures_width() -> None:
    """14 letters to the inch: 56 in four inches."""
    figure = style.figure(4.0)
    arms.title(
        figure, outcome_of(study_of([arm("a"), arm("b", lr=0.3)], title="word " * 30), {"a": [], "b": []})
    )
    lines = figure.get_suptitle().splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= 56
    assert " ".join(lines).count("word") == 30
