"""Grad-CAM and input gradients on weights set by hand; the answers were worked out on paper."""

import numpy as np
import pytest
import torch
from small import conv1x1, linear, subject_on
from torch import nn

from convscope.core.errors import ConfigError, UnknownName
from convscope.diagnostics.attribution import grad_cam, input_gradients

PIXELS = [[[[1, 2], [3, 4]]]]
# Class 0 weighs the two maps place by place; the means of the gradients are a_1 = 0.5 and a_2 = -0.1.
TOWARDS = [1, 0, 0, 1, -0.4, 0, 0, 0]


def net(*between: nn.Module, weights: tuple[float, float] = (1.0, 2.0)) -> nn.Sequential:
    return nn.Sequential(conv1x1(*weights), *between, nn.Flatten(), linear([TOWARDS, [0] * 8, [-1] * 8]))


def test_grad_cam_by_hand() -> None:
    # A_1 = x, A_2 = 2x: L = ReLU(0.5 x - 0.2 x) = 0.3 x.
    found = grad_cam(subject=subject_on(net(), PIXELS))
    assert found.layer == "0"
    assert found.classes == ("ape",)
    np.testing.assert_allclose(found.maps, [[[0.3, 0.6], [0.9, 1.2]]], rtol=1e-6)


def test_what_speaks_against_the_class_is_cut_off() -> None:
    # Class 2 has a_1 = a_2 = -1: L = ReLU(-3x) = 0.
    found = grad_cam(subject=subject_on(net(), PIXELS, [2]), target="true")
    assert found.classes == ("cow",)
    assert found.maps.tolist() == [[[0, 0], [0, 0]]]


@pytest.mark.parametrize("in_place", [False, True])
def test_the_layer_before_an_activation_in_place(in_place: bool) -> None:
    # A_1 = u and A_2 = -u with u = x - 2.5.  Class 0 sees A_1 at places 0 and 3, of which the ReLU passes 3:
    # a_1 = 1/4; and A_2 at place 0: a_2 = -0.4/4.  L = ReLU(0.25 u + 0.1 u).  Of the overwritten maps the
    # gradients would be a_1 = 0.5 and a_2 = -0.1, and L = ReLU(0.5 ReLU(u) - 0.1 ReLU(-u)).
    layers = net(nn.ReLU(inplace=in_place), weights=(1.0, -1.0))
    subject = subject_on(layers, PIXELS, [0], mean=(2.5 / 255,))
    found = grad_cam(subject=subject, layer="0", target="true")
    np.testing.assert_allclose(found.maps, [[[0, 0], [0.175, 0.525]]], rtol=1e-5)


def test_by_default_the_last_maps_of_more_than_one_pixel() -> None:
    deep = nn.Sequential(
        conv1x1(1.0), nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2), nn.Flatten(), linear([[1], [2], [3]])
    )
    assert grad_cam(subject=subject_on(deep, PIXELS)).layer == "1"


def test_layers_that_cannot_be_weighed_are_refused() -> None:
    subject = subject_on(net(), PIXELS)
    with pytest.raises(UnknownName) as unknown:
        grad_cam(subject=subject, layer="5")
    assert str(unknown.value) == "No layer of this network is called '5'. Known: 0, 1, 2."
    with pytest.raises(ConfigError) as flat:
        grad_cam(subject=subject, layer="2")
    assert str(flat.value) == "The layer '2' puts out (3,) for an image; Grad-CAM needs maps (C, H, W)."
    with pytest.raises(ConfigError) as none:
        grad_cam(subject=subject_on(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), PIXELS))
    assert str(none.value) == "No layer of Sequential puts out maps of more than one pixel."
    with pytest.raises(ConfigError) as unlabelled:
        grad_cam(subject=subject_on(net(), PIXELS, [-1]), target="true")
    assert str(unlabelled.value) == "1 of 1 images have no label, and target=true needs one."


def test_saliency_is_the_largest_channel_per_unit_of_pixel() -> None:
    # y = 3 u_1 - 2 u_2 at the first pixel, with u = (x - mean) / std: |dy/dx| = 3 / 0.5 = 6 and 2 / 0.25 = 8.
    flat = nn.Sequential(nn.Flatten(), linear([[3, 1, -2, 0], [-9] * 4, [-9] * 4]))
    subject = subject_on(flat, [[[[255, 255]], [[0, 255]]]], std=(0.5, 0.25), mean=(0.5, 0.5))
    found = input_gradients(subject=subject)
    np.testing.assert_allclose(found.maps, [[[8, 2]]], rtol=1e-6)
    # u = (1, 1), (-2, 2): 3 * 1 + (-2) * (-2) = 7 and 1 * 1 + 0.
    signed = input_gradients(subject=subject, times_input=True)
    np.testing.assert_allclose(signed.maps, [[[7, 1]]], rtol=1e-6)
    assert (found.method, signed.method) == ("the input gradient", "gradient times input")


def test_erasing_takes_the_marked_pixels_or_those_of_another_image() -> None:
    # The gradient marks pixel 0 for class 0 and pixel 1 for class 1; the images show one of the two.
    flat = nn.Sequential(nn.Flatten(), linear([[1, 0], [0, 1]]))
    subject = subject_on(flat, [[[[2, 0]]], [[[0, 2]]]], classes=("a", "b"))
    found = input_gradients(subject=subject, share=0.5)
    likely = np.exp(2) / (np.exp(2) + 1)
    assert found.probability == pytest.approx(likely)
    assert found.erased == pytest.approx(0.5)
    assert found.erased_elsewhere == pytest.approx(likely)
    assert found.sentence == (
        "toy on toys: erasing the 50% of pixels that the input gradient marks takes the mean probability of the "
        "predicted class from 0.881 to 0.500, those that it marks in another image to 0.881 (2 images of val)."
    )


def test_the_network_keeps_no_hook() -> None:
    subject = subject_on(net(), PIXELS)
    before = {key: value.clone() for key, value in subject.model.state_dict().items()}
    grad_cam(subject=subject)
    assert all(not module._forward_hooks for module in subject.model.modules())
    assert all(torch.equal(value, before[key]) for key, value in subject.model.state_dict().items())
    assert all(p.grad is None for p in subject.model.parameters())
