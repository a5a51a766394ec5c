"""Text for the terminal."""

import pytest

from convscope.cli.show import curve, duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.44, "0.4 s"),
        (9.94, "9.9 s"),
        (45.4, "45 s"),
        (61, "1 min 1 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds, text) -> None:
    assert duration(seconds) == text


def test_a_curve_rises_from_its_lowest_to_its_highest_value() -> None:
    rows = curve([0.1, 0.5, 0.9], "accuracy").splitlines()
    assert rows[0].startswith("  90.0% |")
    assert rows[7].startswith("  10.0% |")
    assert rows[8] == "        +--- accuracy"
    heights = [sum(row[9 + column] != " " for row in rows[:8]) for column in range(3)]
    assert heights == sorted(heights)
    assert heights[0] == 1
    assert heights[2] == 8


def test_a_flat_curve_and_no_curve() -> None:
    assert curve([], "accuracy") == ""
    assert curve([0.5], "accuracy").splitlines()[0].startswith("  50.0% |")
