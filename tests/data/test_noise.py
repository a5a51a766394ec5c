"""Wrong labels on purpose: the distributions by law, the check by hand and by the printed matrix of E4.1."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from convscope.core import catalog
from convscope.core.catalog import Item
from convscope.core.config import Choice, DataConfig, RunConfig, identity, resolve
from convscope.core.errors import ConfigError, ConvscopeError, DataError
from convscope.core.streams import Streams
from convscope.data import Data, load_config, noise
from convscope.data.noise import NoiseReport, chi_square, inject

# S4.26, as printed: said to be P(noisy | true) for MNIST's training labels at epsilon = 0.4.
PRINTED = np.array(
    [
        [0.597, 0.051, 0.045, 0.047, 0.045, 0.041, 0.040, 0.045, 0.043, 0.046],
        [0.037, 0.634, 0.039, 0.043, 0.041, 0.038, 0.043, 0.048, 0.041, 0.037],
        [0.037, 0.049, 0.588, 0.048, 0.044, 0.041, 0.046, 0.054, 0.047, 0.045],
        [0.047, 0.043, 0.043, 0.602, 0.039, 0.043, 0.041, 0.055, 0.043, 0.044],
        [0.048, 0.054, 0.044, 0.047, 0.583, 0.038, 0.046, 0.047, 0.043, 0.049],
        [0.047, 0.053, 0.043, 0.049, 0.045, 0.565, 0.044, 0.052, 0.051, 0.050],
        [0.040, 0.052, 0.046, 0.049, 0.043, 0.038, 0.601, 0.043, 0.045, 0.043],
        [0.044, 0.048, 0.043, 0.047, 0.038, 0.040, 0.045, 0.609, 0.045, 0.042],
        [0.045, 0.049, 0.045, 0.045, 0.049, 0.041, 0.049, 0.045, 0.585, 0.047],
        [0.048, 0.050, 0.040, 0.044, 0.048, 0.043, 0.041, 0.049, 0.043, 0.593],
    ]
)
MNIST = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])


def draw(seed: int = 0) -> np.random.Generator:
    return Streams(seed).generator("noise")


def noisy(text: str, labels: Any, classes: int, seed: int = 0) -> tuple[np.ndarray, NoiseReport]:
    names = [f"c{k}" for k in range(classes)]
    found, report = inject(Choice.model_validate(text), torch.as_tensor(labels), names, draw(seed))
    return found.numpy(), report


def cells(shares: np.ndarray, expected: np.ndarray, totals: np.ndarray) -> float:
    """The sum over all cells of ((share - expected) / its binomial deviation)^2."""
    return float((totals[:, None] * (shares - expected) ** 2 / (expected * (1 - expected))).sum())


# The check ---------------------------------------------------------------------------------------------------


def test_the_printed_matrix_is_normalised_the_other_way() -> None:
    """E4.1: impossible if its rows are true labels, ordinary if they are noisy ones.

    The erratum's 296 and 116 are sums of squared deviations of the 100 cells, each in units of its own binomial
    deviation; the cells of a row depend on each other, and Pearson's statistic, whose distribution on 90 degrees
    of freedom is known, is 238 and 105.  The verdict is the same.
    """
    asked = np.full((10, 10), 0.4 / 9)
    np.fill_diagonal(asked, 0.6)
    as_said, degrees = chi_square(PRINTED * MNIST[:, None], asked)
    assert (round(as_said), degrees, round(cells(PRINTED, asked, MNIST))) == (238, 90, 296)
    assert stats.chi2.sf(as_said, degrees) < 1e-14
    together = MNIST[:, None] * asked  # images by true (row) and noisy label (column)
    seen = together.sum(0)
    turned, degrees = chi_square(PRINTED * seen[:, None], (together / seen).T)
    assert (round(turned), degrees, round(cells(PRINTED, (together / seen).T, seen))) == (105, 90, 116)
    assert stats.chi2.sf(turned, degrees) > 0.1
    predicted = np.diag(together / seen)
    assert (round(predicted[1], 3), round(predicted[5], 3)) == (0.631, 0.573)


def test_both_normalisations_of_a_report_are_those_of_e4_1() -> None:
    """The matrix that we print under P(true | noisy) is the one that the document printed."""
    labels = np.repeat(np.arange(10), MNIST)
    _, report = noisy("symmetric:rate=0.4", labels, 10)
    statistic, degrees = report.chi_square
    assert degrees == 90 and report.p > 0.001 and statistic < 150
    ours = report.shares("noisy")
    assert np.abs(ours - PRINTED).max() < 0.02
    assert np.abs(np.diag(ours)[[1, 5]] - [0.631, 0.573]).max() < 0.02
    assert np.abs(np.diag(report.shares("true")) - 0.6).max() < 0.03


def by_hand(expected: float = 0.5) -> NoiseReport:
    """Of four cats one became a dog, of four dogs two became cats."""
    counts = np.array([[3, 1], [2, 2]])
    table = np.array([[1 - expected, expected], [expected, 1 - expected]])
    return NoiseReport("by hand", ("cat", "dog"), torch.tensor([0] * 4 + [1] * 4), counts, table)


def test_the_statistic_by_hand() -> None:
    report = by_hand()
    # (3 - 2)^2/2 + (1 - 2)^2/2 + 0 + 0; one degree of freedom in each row; p of two degrees is exp(-x/2).
    assert report.chi_square == (1.0, 2)
    assert report.p == pytest.approx(np.exp(-0.5))
    assert (report.images, report.changed, report.rate) == (8, 3, 0.375)
    assert report.rough


@pytest.mark.parametrize(("statistic", "degrees"), [(3.2, 1), (90.0, 90), (200.0, 90), (1e-9, 3)])
def test_p_is_scipys(statistic: float, degrees: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoiseReport, "chi_square", property(lambda self: (statistic, degrees)))
    assert by_hand().p == pytest.approx(stats.chi2.sf(statistic, degrees), rel=1e-9)


@pytest.mark.parametrize("text", ["symmetric:rate=0.3", "exact:rate=0.3", "pair:rate=0.3"])
def test_p_is_uniform_when_the_labels_are_drawn_as_asked(text: str) -> None:
    """So the degrees of freedom are right: with one too many or too few this fails."""
    labels = np.arange(1_200) % 3
    values = [noisy(text, labels, 3, seed)[1].p for seed in range(400)]
    assert stats.kstest(values, "uniform").pvalue > 0.01


def test_a_wrong_injection_is_noticed() -> None:
    """The labels of another rate than asked: the check is worth something."""
    labels = np.arange(3_000) % 3
    _, done = noisy("symmetric:rate=0.35", labels, 3)
    _, asked = noisy("symmetric:rate=0.3", labels, 3)
    report = NoiseReport("", done.classes, done.true_labels, done.counts, asked.expected)
    assert report.p < 1e-4


def test_where_nothing_is_left_to_chance_there_is_nothing_to_test() -> None:
    for text in ("symmetric:rate=0", "pair:rate=1", "matrix:rows=[[0,1],[1,0]]"):
        _, report = noisy(text, [0, 1, 1, 0, 1], 2)
        assert (report.chi_square, report.p, report.rough) == ((0.0, 0), 1.0, False)


# The four ways -----------------------------------------------------------------------------------------------


def test_the_same_images_are_wrong_at_a_higher_rate() -> None:
    labels = np.arange(5_000) % 7
    for name in ("symmetric", "exact", "pair"):
        few, many = (noisy(f"{name}:rate={rate}", labels, 7)[0] for rate in (0.2, 0.4))
        wrong = few != labels
        assert 0.15 < wrong.mean() < 0.25
        assert (few[wrong] == many[wrong]).all()


@pytest.mark.parametrize(("rate", "count"), [(0.0, 0), (0.25, 26), (0.5, 52), (1.0, 103)])
def test_exact_changes_exactly_as_many(rate: float, count: int) -> None:
    """Of 103, and the halves are rounded to even: 25.75 -> 26, 51.5 -> 52."""
    labels = np.arange(103) % 4
    for seed in range(3):
        found, report = noisy(f"exact:rate={rate}", labels, 4, seed)
        assert (found != labels).sum() == report.changed == count


def test_pair_moves_to_the_next_class_and_the_last_to_the_first() -> None:
    labels = np.arange(900) % 3
    found, _ = noisy("pair:rate=0.5", labels, 3)
    moved = found != labels
    assert 350 < moved.sum() < 550
    assert (found[moved] == (labels[moved] + 1) % 3).all()
    assert set(found[moved & (labels == 2)]) == {0}


def test_a_permutation_matrix_permutes() -> None:
    labels = np.arange(50) % 3
    found, report = noisy("matrix:rows=[[0,0,1],[1,0,0],[0,1,0]]", labels, 3)
    assert found.tolist() == np.array([2, 0, 1])[labels].tolist()
    assert report.rate == 1.0


def test_what_has_probability_zero_never_happens() -> None:
    """Also where a row does not add up to one in floating point."""
    rows = [[0.1] * 9 + [0.1, 0.0], [0.0] * 10 + [1.0], *([1.0] + [0.0] * 10 for _ in range(9))]
    labels = np.arange(22_000) % 11
    found, _ = noisy(f"matrix:rows={rows}", labels, 11)
    assert not ((labels == 0) & (found == 10)).any()
    assert (found[labels == 1] == 10).all()
    assert (found[labels > 1] == 0).all()


def test_a_matrix_in_a_file_is_the_same_as_in_words(tmp_path: Path) -> None:
    path = tmp_path / "matrix.csv"
    path.write_text("0.9,0.1\n0.25,0.75\n")
    labels = np.arange(400) % 2
    from_file, _ = noisy(f"matrix:rows={path}", labels, 2)
    in_words, _ = noisy("matrix:rows=[[0.9,0.1],[0.25,0.75]]", labels, 2)
    assert from_file.tolist() == in_words.tolist()
    # The run's record holds the numbers, not the path: the file may go.
    asked = RunConfig(data=DataConfig(label_noise=Choice.model_validate(f"matrix:rows={path}")))
    kept = resolve(asked, (), 0.1, 0.2).data.label_noise
    assert kept is not None and kept.options == {"rows": ((0.9, 0.1), (0.25, 0.75))}


# In a data set -----------------------------------------------------------------------------------------------


def stripes(**fields: Any) -> Data:
    return load_config(DataConfig(source="synthetic", options={"images": 400, "size": 8}, **fields))


def test_only_training_labels_become_wrong() -> None:
    clean, data = (stripes(label_noise=text) for text in (None, "symmetric:rate=0.5"))
    assert data.noise is not None and clean.noise is None
    assert torch.equal(data.val.labels, clean.val.labels)
    assert torch.equal(data.test.open(lambda: None).labels, clean.test.open(lambda: None).labels)
    assert torch.equal(data.train.rows, clean.train.rows)
    assert torch.equal(data.noise.true_labels, clean.train.labels)
    wrong = int((data.train.labels != clean.train.labels).sum())
    assert wrong == data.noise.changed
    assert 140 < wrong < 220
    assert (data.mean, data.std, data.hash) == (clean.mean, clean.std, clean.hash)
    assert data.notes == (*clean.notes, data.noise.sentence(), data.noise.matrix())


def test_the_split_seed_decides_and_the_same_seed_again_gives_the_same() -> None:
    def labels(seed: int) -> list[int]:
        return stripes(label_noise="symmetric:rate=0.5", split_seed=seed).train.labels.tolist()

    assert labels(1) == labels(1) != labels(2)


def test_noise_names_a_run_and_its_absence_does_not() -> None:
    def name(**fields: Any) -> str:
        return identity(resolve(RunConfig(data=DataConfig(**fields)), (), 0.1, 0.2), "0" * 64)

    assert name() == name(label_noise=None)
    assert (
        len({name(), *(name(label_noise=text) for text in ("symmetric", "exact", "symmetric:rate=0.3"))}) == 4
    )
    assert name(label_noise="symmetric") == name(label_noise="symmetric:rate=0.2")


# What it says ------------------------------------------------------------------------------------------------


def test_the_matrix_says_which_way_it_is_normalised() -> None:
    report = by_hand()
    assert report.matrix() == (
        "P(noisy label | true label): each row is one true label and sums to 1, columns are noisy labels\n"
        "true    cat   dog images\n"
        "cat   0.750 0.250      4\n"
        "dog   0.500 0.500      4"
    )
    assert report.matrix("noisy") == (
        "P(true label | noisy label): each row is one noisy label and sums to 1, columns are true labels\n"
        "noisy   cat   dog images\n"
        "cat   0.600 0.400      5\n"
        "dog   0.333 0.667      3"
    )


def test_a_class_without_images_has_no_row() -> None:
    counts = np.array([[3, 1], [0, 0]])
    report = NoiseReport("", ("cat", "dog"), torch.zeros(4), counts, np.full((2, 2), 0.5))
    assert report.matrix().splitlines()[-1] == "dog       -     -      0"
    assert report.chi_square == (1.0, 1)


def test_the_sentences() -> None:
    assert by_hand().sentence() == (
        "Label noise by hand: 3 of 8 training labels (37.50%) are wrong on purpose; chi-square 1.0 on 2 degrees "
        "of freedom against what was asked, p = 0.61 (rough: some counts are expected below 5). Validation and "
        "test labels are as they were."
    )
    _, report = noisy("pair:rate=1", [0, 1], 2)
    assert report.sentence() == (
        "Label noise pair(rate=1.0): 2 of 2 training labels (100.00%) are wrong on purpose; nothing of it was left "
        "to chance. Validation and test labels are as they were."
    )


def test_the_table_holds_the_counts_with_their_axes() -> None:
    assert by_hand().as_table() == {
        "noise": "by hand",
        "images": 8,
        "changed": 3,
        "rate": 0.375,
        "classes": ["cat", "dog"],
        "rows": "true label",
        "columns": "noisy label",
        "counts": [[3, 1], [2, 2]],
        "expected_shares_of_row": [[0.5, 0.5], [0.5, 0.5]],
        "chi_square": 1.0,
        "degrees_of_freedom": 2,
        "p": pytest.approx(np.exp(-0.5)),
        "p_is_rough": True,
    }


def careless(labels: np.ndarray, classes: int, generator: np.random.Generator) -> noise.Noisy:
    """All labels become the first, which the matrix denies."""
    return noise.Noisy(np.zeros_like(labels), np.eye(classes))


@pytest.mark.parametrize(
    ("text", "kind", "sentence"),
    [
        (
            "matrix",
            ConfigError,
            "The noise 'matrix' has 0 rows for 2 classes. Its option `rows` takes a row of probabilities for each "
            "class, row = true label, column = noisy label: nested lists, or the path of a CSV file.",
        ),
        (
            "matrix:rows=[[1,0],[0.5,0.4]]",
            ConfigError,
            "Row 2 of the noise 'matrix' is 0.5, 0.4, which adds up to 0.9. A row holds the probabilities of each "
            "label for one true label: from 0 to 1, together 1.",
        ),
        (
            "matrix:rows=[[1.5,-0.5],[0.5,0.5]]",
            ConfigError,
            "Row 1 of the noise 'matrix' is 1.5, -0.5, which adds up to 1. A row holds the probabilities of each "
            "label for one true label: from 0 to 1, together 1.",
        ),
        (
            "matrix:rows=[[1,0],[1]]",
            ConfigError,
            "The matrix of the noise 'matrix' must be square: it has 2 rows, and row 2 is of length 1.",
        ),
        (
            "matrix:rows=nowhere.csv",
            ConfigError,
            "There is no file nowhere.csv to take the noise 'matrix' from.",
        ),
        (
            "symmetric:rate=2",
            ConfigError,
            "The option 'rate' of the noise 'symmetric' cannot be 2: Input should be less than or equal to 1.",
        ),
        (
            "symetric",
            ConvscopeError,
            "No noise is called 'symetric'. Did you mean 'symmetric'? Known: careless, exact, matrix, pair, symmetric.",
        ),
        (
            "careless",
            ConfigError,
            "The noise 'careless' made 'c0' of 'c1', which its own matrix says cannot happen. It must return the "
            "matrix by which it draws.",
        ),
    ],
)
def test_what_is_not_allowed_is_said(
    text: str, kind: type[ConvscopeError], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noise, "careless", careless, raising=False)
    item = Item("noises", "careless", "convscope.data.noise:careless", "all labels become the first")
    monkeypatch.setitem(catalog._CATALOG, "noises", {**catalog._CATALOG["noises"], "careless": item})
    with pytest.raises(kind) as caught:
        noisy(text, [0, 1, 1], 2)
    assert str(caught.value) == sentence


def test_a_file_that_is_no_table_is_said(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("cat,dog\n")
    with pytest.raises(ConfigError) as caught:
        noisy(f"matrix:rows={path}", [0, 1], 2)
    start = f"{path} is no table of numbers separated by commas, a line for each true label: "
    assert str(caught.value).startswith(start)


def test_one_class_cannot_be_taken_for_another() -> None:
    with pytest.raises(DataError) as caught:
        noisy("symmetric", [0, 0], 1)
    assert str(caught.value) == ("Label noise needs labels and at least 2 classes (labels: 2, classes: 1).")
