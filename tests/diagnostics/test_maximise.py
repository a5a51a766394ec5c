"""Linear networks, whose favourite image is known."""

import numpy as np
import pytest
from small import conv1x1, linear, noise, subject_on
from torch import nn

from convscope.core.errors import ConfigError, UnknownName
from convscope.diagnostics.maximise import maximise

PLAIN = {"l2": 0.0, "tv": 0.0, "jitter": 0}


def flat(*rows: list[float]) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), linear(list(rows)))


def test_without_penalties_pixels_go_to_black_and_white() -> None:
    subject = subject_on(flat([1, -2, 3, -4], [-1, 2, -3, 4]), noise(3, size=2), mean=(0.5,), std=(0.25,))
    found = maximise(subject=subject, steps=150, **PLAIN)
    assert found.pixels.reshape(2, 4).tolist() == [[255, 0, 255, 0], [0, 255, 0, 255]]
    assert found.reached == pytest.approx((20, 20))  # (1 + 2 + 3 + 4) * 0.5 / 0.25
    assert found.names == ("ape", "bee")


def test_with_an_l2_penalty_the_image_is_the_weights() -> None:
    # The largest w x - l2 x^2 / 2 is at x = w / l2 = 0.5, -0.5, 1, 0; pixel = 255 (0.5 + 0.25 x).
    subject = subject_on(flat([1, -1, 2, 0]), noise(3, size=2), mean=(0.5,), std=(0.25,))
    found = maximise(subject=subject, steps=200, lr=0.01, l2=2.0, tv=0.0, jitter=0)
    expected = 255 * (0.5 + 0.25 * np.array([0.5, -0.5, 1, 0]))
    assert np.abs(found.pixels.reshape(4) - expected).max() <= 2


def test_total_variation_levels_the_image() -> None:
    # Of the linear gain 1 + 2 + 3 + 4 all but the shared part is worth less than the differences cost.
    subject = subject_on(flat([1, 2, 3, 4]), noise(3, size=2), mean=(0.5,), std=(0.25,))
    free = maximise(subject=subject, steps=40, lr=0.02, **PLAIN).pixels
    levelled = maximise(subject=subject, steps=40, lr=0.02, l2=0.0, tv=10.0, jitter=0).pixels
    assert np.ptp(levelled.astype(int)) < 0.25 * np.ptp(free.astype(int))


def test_what_real_images_say_and_the_seed() -> None:
    pixels = [[[[1, 0]]], [[[3, 0]]], [[[0, 5]]]]
    subject = subject_on(flat([1, 0], [0, 1]), pixels)
    found = maximise(subject=subject, units=(1,), steps=2)
    assert (found.mean, found.largest, found.images) == ((pytest.approx(5 / 3),), (5,), 3)
    again = maximise(subject=subject, units=(1,), steps=2)
    assert found.pixels.tolist() == again.pixels.tolist()


def test_a_channel_of_a_layer_by_its_mean() -> None:
    net = nn.Sequential(conv1x1(1.0, -1.0), nn.ReLU(inplace=True), nn.Flatten(), linear([[1] * 8] * 3))
    subject = subject_on(net, [[[[1, 2], [3, 6]]]], mean=(0.5,), std=(0.25,))
    found = maximise(subject=subject, layer="0", steps=40, lr=0.2, **PLAIN)
    # The mean of channel 0 is largest for white, of channel 1 for black: (1 - 0.5) / 0.25 either way.
    assert found.pixels.reshape(2, 4).tolist() == [[255] * 4, [0] * 4]
    assert found.reached == pytest.approx((2, 2))
    real = (3 / 255 - 0.5) / 0.25
    assert found.mean == pytest.approx((real, -real))
    assert (found.layer, found.names) == ("0", ("0", "1"))
    assert found.sentence == (
        "toy on toys: after 40 steps from noise, 2 of 2 units of 0 answer more to their image than to any of 1 images "
        "of val (L2 0, total variation 0, jitter 0)."
    )


def test_units_that_are_not_there_are_refused() -> None:
    subject = subject_on(flat([1, 0], [0, 1]), [[[[1, 0]]]])
    with pytest.raises(ConfigError) as caught:
        maximise(subject=subject, units=(2,))
    assert str(caught.value) == "There is no unit 2 in logits: it has the units 0 to 1."
    with pytest.raises(UnknownName) as unknown:
        maximise(subject=subject, layer="7")
    assert str(unknown.value) == "No layer of this network is called '7'. Known: 0, 1."
