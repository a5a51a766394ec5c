"""Every interval over seeds is Student's, computed cell by cell."""

import numpy as np
import pytest
from answering import seen, told

from convscope.core.errors import ConfigError
from convscope.core.intervals import student
from convscope.diagnostics.confusion import Confusion, confusion
from convscope.diagnostics.confusion_seeds import over_seeds

COUNTS = np.array([[5, 3, 0], [1, 4, 2], [0, 4, 6]])


def runs() -> list[Confusion]:
    """Three networks on the same images: 10 ants, 5 bees, 5 cows."""
    labels = [0] * 10 + [1] * 5 + [2] * 5
    made = []
    for wrong in (2, 4, 3):
        predicted = [1] * wrong + labels[wrong:]
        made.append(confusion(subject=seen(labels, 5 * np.eye(3, dtype=int)[predicted])))
    return made


def test_over_seeds_every_cell_and_class_has_students_interval() -> None:
    found = over_seeds(runs(), top=1)
    assert found.share[0].tolist() == pytest.approx([0.7, 0.3, 0])
    assert found.share_interval[:, 0, 1].tolist() == pytest.approx(list(student([0.2, 0.4, 0.3])))
    assert found.share_interval[:, 1, 1].tolist() == [1, 1]
    low, high = student([5 / 7, 5 / 9, 5 / 8])
    assert found.precision[:, 1].tolist() == pytest.approx([(5 / 7 + 5 / 9 + 5 / 8) / 3, low, min(high, 1)])
    assert (found.accuracy_low, found.accuracy_high) == pytest.approx(student([0.9, 0.8, 0.85]))
    (pair,) = found.pairs
    assert (pair.truth, pair.predicted, pair.counts, pair.named_by) == ("ant", "bee", (2, 4, 3), 3)
    assert pair.shares == (0.2, 0.4, 0.3)
    assert found.sentence == (
        "a net on insects, 3 runs, 20 images of val: 85.00% [72.58%, 97.42%] right; confused most often: ant as bee "
        "30.0% [5.2%, 54.8%] (among the first 1 in 3 of 3 runs). Intervals: Student 95 % over the runs."
    )


def test_over_seeds_refuses_one_run_and_other_images() -> None:
    with pytest.raises(
        ConfigError, match=r"^An interval over seeds needs the confusions of at least 2 runs, got 1\.$"
    ):
        over_seeds(runs()[:1])
    other = confusion(subject=told(COUNTS))
    with pytest.raises(ConfigError) as refused:
        over_seeds([runs()[0], other])
    assert str(refused.value) == (
        "Confusions can be averaged only over the same images: a net on insects saw 20 of insects val, a net on insects "
        "saw 25 of insects val. Use runs that share data and split_seed."
    )
    with pytest.raises(ConfigError, match="saw 25 of insects val under another split. Use runs"):
        over_seeds([other, confusion(subject=told(COUNTS, hash="another"))])
