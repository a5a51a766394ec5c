"""Moments, dead units and gradients: by hand, by autograd another way, and by laws."""

import numpy as np
import pytest
import torch
from small import Residual, conv1x1, drawn, linear, noise, subject_on
from torch import nn
from torch.nn import functional as F

from convscope.core.errors import ConfigError
from convscope.diagnostics.activations import activations


def test_dead_units_and_zeros_by_hand() -> None:
    # Channel 1 is never above zero: one of two is dead; of channel 0, one of four values is zero.
    net = nn.Sequential(conv1x1(1.0, -1.0), nn.ReLU(inplace=True), nn.Flatten(), linear([[1] * 8] * 3))
    found = activations(subject=subject_on(net, [[[[0, 1], [2, 5]]]]))
    assert found.layers == ("0", "1", "2", "3")
    assert found.rectifying == (False, True, False, False)
    assert found.weighted == (True, False, False, True)
    assert found.silent[:2] == (1, 1)
    assert (found.units[1], found.dead, found.dead_share) == (2, 1, 0.5)
    assert found.zeros[:2] == (2 / 8, 5 / 8)
    assert found.mean[:2] == (0, 1)
    assert found.variance[:2] == (60 / 8, 30 / 8 - 1)


@pytest.mark.parametrize("kind", [nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU])
def test_relatives_of_relu_have_the_same_dead_units(kind: type[nn.Module]) -> None:
    net = nn.Sequential(conv1x1(1.0, -1.0, 0.0), kind(), nn.Flatten(), linear([[1] * 12] * 3))
    assert activations(subject=subject_on(net, [[[[0, 1], [2, 5]]]])).dead == 2


def test_a_unit_is_dead_only_if_no_image_of_any_part_wakes_it() -> None:
    pixels = torch.zeros(300, 1, 1, 1)
    pixels[10] = 1  # of the first part
    net = nn.Sequential(conv1x1(1.0, -1.0), nn.ReLU(), nn.Flatten(), linear([[1] * 2] * 3))
    subject = subject_on(net, pixels)
    assert activations(subject=subject, images=0).silent[1] == 1
    assert activations(subject=subject, images=2).silent[1] == 2


@pytest.mark.parametrize("norms", ["running", "batch"])
def test_work_in_place_changes_nothing(norms: str) -> None:
    results = [
        activations(subject=subject_on(drawn(Residual(in_place=place)), noise(20), std=(0.3,)), norms=norms)  # type: ignore[arg-type]
        for place in (True, False)
    ]
    for name in ("mean", "variance", "zeros", "gradient_variance", "silent"):
        np.testing.assert_allclose(
            getattr(results[0], name), getattr(results[1], name), rtol=1e-5, atol=1e-12
        )


def test_gradients_are_those_of_one_image_each() -> None:
    # Another way: the gradient with respect to a number added to the layer's output, image by image.
    net = drawn(Residual(in_place=False)).eval()
    subject = subject_on(net, noise(12), std=(0.3,))
    found = activations(subject=subject)
    inputs, labels = subject.inputs(subject.images()), subject.images().labels
    rows = []
    for x, y in zip(inputs.split(1), labels.split(1), strict=True):
        added = torch.zeros(1, 4, 4, 4, requires_grad=True)
        before = net.act1(net.bn1(net.conv1(x)))
        out = net.bn2(net.conv2(before) + added) + before
        loss = F.cross_entropy(net.fc(net.pool(net.act2(out)).flatten(1)), y)
        rows.append(torch.autograd.grad(loss, added)[0])
    place = found.layers.index("conv2")
    assert found.gradient_variance[place] == pytest.approx(
        torch.cat(rows).double().var(correction=0).item(), rel=1e-5
    )


def test_parts_give_what_the_whole_gives() -> None:
    # 300 images are looked at in two parts.
    net = nn.Sequential(nn.Flatten(), linear([[1, 2], [3, -1], [0, 1]]))
    pixels = noise(600, size=1).view(300, 1, 1, 2)
    found = activations(subject=subject_on(net, pixels, std=(1.0,)), images=0)
    outputs = pixels.view(300, 2).double() / 255 @ torch.tensor([[1.0, 2], [3, -1], [0, 1]]).double().T
    assert found.mean[1] == pytest.approx(outputs.mean().item(), rel=1e-6)
    assert found.variance[1] == pytest.approx(outputs.var(correction=0).item(), rel=1e-5)


def test_growth_from_layer_to_layer() -> None:
    # The outputs are x, 2x and 6x: the variance grows by 36 over two steps.
    net = nn.Sequential(nn.Flatten(), linear([[1]]), linear([[2]]), linear([[3], [0], [0]]))
    found = activations(subject=subject_on(net, noise(20, size=1), std=(1.0,)))
    assert found.variance[2] / found.variance[1] == pytest.approx(4)
    seen = np.array(found.variance)[[1, 3]]
    assert found.forward_factor == pytest.approx((seen[1] / seen[0]) ** 0.5)


def test_half_the_weights_are_a_quarter_of_the_variance_per_layer() -> None:
    # Without biases a network of ReLUs doubles with its weights (S3.72); Kaiming's keep the variance.
    def growth(scale: float) -> tuple[float, float]:
        layers: list[nn.Module] = [nn.Flatten(), nn.Linear(36, 200, bias=False)]
        for _ in range(8):
            layers += [nn.ReLU(inplace=True), nn.Linear(200, 200, bias=False)]
        net = drawn(nn.Sequential(*layers), scale=scale)
        found = activations(subject=subject_on(net, noise(40), mean=(0.5,), std=(0.29,)))
        return found.forward_factor, found.backward_factor

    kaiming, half = growth(2**0.5), growth(2**0.5 / 2)
    assert kaiming[0] == pytest.approx(1, abs=0.15)
    assert half[0] == pytest.approx(kaiming[0] / 4, rel=1e-4)
    assert half[1] < 0.5 * kaiming[1]


def test_without_a_rectifying_module_nothing_is_called_dead() -> None:
    net = nn.Sequential(nn.Flatten(), linear([[1], [-1], [0]]))
    found = activations(subject=subject_on(net, noise(4, size=1)))
    assert found.silent == (0, 2)
    assert np.isnan(found.dead_share)
    assert found.sentence == (
        "toy on toys: no layer is a rectifying module, so that no unit can be called dead; from one layer with "
        "weights to the next the variance grows nan times forward, that of the gradient nan times backward (4 images "
        "of val, running statistics in batch norms)."
    )


def test_unlabelled_images_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        activations(subject=subject_on(conv1x1(1.0), noise(2), [0, -1]))
    assert str(caught.value) == "1 of 2 images have no label, and the gradient of the loss needs one."
