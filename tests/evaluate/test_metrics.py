"""Counts by NumPy, whatever the batch size: row C6."""

import math
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from convscope.core.errors import ConfigError
from convscope.core.intervals import wilson
from convscope.data.batches import Normaliser
from convscope.data.images import Arrays, ImageSet, image_set
from convscope.evaluate.losses import cross_entropy
from convscope.evaluate.metrics import Scores, score
from convscope.evaluate.predict import logits

assert tiny  # tests/train is on the path


def case(images: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(images, classes))).float(), torch.from_numpy(
        rng.integers(0, classes, images)
    )


@pytest.mark.parametrize("classes", [1, 2, 5, 10, 100])
@pytest.mark.parametrize("images", [1, 7, 1000])
def test_counts_are_numpys(images: int, classes: int) -> None:
    output, labels = case(images, classes)
    found = score(output, labels)
    values, truth = output.double().numpy(), labels.numpy()
    right = values.argmax(1) == truth
    top5 = [truth[i] in np.argsort(-values[i])[:5] for i in range(images)]
    assert (found.images, found.correct, found.correct_top5) == (images, right.sum(), sum(top5))
    assert found.class_images == tuple((truth == k).sum() for k in range(classes))
    assert found.class_correct == tuple(right[truth == k].sum() for k in range(classes))
    shifted = values - values.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    assert found.loss == pytest.approx(-log_p[np.arange(images), truth].mean(), abs=1e-12)
    assert found.accuracy == right.sum() / images and found.top5 == sum(top5) / images


def test_by_hand() -> None:
    output = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.0, 0.0], [0.0, 5.0, 9.0]])
    found = score(output, torch.tensor([1, 0, 2]))
    # A tie goes to the first class.
    assert found == Scores(3, 2, 3, found.loss, ((1, 0, 0), (1, 0, 0), (0, 0, 1)))
    assert found.class_images == (1, 1, 1) and found.class_correct == (1, 0, 1)
    assert found.class_accuracy == (1.0, 0.0, 1.0)
    assert found.balanced_accuracy == pytest.approx(2 / 3)
    e = math.exp
    expected = (
        -(math.log(e(1) / (e(2) + e(1) + 1)) + math.log(1 / 3) + math.log(e(9) / (1 + e(5) + e(9)))) / 3
    )
    assert found.loss == pytest.approx(expected, rel=1e-12)
    assert found.interval() == wilson(2, 3)
    table = found.as_table(("a", "b", "c"))
    assert table["classes"] == {
        "a": {"images": 1, "correct": 1},
        "b": {"images": 1, "correct": 0},
        "c": {"images": 1, "correct": 1},
    }
    assert table["accuracy"] == 2 / 3
    assert table["confusion"] == {
        "rows": "true class",
        "columns": "predicted class",
        "counts": [[1, 0, 0], [1, 0, 0], [0, 0, 1]],
    }


def test_a_class_without_images_has_no_accuracy() -> None:
    assert score(torch.eye(3)[:2], torch.tensor([0, 1])).class_accuracy == (1.0, 1.0, None)


@pytest.mark.parametrize(
    ("count", "labels", "sentence"),
    [
        (0, [], "There is nothing to score: no images among 0. Accuracy needs labelled images."),
        (
            3,
            [0, -1, -1],
            "There is nothing to score: 2 images without a label among 3. Accuracy needs labelled images.",
        ),
    ],
)
def test_nothing_to_score(count: int, labels: list[int], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        score(torch.zeros(count, 4), torch.tensor(labels, dtype=torch.int64))
    assert str(error.value) == sentence


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 6))


def split(count: int) -> ImageSet:
    rng = np.random.default_rng(count)
    pixels = rng.integers(0, 256, (count, 1, 8, 8), dtype=np.uint8)
    return image_set(Arrays(pixels, rng.integers(0, 6, count)), tuple("abcdef"))


@pytest.mark.parametrize("batch", [1, 7, 256])
@pytest.mark.parametrize("rest", [0, 1, -1])
def test_accuracy_is_an_exact_ratio_whatever_the_batch(batch: int, rest: int) -> None:
    """C6: n mod batch in {0, 1, batch - 1}; equal to NumPy's count over one pass image by image."""
    count = max(1, 2 * batch + rest)
    images, model, normalise = split(count), network(), Normaliser((0.5,), (0.25,))
    found = score(logits(model, images, normalise, batch=batch), images.labels)
    model.eval()
    with torch.no_grad():
        single = [int(model(normalise(images.batch(torch.tensor([i])))).argmax()) for i in range(count)]
    right = (np.array(single) == images.labels.numpy()).sum()
    assert (found.correct, found.images) == (right, count)
    assert found.accuracy == right / count


def test_a_loss_of_a_network_that_knows_nothing_is_ln_k() -> None:
    losses = cross_entropy(torch.zeros(7, 10), torch.eye(10)[:7])
    assert losses.tolist() == pytest.approx([math.log(10)] * 7)


def test_the_scored_loss_is_the_mean_of_the_training_loss() -> None:
    output, labels = case(33, 5)
    trained = float(cross_entropy(output, torch.eye(5)[labels]).mean())
    assert trained == pytest.approx(score(output, labels).loss, rel=1e-6)


def test_scores_of_a_diverged_network_are_not_hidden() -> None:
    output: Any = torch.full((3, 2), math.nan)
    assert math.isnan(score(output, torch.tensor([0, 1, 0])).loss)


def test_equal_logits_count_for_the_lower_classes() -> None:
    """Goes red with `topk`, which gives the classes 8, 6, 7, 5, 9 for ten zeros, so that top-1 beat top-5."""
    found = score(torch.zeros(10, 10), torch.arange(10))
    assert (found.correct, found.correct_top5) == (1, 5)
