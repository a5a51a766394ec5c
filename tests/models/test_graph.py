"""Nodes and connections are those that the code of a network says."""

import pytest
import torch
from torch import nn

from convscope.core.errors import ConfigError
from convscope.models import build
from convscope.models.graph import Graph, trace


def edges(graph: Graph) -> set[tuple[str, str]]:
    return {(graph.nodes[i].name, node.name) for node in graph.nodes for i in node.inputs}


def test_a_block_is_connected_as_it_is_written() -> None:
    """Identities, which stand for parts that are off, are not there."""
    graph = trace(build("resnet20", classes=10), (3, 32, 32))
    block = {
        *(("layer1.2.act2", "layer2.0.conv1"), ("layer1.2.act2", "layer2.0.downsample")),
        *(("layer2.0.conv1", "layer2.0.bn1"), ("layer2.0.bn1", "layer2.0.act1")),
        *(("layer2.0.act1", "layer2.0.conv2"), ("layer2.0.conv2", "layer2.0.bn2")),
        *(("layer2.0.bn2", "layer2.0.add"), ("layer2.0.downsample", "layer2.0.add")),
        ("layer2.0.add", "layer2.0.act2"),
    }
    assert {edge for edge in edges(graph) if any("layer2.0." in end for end in edge)} == block | {
        *(("layer2.0.act2", "layer2.1.conv1"), ("layer2.0.act2", "layer2.1.add")),
    }


def test_layers_are_the_networks_own_and_shapes_are_its_outputs() -> None:
    net = build("resnet20", classes=10, width=4).train()
    graph = trace(net, (3, 32, 32))
    named = dict(net.named_modules())
    shapes: dict[str, tuple[int, ...]] = {}
    for name, module in named.items():
        module.register_forward_hook(
            lambda module, inputs, output, name=name: shapes.update({name: tuple(output.shape[1:])})
        )
    net(torch.zeros(2, 3, 32, 32))
    layers = [node for node in graph.nodes if node.module is not None]
    assert len(layers) > 50
    for node in layers:
        assert named[node.name] is node.module
        assert shapes[node.name] == node.output
    assert net.training


def test_a_layer_called_twice_is_two_nodes() -> None:
    layer = nn.ReLU()
    graph = trace(nn.Sequential(layer, nn.Flatten(), layer), (1, 2, 2))
    assert [node.kind for node in graph.nodes] == ["image", "ReLU", "Flatten", "ReLU"]
    assert graph.nodes[1].module is graph.nodes[3].module is layer
    assert [graph.users(i) for i in range(4)] == [(1,), (2,), (3,), ()]


def test_images_that_a_network_cannot_take() -> None:
    with pytest.raises(ConfigError) as caught:
        trace(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), (1, 4, 4))
    # What follows is torch's own, and not the same in every version.
    assert str(caught.value).startswith("Sequential cannot take 1x4x4 images: ")
    assert "16" in str(caught.value)
    assert "12" in str(caught.value)
