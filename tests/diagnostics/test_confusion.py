"""Counts are scikit-learn's, Bowker's statistic is worked by hand, and every shown image is the one it says it is."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from answering import seen, told
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from convscope.core.intervals import wilson
from convscope.diagnostics.confusion import confusion, most_frequent
from convscope.diagnostics.symmetry import bowker, reverse_correlation

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


def test_symmetry_is_that_of_the_counts() -> None:
    found = confusion(subject=told(COUNTS))
    assert (found.symmetry, found.symmetry_df, found.symmetry_p) == bowker(COUNTS)
    assert found.reverse_correlation == reverse_correlation(COUNTS)


def test_sentence_and_a_network_without_errors() -> None:
    low, high = wilson(4, 10)
    found = confusion(subject=told(COUNTS), top=1)
    assert found.sentence == (
        f"a net on insects: 15 of 25 images of val are right (60.00%); confused most often: cow as bee, 4 times (40.0% "
        f"[{low:.1%}, {high:.1%}]). Pairs and their reverses differ no more than by chance (Bowker 1.7, df 2, p = "
        f"{found.symmetry_p_drawn:.2g} by drawing)."
    )
    lopsided = confusion(subject=told([[1, 30, 0], [0, 1, 0], [0, 0, 1]]))
    assert (
        "Pairs and their reverses differ by more than chance (Bowker 30.0, df 1, p = 0.0005 by drawing)."
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


def test_ties_between_pairs_are_in_their_order_and_zero_is_no_pair() -> None:
    assert most_frequent(np.array([[9, 0, 2], [2, 9, 0], [0, 1, 9]]), 5) == [(0, 2), (1, 0), (2, 1)]
