"""Each check of `architectures` with blocks and weights that are wrong."""

from typing import Any

import pytest
import torch
from torch import nn

from convscope.models import residual
from convscope.verify import architectures as topic


def test_a_perceptron_with_another_bias_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    linear = topic.F.linear
    monkeypatch.setattr(topic.F, "linear", lambda x, w, b: linear(x, w))
    assert not topic._network_in_network().holds


def test_a_perceptron_that_is_somewhere_else_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    unfold = topic.F.unfold
    monkeypatch.setattr(topic.F, "unfold", lambda *args, **options: unfold(*args, **options).roll(1, -1))
    assert not topic._network_in_network().holds


def test_a_pool_that_knows_its_place_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def corner(pool: nn.Module, x: torch.Tensor) -> torch.Tensor:
        return x[:, :, :1, :1]

    monkeypatch.setattr(topic.GlobalAvgPool2d, "forward", corner)
    assert not topic._global_pool_forgets().holds


def test_a_pool_with_parameters_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "GlobalAvgPool2d", lambda: nn.BatchNorm2d(192))
    assert not topic._global_pool_is_free().holds


@pytest.mark.parametrize("check", [topic._zero_weights, topic._zero_weights_of_version_2])
def test_blocks_without_a_shortcut_are_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residual, "_shortcut", lambda *args: None)
    assert not check().holds


def test_blocks_of_version_1_without_a_last_relu_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "VERSION_1", topic.VERSION_2)
    assert topic._zero_weights_below_zero().holds


def test_blocks_of_version_2_with_a_last_relu_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic, "VERSION_2", topic.VERSION_1)
    assert not topic._zero_weights_of_version_2().holds


def test_blocks_that_do_not_halve_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._block
    monkeypatch.setattr(topic, "_block", lambda *args, **options: right(*args, **options | {"stride": 1}))
    assert not topic._halves().holds


def test_one_additional_block_that_is_not_zero_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._fit

    def incomplete(deep: Any, shallow: nn.Module) -> int:
        tensors = right(deep, shallow)
        nn.init.constant_(deep.layer4[2].bn2.bias, 0.001)
        return tensors

    monkeypatch.setattr(topic, "_fit", incomplete)
    assert not topic._embedded().holds


def test_statistics_that_are_not_copied_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic.grow

    def without(deep: Any, shallow: nn.Module) -> Any:
        kept = deep.bn1.running_mean.clone()
        grown = right(deep, shallow)
        deep.bn1.running_mean.copy_(kept)
        return grown

    monkeypatch.setattr(topic, "grow", without)
    assert not topic._embedded_by_grow().holds


def test_other_idempotent_activations_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._pair
    monkeypatch.setattr(topic, "_pair", lambda **options: right())
    assert topic._embedded_without_relu().holds


def test_versions_that_are_exchanged_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._without_gradient
    monkeypatch.setattr(topic, "_without_gradient", lambda version: right({"1": "1.5", "1.5": "1"}[version]))
    assert not topic._ignored().holds
    assert not topic._looked_at().holds


@pytest.mark.parametrize("check", [topic._paths, topic._biases])
def test_paths_in_another_order_are_seen(check: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._join

    def turned(layers: list[nn.Module], whole: nn.Module) -> None:
        right([*layers[1:], layers[0]] if isinstance(whole, nn.Conv2d) else layers, whole)

    monkeypatch.setattr(topic, "_join", turned)
    assert not check().holds


def test_a_single_bias_that_is_not_the_sum_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic._resnext

    def without(parts: Any) -> Any:
        explicit, grouped = right(parts)
        nn.init.zeros_(grouped.conv3.bias)
        return explicit, grouped

    monkeypatch.setattr(topic, "_resnext", without)
    assert not topic._biases().holds


def test_an_excitation_without_a_gate_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = topic.SqueezeExcitation

    def open_gate(*args: Any) -> Any:
        layer = right(*args)
        layer.gate = nn.Identity()
        return layer

    monkeypatch.setattr(topic, "SqueezeExcitation", open_gate)
    assert not topic._excitation().holds
