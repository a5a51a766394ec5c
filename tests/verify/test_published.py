"""The z of two printed accuracies by hand, and a table that would not contradict itself."""

import pytest

from convscope.verify import published


def test_z_by_hand() -> None:
    # 0.5 +- 0.01 of 5,000: the standard error is sqrt(2 x 0.25 / 5000) = 0.01, the difference two of them.
    assert published.z(0.49, 0.51, 5_000) == pytest.approx(2)
    assert published.z(0.51, 0.49, 5_000) == pytest.approx(-2)


def test_z_is_that_of_a_test_of_two_proportions() -> None:
    from scipy.stats import chi2_contingency

    right = [3285, 3643]  # 0.6570 and 0.7286 of 5,000
    theirs = chi2_contingency([right, [5000 - count for count in right]], correction=False).statistic
    assert published.z(0.6570, 0.7286, 5_000) ** 2 == pytest.approx(theirs)


def test_with_a_hundred_times_the_images_swish_would_be_shown_to_be_better(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(published, "VALIDATION", 500_000)
    found = [finding for finding in published.published() if "Swish" in finding.statement]
    assert [(finding.holds, finding.as_expected) for finding in found] == [(True, False)]


def test_with_few_images_the_tables_would_not_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "VALIDATION", 500)
    assert published._one_rate().holds
