"""Suspicious labels: by hand, against a slow version, and on digits whose labels were made wrong."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from convscope.core.config import Choice
from convscope.core.errors import ConfigError
from convscope.core.streams import Streams
from convscope.data.digits import embedded
from convscope.data.noise import inject
from convscope.evaluate.suspicious import Suspicions, suspicious

# Three cats and three dogs; the mean probability of cat among cats is 0.6, of dog among dogs 0.7.
BY_HAND = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.05, 0.95], [0.35, 0.65], [0.5, 0.5]])
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_by_hand() -> None:
    found = suspicious(BY_HAND, LABELS, ["cat", "dog"])
    assert found.thresholds == pytest.approx([0.6, 0.7])
    # Confident: 0 and 1 of cat, 2 and 3 of dog; 4 (0.65 < 0.7) and 5 of nothing, so they are not counted.
    assert found.joint.tolist() == [[2, 1], [0, 1]]
    (suspect,) = found.suspects
    assert (suspect.position, suspect.given, suspect.suggested) == (2, "cat", "dog")
    assert suspect.margin == pytest.approx(0.2 - 0.8)
    assert found.rate == pytest.approx(1 / 6)


def test_a_class_that_is_never_predicted_surely_needs_less() -> None:
    """Of dogs the networks say 0.45 at best: an image called cat with 0.45 for dog is suspicious."""
    said = np.array(
        [[0.95, 0.05, 0.0], [0.97, 0.03, 0.0], [0.55, 0.45, 0.0], [0.5, 0.4, 0.1], [0.5, 0.45, 0.05]]
    )
    found = suspicious(said, np.array([0, 0, 0, 1, 1]), ["cat", "dog", "eel"])
    assert found.thresholds[:2] == pytest.approx([(0.95 + 0.97 + 0.55) / 3, 0.425])
    assert np.isnan(found.thresholds[2])
    assert [(each.position, each.suggested) for each in found.suspects] == [(2, "dog")]
    # Its label is still the likeliest class, so the margin is positive: it comes after what is contradicted.
    assert found.suspects[0].margin == pytest.approx(0.1)


def slow(probabilities: np.ndarray, labels: np.ndarray, classes: int) -> list[int]:
    """Image by image, as the paper writes it."""
    means = [probabilities[labels == k, k].mean() if (labels == k).any() else np.inf for k in range(classes)]
    found = []
    for i, row in enumerate(probabilities):
        sure = [k for k in range(classes) if row[k] >= means[k]]
        if sure and max(sure, key=lambda k: row[k]) != labels[i]:
            other = max(row[k] for k in range(classes) if k != labels[i])
            found.append((row[labels[i]] - other, i))
    return [i for _, i in sorted(found)]


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_slow_version(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.4] * 6, 500)
    labels = rng.integers(0, 5, 500)  # none of class 5
    found = suspicious(probabilities, labels, "abcdef")
    assert [each.position for each in found.suspects] == slow(probabilities, labels, 6)
    assert len(found.suspects) == found.joint.sum() - np.trace(found.joint) > 100


def planted(text: str) -> tuple[Suspicions, np.ndarray]:
    """Ten nearest neighbours on the digits by 5-fold cross-validation, and which labels were made wrong."""
    small, true = embedded()
    names = [str(digit) for digit in range(10)]
    labels = torch.from_numpy(true.astype(np.int64))
    noisy, _ = inject(Choice.model_validate(text), labels, names, Streams(0).generator("noise"))
    model, pixels = KNeighborsClassifier(10), small.reshape(len(small), -1)
    said = cross_val_predict(model, pixels, noisy.numpy(), cv=5, method="predict_proba")
    return suspicious(said, noisy.numpy(), names), (noisy != labels).numpy()


@pytest.mark.parametrize("text", ["symmetric:rate=0.1", "pair:rate=0.1"])
def test_labels_made_wrong_are_found_and_stand_first(text: str) -> None:
    found, wrong = planted(text)
    ranked = [each.position for each in found.suspects]
    hits = wrong[ranked]
    assert hits.mean() >= 0.9  # precision
    # Recall: where the neighbours do not agree among themselves, there is nothing to contradict a label with.
    assert hits.sum() / wrong.sum() >= 0.7
    assert hits[: len(hits) // 2].mean() >= 0.92
    assert abs(found.rate - wrong.mean()) < 0.04


def test_of_clean_labels_few_are_suspicious() -> None:
    found, wrong = planted("symmetric:rate=0")
    assert not wrong.any()
    assert found.rate < 0.01


def test_the_table_is_json_with_names() -> None:
    table = json.loads(
        json.dumps(suspicious(BY_HAND, LABELS, ["cat", "dog"]).as_table([f"{i}.png" for i in range(6)]))
    )
    assert table["suspects"] == [
        {"image": "2.png", "position": 2, "given": "cat", "suggested": "dog", "margin": pytest.approx(-0.6)}
    ]
    assert (table["suspicious"], table["rows"], table["columns"]) == (1, "given label", "confident class")
    said = np.array([[1.0, 0.0], [0.9, 0.1]])
    assert suspicious(said, np.array([0, 0]), ["cat", "dog"]).as_table(["a", "b"])["thresholds"] == [
        0.95,
        None,
    ]


@pytest.mark.parametrize(
    ("probabilities", "labels", "sentence"),
    [
        (
            BY_HAND[:4],
            LABELS,
            "Probabilities of shape (4, 2) do not fit 6 labels and 2 classes: one row per image and one column per "
            "class are needed.",
        ),
        (
            BY_HAND[:0],
            LABELS[:0],
            "Probabilities of shape (0, 2) do not fit 0 labels and 2 classes: one row per image and one column per "
            "class are needed.",
        ),
        (BY_HAND, LABELS - 1, "Labels must be in 0 to 1, and they go from -1 to 0."),
        (
            BY_HAND * 2,
            LABELS,
            "The rows must be probabilities, none below zero and together 1; those of image 0 add up to 2. Take "
            "the softmax of logits first.",
        ),
        (
            np.log(BY_HAND),
            LABELS,
            "The rows must be probabilities, none below zero and together 1; those of image 3 add up to -3.04703. "
            "Take the softmax of logits first.",
        ),
    ],
)
def test_what_is_no_probability_is_refused(probabilities: Any, labels: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        suspicious(probabilities, labels, ["cat", "dog"])
    assert str(caught.value) == sentence
