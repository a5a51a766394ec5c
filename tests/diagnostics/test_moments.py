"""Moments of batch norms against numpy, and what batch statistics must give."""

import numpy as np
import pytest
import torch
from small import Residual, drawn, linear, noise, subject_on
from torch import nn

from convscope.core.errors import ConfigError
from convscope.diagnostics.moments import moments


def net() -> nn.Sequential:
    norm = nn.BatchNorm2d(1)
    with torch.no_grad():
        norm.weight.fill_(3)
        norm.bias.fill_(5)
        norm.running_mean.fill_(100)  # type: ignore[union-attr]
        norm.running_var.fill_(400)  # type: ignore[union-attr]
    return nn.Sequential(norm, nn.ReLU(inplace=True), nn.Flatten(), linear([[1] * 36] * 3))


def test_inputs_and_outputs_of_a_norm() -> None:
    pixels = noise(300)  # two parts
    found = moments(subject=subject_on(net(), pixels), images=0)
    values = pixels.double().numpy()
    assert found.layers == ("0", "3")
    assert found.batch_norm == (True, False)
    assert found.input_mean[0] == pytest.approx(values.mean(), rel=1e-6)
    assert found.input_variance[0] == pytest.approx(values.var(), rel=1e-5)
    assert found.output_mean[0] == pytest.approx(5 + 3 * (values.mean() - 100) / 20, rel=1e-5)
    assert found.output_variance[0] == pytest.approx(9 * values.var() / 400, rel=1e-5)
    assert found.stale[0] == pytest.approx((values.mean() - 100) / 20, rel=1e-5)
    assert np.isnan(found.output_mean[1])
    assert np.isnan(found.stale[1])


def test_with_batch_statistics_the_output_is_the_shift_and_the_scale() -> None:
    found = moments(subject=subject_on(net(), noise(100)), norms="batch")
    assert found.output_mean[0] == pytest.approx(5, abs=1e-5)
    assert found.output_variance[0] == pytest.approx(9, rel=1e-5)


def test_channels_are_summarised_and_kept() -> None:
    pixels = torch.tensor([[[[10, 10]], [[20, 40]]]])
    tail = nn.Sequential(nn.BatchNorm2d(2), nn.Flatten(), linear([[1] * 4] * 3))
    found = moments(subject=subject_on(tail, pixels))
    assert (found.input_mean[0], found.input_variance[0]) == (20, 50)
    assert found.input_spread[0] == pytest.approx(500**0.5)
    assert found.channel_layer.tolist() == [0, 0, 1, 1, 1, 1]
    assert found.channel_input_mean[:2].tolist() == [10, 30]
    assert found.channel_input_variance[:2].tolist() == [0, 100]


def test_in_place_layers_behind_a_norm_do_not_matter() -> None:
    results = [
        moments(subject=subject_on(drawn(Residual(in_place=place)), noise(9), std=(0.3,)))
        for place in (True, False)
    ]
    assert results[0].layers == ("conv1", "bn1", "conv2", "bn2", "fc")
    np.testing.assert_allclose(results[0].output_variance, results[1].output_variance, rtol=1e-6)


def test_every_layer_is_a_series_over_training() -> None:
    found = moments(subject=subject_on(net(), noise(10)))
    assert list(found.scalars()) == [
        "images",
        "0.input_mean",
        "0.input_variance",
        "0.output_mean",
        "0.output_variance",
        "3.input_mean",
        "3.input_variance",
    ]
    assert found.scalars()["0.output_mean"] == found.output_mean[0]


def test_what_the_sentence_says() -> None:
    found = moments(subject=subject_on(net(), noise(10)))
    entering, leaving = f"{found.input_variance[0]:.3g}", f"{found.output_variance[0]:.3g}"
    assert found.sentence == (
        f"toy on toys: the variance of what enters the 1 batch norms lies between {entering} and {entering}, of what "
        f"leaves them between {leaving} and {leaving} (10 images of val, running statistics)."
    )
    plain = moments(
        subject=subject_on(nn.Sequential(nn.Flatten(), linear([[1, 1]])), [[[[1, 3]]], [[[1, 7]]]])
    )
    assert plain.sentence == (
        "toy on toys: the variance of what enters the 1 layers with weights (no batch norms) lies between 2 and 2 (2 "
        "images of val, running statistics)."
    )


def test_a_network_without_layers_is_refused() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) + self.shift

    with pytest.raises(ConfigError) as caught:
        moments(subject=subject_on(Plain(), noise(2)))
    assert str(caught.value) == "Plain has no convolution, linear layer or batch norm."
