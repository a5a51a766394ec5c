"""Nothing is left behind, what is seen is what was there, and the order is that of the calls."""

import pytest
import torch
from small import Residual, conv1x1, drawn, linear, noise, subject_on
from torch import Tensor, nn

from convscope.core.errors import ConfigError
from convscope.diagnostics import recording


class Backwards(nn.Module):
    """Its second part is called first; one part is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.late, self.early, self.never = nn.Linear(36, 3), nn.Conv2d(1, 1, 1), nn.Linear(3, 3)
        self.off, self.drop = nn.Identity(), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.late(self.drop(self.off(self.early(x)).flatten(1)))
        return logits


def test_layers_come_in_the_order_of_the_calls_without_those_that_do_nothing() -> None:
    net = Backwards().eval()
    assert list(recording.called(net, torch.zeros(1, 1, 6, 6)).items()) == [
        ("early", (1, 6, 6)),
        ("off", (1, 6, 6)),
        ("drop", (36,)),
        ("late", (3,)),
    ]
    assert list(recording.layers(net, torch.zeros(1, 1, 6, 6))) == ["early", "late"]


def test_an_error_leaves_no_hook_behind() -> None:
    net = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())

    def see(name: str, entered: Tensor, output: Tensor) -> None:
        raise RuntimeError(name)

    with pytest.raises(RuntimeError, match="0"), recording.watching(dict(net.named_children()), see):
        net(torch.zeros(1, 1, 2, 2))
    assert all(not module._forward_hooks for module in net.modules())


def test_parts_are_of_about_equal_size_and_in_order() -> None:
    subject = subject_on(conv1x1(1.0), noise(7))
    found = list(recording.parts(subject, subject.images(), 3))
    assert [len(inputs) for inputs, _ in found] == [3, 2, 2]
    assert torch.equal(torch.cat([inputs for inputs, _ in found]), subject.inputs(subject.images()))
    assert torch.cat([labels for _, labels in found]).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_batch_statistics_leave_the_running_ones_alone() -> None:
    net = drawn(Residual(in_place=True)).eval()
    before = {key: value.clone() for key, value in net.state_dict().items() if "running" in key}
    recording.use_norms(net, "batch")
    inputs = torch.randn(4, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    found = net(inputs)
    assert all(torch.equal(value, net.state_dict()[key]) for key, value in before.items())
    recording.use_norms(net, "running")
    assert not torch.allclose(found, net(inputs))


def test_features_are_what_enters_the_last_layer_and_maps_are_averaged() -> None:
    pixels = [[[[1, 2], [3, 4]]]]
    flat = nn.Sequential(conv1x1(2.0), nn.Flatten(), linear([[1, 0, 0, 0]] * 3))
    features, layer = recording.penultimate(subject_on(flat, pixels), subject_on(flat, pixels).images())
    assert (features.tolist(), layer) == ([[2, 4, 6, 8]], "2")
    last = nn.Sequential(conv1x1(2.0), conv1x1(1.0, 2.0, 3.0), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    features, layer = recording.penultimate(subject_on(last, pixels), subject_on(last, pixels).images())
    assert (features.tolist(), layer) == ([[5.0]], "1")


def test_features_are_refused_without_weights() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.shift = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1) + self.shift

    subject = subject_on(Plain(), noise(2))
    with pytest.raises(ConfigError) as caught:
        recording.penultimate(subject, subject.images())
    assert str(caught.value) == "Plain has no convolution or linear layer whose input could be taken."


def test_a_position_that_is_not_there_is_refused() -> None:
    subject = subject_on(conv1x1(1.0), noise(3))
    with pytest.raises(ConfigError) as caught:
        recording.at(subject, "val", (0, 3))
    assert str(caught.value) == "The split 'val' has the images 0 to 2; positions=0, 3 cannot be shown."


def test_unlabelled_images_are_refused() -> None:
    subject = subject_on(conv1x1(1.0), noise(3), [0, -1, -1])
    with pytest.raises(ConfigError) as caught:
        recording.refuse_unlabelled(subject.images(), "accuracy")
    assert str(caught.value) == "2 of 3 images have no label, and accuracy needs one."


def test_the_input_gradient_of_a_network_that_overwrites_its_input() -> None:
    net = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), linear([[1, 2, 3, 4]]))
    gradient, output = recording.input_gradient(net, torch.tensor([[[[-1.0, 1], [1, 1]]]]), torch.sum)
    assert gradient.tolist() == [[[[0, 2], [3, 4]]]]
    assert output.tolist() == [[9]]
