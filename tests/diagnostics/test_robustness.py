"""Accuracy as `evaluate` counts it, and a linear network whose margin says when an image falls."""

from functools import partial

import numpy as np
import pytest
import torch
from small import drawn, linear, noise, subject_on
from torch import nn

from convscope.core.errors import ConfigError
from convscope.diagnostics.robustness import robustness
from convscope.evaluate.metrics import score
from convscope.evaluate.predict import logits

W = np.array([1.0, -2.0, 0.5, 1.0])


def two_classes(count: int = 300) -> tuple[nn.Module, torch.Tensor]:
    """Class 0 if W x > 0; no pixel is so near to 0 or 255 that it would be cut."""
    return nn.Sequential(nn.Flatten(), linear([W.tolist(), [0] * 4])), noise(count, size=2) // 2 + 64


def test_undisturbed_is_what_evaluate_counts() -> None:
    net = drawn(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(True), nn.Flatten(), nn.Linear(64, 3)))
    subject = subject_on(net, noise(300, channels=3), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
    found = robustness(subject=subject, images=0, noise=(), steps=(1,))
    plain = score(logits(subject.model, subject.images(), subject.normalise), subject.images().labels)
    assert found.noise_correct[0] == found.steps_correct[0] == plain.correct
    assert found.accuracy == plain.accuracy
    assert (found.noise, found.steps) == ((0,), (0, 1))


def test_an_image_falls_when_the_step_passes_its_margin() -> None:
    net, pixels = two_classes()
    margin = pixels.double().numpy().reshape(-1, 4) @ W
    labels = (margin <= 0).astype(int).tolist()
    subject = subject_on(net, pixels, labels, classes=("over", "under"), mean=(0.5,), std=(0.25,))
    # Normalised, the threshold moves with the mean: classify by W (x - mean) / std.
    centred = (pixels.double().numpy().reshape(-1, 4) - 127.5) @ W
    right = np.where(np.array(labels) == 0, centred, -centred)
    found = robustness(subject=subject, images=0, noise=(), steps=(3.25, 10.25))
    # A step of size e along the sign of the gradient takes e |W|_1 = 4.5 e off.
    assert found.steps_correct == tuple(int((right > 4.5 * size).sum()) for size in (0, 3.25, 10.25))
    assert found.steps_correct[2] < found.steps_correct[1] < found.steps_correct[0]


def test_noise_is_one_draw_in_units_of_pixels_and_cut() -> None:
    net, pixels = two_classes()[0], noise(200, size=2)
    subject = subject_on(net, pixels, classes=("over", "under"), seed=3)
    found = robustness(subject=subject, images=0, noise=(60, 20), steps=())
    draw = partial(subject.streams.generator("inspect").standard_normal, dtype="float32")
    noise_drawn = draw((200, 1, 2, 2))
    labels = subject.images().labels.numpy()
    expected = []
    for level in (0, 20, 60):
        disturbed = np.clip(pixels.numpy() + level * noise_drawn, 0, 255).reshape(-1, 4)
        expected.append(int(((disturbed @ W <= 0) == labels).sum()))
    assert found.noise == (0, 20, 60)
    assert found.noise_correct == tuple(expected)
    assert len(set(expected)) > 1


def test_what_the_sentence_says() -> None:
    net, pixels = two_classes(8)
    found = robustness(subject=subject_on(net, pixels, classes=("over", "under")), noise=(4,), steps=(2,))
    assert found.sentence == (
        f"toy on toys: {found.accuracy:.1%} right as they are, {found.noise_accuracy:.1%} under noise of deviation 4, "
        f"{found.steps_accuracy:.1%} after one gradient step of 2 (pixel values of 0 to 255; 8 images of val)."
    )


def test_no_levels_and_no_labels_are_refused() -> None:
    net, pixels = two_classes(4)
    with pytest.raises(ConfigError) as caught:
        robustness(subject=subject_on(net, pixels), noise=(), steps=())
    assert str(caught.value) == "Give levels of noise, of steps, or both: noise=[8,16], steps=[2,4]."
    with pytest.raises(ConfigError) as unlabelled:
        robustness(subject=subject_on(net, pixels, [-1, 0, 0, 0]))
    assert str(unlabelled.value) == "1 of 4 images have no label, and accuracy needs one."
