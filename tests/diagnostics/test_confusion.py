"""Counts are scikit-learn's, Bowker's statistic is worked by hand, and every shown image is the one it says it is."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support
from torch import nn

from convscope.core.errors import ConfigError, Diverged
from convscope.core.intervals import student, wilson
from convscope.data import Data, ImageSet, Normaliser
from convscope.data.images import Sealed
from convscope.diagnostics.confusion import Confusion, confusion, most_frequent
from convscope.diagnostics.confusion_seeds import over_seeds
from convscope.diagnostics.symmetry import bowker, p_drawn, reverse_correlation
from convscope.evaluate.subject import Subject, subject_of

CLASSES = ("ant", "bee", "cow")


def seen(
    labels: Any,
    logits: Any,
    *,
    classes: tuple[str, ...] = CLASSES,
    files: tuple[str, ...] = (),
    hash: str = "h",
) -> Subject:
    """A network that answers with an image's pixels: image n of K channels, 1x1, has the logits (K,)."""
    pixels = torch.tensor(np.asarray(logits), dtype=torch.uint8)[:, :, None, None]
    # Stored backwards, so that a row of the store is not a position in the split.
    rows = torch.arange(len(pixels)).flip(0)
    images = ImageSet(pixels.flip(0), rows, torch.tensor(np.asarray(labels)), classes, files)
    channels = pixels.shape[1]
    data = Data("insects", classes, images, images, Sealed(0, lambda: images), (0.0,), (1.0,), hash)
    linear = nn.Linear(channels, channels)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(channels))
        linear.bias.copy_(torch.zeros(channels))
    model = nn.Sequential(nn.Flatten(), linear)
    return subject_of(model, data, Normaliser((0.0,) * channels, (1 / 255,) * channels), "a net on insects")


def told(counts: Any, **more: Any) -> Subject:
    """A network that confuses exactly so; the n-th image of a cell is n + 1 logits surer than a tie."""
    labels, logits = [], []
    for (i, j), count in np.ndenumerate(np.asarray(counts)):
        for n in range(int(count)):
            labels.append(i)
            logits.append([n + 1 if k == j else 0 for k in range(len(counts))])
    return seen(labels, logits, **more)


COUNTS = np.array([[5, 3, 0], [1, 4, 2], [0, 4, 6]])


def test_counts_and_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, logits = rng.integers(0, 7, 300), rng.integers(0, 9, (300, 8))
    logits[:, 6] = 0  # a class that is hardly ever predicted, and the eighth has no image
    found = confusion(subject=seen(labels, logits, classes=tuple("abcdefgh")))
    predicted = logits.argmax(1)
    assert found.counts.tolist() == confusion_matrix(labels, predicted, labels=range(8)).tolist()
    for name, mode in (("by_truth", "true"), ("by_prediction", "pred")):
        theirs = confusion_matrix(labels, predicted, labels=range(8), normalize=mode)
        np.testing.assert_allclose(np.nan_to_num(getattr(found, name)), theirs, rtol=1e-12)
    theirs = precision_recall_fscore_support(labels, predicted, labels=range(8), zero_division=np.nan)
    for ours, other in zip((found.precision, found.recall, found.f1), theirs, strict=False):
        np.testing.assert_allclose(ours, other, rtol=1e-12)
    assert math.isnan(found.recall[7]) and np.isnan(found.by_truth[7]).all()
    assert found.macro_f1 == pytest.approx(np.nanmean(theirs[2]))
    assert found.accuracy == np.mean(labels == predicted)


def test_pairs_in_their_order_with_shares_intervals_and_their_surest_images() -> None:
    found = confusion(subject=told(COUNTS), top=2, examples=3)
    first, second = found.pairs
    assert (first.truth, first.predicted, first.count, first.share) == ("cow", "bee", 4, 0.4)
    assert (first.low, first.high) == wilson(4, 10)
    assert (second.truth, second.predicted, second.count, second.share) == ("ant", "bee", 3, 3 / 8)
    # Images 15 to 18 are the cows taken for bees, each surer than the one before.
    assert [one.position for one in first.examples] == [18, 17, 16]
    assert [one.id for one in first.examples] == ["18", "17", "16"]
    e = math.exp(4)
    assert first.examples[0].probability == pytest.approx(e / (e + 2))
    assert found.pair_pixels.shape == (2, 3, 3, 1, 1)
    assert found.pair_pixels[0, :, :, 0, 0].tolist() == [[0, 4, 0], [0, 3, 0], [0, 2, 0]]


def test_surest_errors_and_their_files() -> None:
    files = tuple(f"{n}.png" for n in range(25))
    found = confusion(subject=told(COUNTS, files=files), errors=3)
    assert [(one.id, one.truth, one.predicted) for one in found.errors] == [
        ("18.png", "cow", "bee"), ("7.png", "ant", "bee"), ("17.png", "cow", "bee"),
    ]  # fmt: skip
    assert found.error_pixels[:, 1, 0, 0].tolist() == [4, 3, 3]


def test_positions_are_of_the_split_also_where_only_some_images_are_looked_at() -> None:
    found = confusion(subject=told(COUNTS), images=13)  # every second one
    assert found.images == 13
    assert all(one.position % 2 == 0 for one in found.errors)
    for one, pixels in zip(found.errors, found.error_pixels, strict=True):
        assert (
            pixels[:, 0, 0].tolist()
            == told(COUNTS).data.val.batch(torch.tensor([one.position]))[0, :, 0, 0].tolist()
        )


def test_bowker_by_hand() -> None:
    # (3 - 1)^2 / 4 + (2 - 4)^2 / 6 on two pairs; without images ant and cow are no pair. P(chi2_2 > x) = exp(-x / 2).
    statistic, df, p = bowker(COUNTS)
    assert statistic == pytest.approx(1 + 2 / 3)
    assert df == 2
    assert p == pytest.approx(math.exp(-statistic / 2))
    found = confusion(subject=told(COUNTS))
    assert (found.symmetry, found.symmetry_df, found.symmetry_p) == (statistic, df, p)


def test_drawn_p_is_the_exact_one_for_two_classes() -> None:
    for here, back in ((9, 2), (5, 5), (1, 0)):
        counts = np.array([[3, here], [back, 3]])
        exact = binomtest(here, here + back).pvalue
        assert p_drawn(counts, np.random.default_rng(1)) == pytest.approx(
            exact, abs=4 * math.sqrt(0.25 / 2000)
        )


def test_reverse_correlation() -> None:
    symmetric = np.array([[0, 3, 1], [3, 0, 7], [1, 7, 0]])
    assert reverse_correlation(symmetric) == pytest.approx(1)
    assert reverse_correlation(np.array([[0, 5, 0], [0, 0, 5], [5, 0, 0]])) == pytest.approx(-1)
    assert math.isnan(reverse_correlation(np.array([[0, 5], [1, 0]])))
    assert math.isnan(reverse_correlation(np.diag([2, 2, 2])))


def test_sentence_and_a_network_without_errors() -> None:
    low, high = wilson(4, 10)
    found = confusion(subject=told(COUNTS), top=1)
    assert found.sentence == (
        f"a net on insects: 15 of 25 images of val are right (60.00%); confused most often: cow as bee 4 (40.0% "
        f"[{low:.1%}, {high:.1%}]). Pairs and their reverses differ no more than by chance (Bowker 1.7, df 2, p = "
        f"{found.symmetry_p_drawn:.2g})."
    )
    lopsided = confusion(subject=told([[1, 30, 0], [0, 1, 0], [0, 0, 1]]))
    assert (
        "Pairs and their reverses differ by more than chance (Bowker 30.0, df 1, p = 0.0005)."
        in lopsided.sentence
    )
    perfect = confusion(subject=told(np.diag([2, 3, 4])))
    assert perfect.sentence == (
        "a net on insects: 9 of 9 images of val are right (100.00%); no class is taken for another."
    )
    assert (perfect.pairs, perfect.errors, perfect.pair_pixels.shape) == ((), (), (0, 4, 3, 1, 1))
    assert math.isnan(perfect.symmetry) and math.isnan(perfect.symmetry_p_drawn)


@pytest.mark.parametrize(
    ("stem", "text"),
    [
        ("confusion", "insects_conf.txt"),
        ("confusion-00000100", "insects-00000100_conf.txt"),
        ("mine", "mine_conf.txt"),
    ],
)
def test_text_beside_the_numbers_names_its_axes_and_is_read_back(
    tmp_path: Path, stem: str, text: str
) -> None:
    found = confusion(subject=told([[2, 1, 0], [0, 3, 0], [0, 0, 0]]))
    assert [path.name for path in found.save(tmp_path / stem)] == [f"{stem}.json", f"{stem}.npz", text]
    assert (tmp_path / text).read_text() == (
        "# a net on insects, val, 6 images: share of each true class by predicted class\n"
        "# rows: true class; columns: predicted class; each row sums to 1 (nan: no image of that class)\n"
        "# 0: ant\n# 1: bee\n# 2: cow\n"
        "0.666667 0.333333 0.000000\n0.000000 1.000000 0.000000\n     nan      nan      nan\n"
    )
    np.testing.assert_allclose(np.loadtxt(tmp_path / text), found.by_truth, atol=5e-7)
    table = json.loads((tmp_path / f"{stem}.json").read_text())
    assert (table["rows"], table["columns"]) == ("true class", "predicted class")
    assert table["pairs"][0]["examples"][0]["truth"] == "ant"


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


def test_ties_between_pairs_are_in_their_order_and_zero_is_no_pair() -> None:
    assert most_frequent(np.array([[9, 0, 2], [2, 9, 0], [0, 1, 9]]), 5) == [(0, 2), (1, 0), (2, 1)]


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^1 of 2 images have no label, and a confusion needs one\.$"):
        confusion(subject=seen([0, -1], [[1, 0, 0]] * 2))
    message = (
        "a net on insects: the network gives 3 numbers per image, and there are 2 classes. Give a network with one "
        "output per class."
    )
    with pytest.raises(ConfigError, match=f"^{re.escape(message)}$"):
        confusion(subject=seen([0, 1], [[1, 0, 0]] * 2, classes=("ant", "bee")))
    subject = told(COUNTS)
    subject.model[1].bias.data[0] = math.inf  # type: ignore[index]
    message = (
        "a net on insects: the output is not finite for 25 of 25 images, so they have no answer. Look at weights from "
        "before the run diverged."
    )
    with pytest.raises(Diverged, match=f"^{re.escape(message)}$"):
        confusion(subject=subject)
