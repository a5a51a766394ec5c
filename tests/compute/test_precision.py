"""C5: a wrong, failing or slow kernel is found and refused; a lowered model is lowered, and comes back."""

import copy
import json
import pickle
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from convscope.compute import precision, selftest
from convscope.compute.fences import seeded
from convscope.compute.precision import Table, Verdict, lowered, resolve, table_file
from convscope.compute.selftest import Measurement, Shape, conv_shapes, layer_shapes, self_test
from convscope.core import files
from convscope.core.errors import NoSpace, UnknownName

SHAPE = Shape("conv2d", (8, 4, 8, 8), (8, 4, 3, 3), padding=(1, 1), channels_last=True)
CONV_KEY = "conv2d 8x3x8x8 by 4x3x3x3 stride 1x1 padding 1x1 dilation 1x1 groups 1 channels-last"
HEAD_KEY = "linear 8x4 by 10x4 with bias"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 10)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.drop(F.relu(self.norm(self.conv(images))))
        logits: Tensor = self.head(features.mean((2, 3)))
        return logits


@pytest.fixture
def net() -> Net:
    with seeded(0):
        return Net().to(memory_format=torch.channels_last)


@pytest.fixture
def images() -> Tensor:
    drawn = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return drawn.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def conv_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of the test, not the machine, decides: bfloat16 is 1.5 times as fast."""
    monkeypatch.setattr(selftest, "ratio", lambda *_, **__: 1.5)


def table(**dtypes: str) -> Table:
    verdicts = {d: Verdict(dtype=d, error=None, speed=None, reason="") for d in ("float32", "bfloat16")}
    return Table(mode="auto", verdicts=verdicts, layers={name: (dtype,) for name, dtype in dtypes.items()})


# -- shapes


def test_every_distinct_call_is_collected_and_the_model_is_as_before(net: Net, images: Tensor) -> None:
    net.train()
    net.drop.eval()
    before = copy.deepcopy(net.state_dict())
    drawn = torch.default_generator.get_state()
    calls = layer_shapes(net, images)
    assert {name: [shape.key for shape in shapes] for name, shapes in calls.items()} == {
        "conv": [CONV_KEY],
        "head": [HEAD_KEY],
    }
    assert (net.training, net.norm.training, net.drop.training) == (True, True, False)
    assert not any(module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert torch.equal(torch.default_generator.get_state(), drawn)


def test_a_layer_called_with_two_sizes_has_two_shapes_and_equal_layers_share_one() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Conv2d(2, 2, 3), nn.Conv2d(2, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            result: Tensor = self.two(self.one(self.one(images)))
            return result

    shapes = conv_shapes(Twice(), torch.zeros(1, 2, 9, 9))
    assert [shape.input for shape in shapes] == [(1, 2, 9, 9), (1, 2, 7, 7), (1, 2, 5, 5)]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=2, groups=2),
        nn.Conv2d(4, 4, 3, padding="same", bias=False),
        nn.Conv2d(4, 4, 5, padding=2, padding_mode="reflect"),
        nn.Linear(9, 5),
    ],
)
def test_a_shape_calls_the_kernel_as_the_layer_does(
    layer: nn.Conv2d | nn.Linear, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def spy(name: str) -> None:
        kernel: Callable[..., Tensor] = getattr(F, name)

        def record(*given: object) -> Tensor:
            sizes = [tuple(v.shape) if isinstance(v, Tensor) else v for v in given]
            asked.append((name, *sizes))
            return kernel(*given)

        monkeypatch.setattr(F, name, record)

    spy("conv2d")
    spy("linear")
    images = torch.zeros(2, 4, 9, 9)
    (shape,) = conv_shapes(layer, images)
    bias = layer.bias
    shape.forward(torch.zeros(shape.input), torch.zeros(shape.weight), bias)
    assert asked[0] == asked[1]


def test_large_shapes_are_tested_on_fewer_images() -> None:
    large = Shape("conv2d", (128, 64, 224, 224), (64, 64, 3, 3))
    assert large.flops == 2 * 64 * 64 * 9 * 224 * 224  # 3.7e9 per image
    assert (large.test_batch, SHAPE.test_batch) == (1, 8)


# -- the test of one shape


@pytest.mark.parametrize(
    "shape",
    [SHAPE, Shape("linear", (16, 20), (10, 20), bias=True), Shape("conv2d", (2, 1, 2, 2), (1, 1, 2, 2))],
)
def test_a_right_kernel_loses_only_the_rounding_of_its_results(shape: Shape) -> None:
    found = self_test(shape)
    assert found.failure == ""
    assert found.error is not None and 0 < found.error < 0.0040  # 2^-8
    assert found.speed is not None and found.speed > 0


def fault(monkeypatch: pytest.MonkeyPatch, change: Callable[[Tensor], Tensor]) -> list[int]:
    """Break the convolution where it computes in bfloat16; the list counts how often."""
    kernel, fired = F.conv2d, []

    def broken(images: Tensor, *others: object) -> Tensor:
        result: Tensor = kernel(images, *others)  # type: ignore[arg-type]
        if result.dtype is not torch.bfloat16:
            return result
        fired.append(1)
        return change(result)

    monkeypatch.setattr(F, "conv2d", broken)
    return fired


def slept(result: Tensor) -> Tensor:
    time.sleep(0.02)
    return result


def failed(result: Tensor) -> Tensor:
    raise RuntimeError("could not create a primitive\nmore")


@pytest.mark.parametrize(
    "fault_and_reason",
    [
        (lambda y: 0.9 * y, "in bfloat16 it is wrong by 10."),
        (lambda y: y * float("nan"), "in bfloat16 it gave values that are not finite"),
        (
            lambda y: y * torch.tensor([1.0] * 7 + [float("inf")]).view(8, 1, 1, 1),
            "in bfloat16 it gave values",
        ),
        (failed, "in bfloat16 it failed: RuntimeError: could not create a primitive"),
        (slept, "in bfloat16 it is right to 0."),
    ],
    ids=["0.9x", "nan", "inf in one image", "raises", "sleeps"],
)
@pytest.mark.parametrize("mode", ["auto", "bfloat16"])
def test_a_broken_kernel_is_found_and_the_layer_stays_in_float32(
    net: Net,
    images: Tensor,
    monkeypatch: pytest.MonkeyPatch,
    fault_and_reason: tuple[Callable[[Tensor], Tensor], str],
    mode: str,
) -> None:
    change, reason = fault_and_reason
    fired = fault(monkeypatch, change)
    found = resolve(net, images, mode)
    assert fired
    verdict = found.verdicts[CONV_KEY]
    assert verdict.reason.startswith(reason)
    if change is slept and mode == "bfloat16":
        assert verdict.dtype == "bfloat16"  # slow, but asked for
        return
    assert found.dtypes()["conv"] == "float32"
    assert f"{CONV_KEY}: float32, {verdict.reason}." in found.refusals()
    fired.clear()
    with lowered(net, found):
        net(images)
    assert not fired


def test_a_kernel_whose_gradient_alone_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Crooked(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, value: Tensor) -> Tensor:
            return value.clone()

        @staticmethod
        def backward(ctx: object, incoming: Tensor) -> Tensor:  # type: ignore[override]
            return 0.9 * incoming

    fired = fault(monkeypatch, Crooked.apply)  # type: ignore[arg-type]
    found = self_test(SHAPE)
    assert fired
    assert found.error == pytest.approx(0.1, abs=0.01)
    assert found.speed is None


def test_a_kernel_that_is_not_clearly_faster_is_refused(
    net: Net, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest, "ratio", lambda *_, **__: 1.09)
    assert resolve(net, images, "auto").dtypes() == {"conv": "float32", "head": "float32"}
    monkeypatch.setattr(selftest, "ratio", lambda *_, **__: 1.10)
    found = resolve(net, images, "auto")
    assert found.dtypes() == {"conv": "bfloat16", "head": "bfloat16"}
    assert str(found) == "bfloat16 in all 2 layers, 1.10x as fast as float32 alone"
    some = table(conv="bfloat16", head="float32")
    assert str(some) == "bfloat16 in 1 of 2 layers, float32 in the rest"


def test_a_network_that_does_not_gain_as_a_whole_stays_in_float32(
    net: Net, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = iter([1.5, 1.2, 0.8])  # convolution, linear layer, whole network
    monkeypatch.setattr(selftest, "ratio", lambda *_, **__: next(speeds))
    before = copy.deepcopy(net.state_dict())
    found = resolve(net, images, "auto")
    assert found.dtypes() == {"conv": "float32", "head": "float32"}
    assert (found.whole, str(found)) == (0.8, "float32 in all 2 layers")
    error = found.verdicts[CONV_KEY].error
    assert found.verdicts[CONV_KEY].reason == (
        f"in bfloat16 it is right to {error:.2%} and 1.50x as fast, but the network as a whole 0.80x "
        f"(1.05x is needed)"
    )
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_times_are_compared_in_turns_by_the_best_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3.0, 3.0, 4.0, 10.0, 12.0, 12.0, 19.0])  # 3 and 1 seconds, then 2 and 7
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    asked: list[str] = []
    found = selftest.ratio(
        lambda: asked.append("slow"), lambda: asked.append("fast"), torch.device("cpu"), budget_s=5
    )
    assert found == 2 / 1
    assert asked == ["slow", "fast"] * 2


# -- the table


def test_modes(net: Net, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName) as caught:
        resolve(net, images, "bf16")
    assert str(caught.value) == (
        "No precision is called 'bf16'. Did you mean 'bfloat16'? Known: auto, bfloat16, float32."
    )
    monkeypatch.setattr(selftest, "self_test", lambda *_: pytest.fail("nothing is to be measured"))
    plain = resolve(net, images, "float32")
    assert plain.dtypes() == {"conv": "float32", "head": "float32"}
    assert plain.refusals() == []
    known = table(conv="bfloat16", head="float32")
    assert resolve(net, images, "auto", known=known) is known


def test_a_table_survives_json(net: Net, images: Tensor, conv_is_faster: None) -> None:
    found = resolve(net, images, "auto")
    text = json.dumps(found.model_dump(mode="json"), allow_nan=False)
    assert Table.model_validate_json(text) == found


def test_measurements_are_kept_and_used_again(
    net: Net, images: Tensor, tmp_path: Path, conv_is_faster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table_file(tmp_path, images.device)
    first = resolve(net, images, "auto", path)
    monkeypatch.setattr(selftest, "self_test", lambda *_: pytest.fail("it was measured before"))
    monkeypatch.setattr(precision, "_whole", lambda *_: pytest.fail("it was measured before"))
    assert resolve(net, images, "auto", path) == first
    # Other modes judge the same measurements.
    assert resolve(net, images, "bfloat16", path).dtypes() == {"conv": "bfloat16", "head": "bfloat16"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: '{"sha256": 3}',
        lambda text: text.replace('"speed": 1.5', '"speed": 2.5'),
    ],
)
def test_a_damaged_cache_is_measured_again(
    net: Net, images: Tensor, tmp_path: Path, conv_is_faster: None, damage: Callable[[str], str]
) -> None:
    path = tmp_path / "table.json"
    first = resolve(net, images, "auto", path)
    whole = path.read_text()
    path.write_text(damage(whole))
    assert path.read_text() != whole
    assert resolve(net, images, "auto", path) == first
    assert path.read_text() == whole


def test_a_cache_that_cannot_be_written_stops_nothing(
    net: Net, images: Tensor, tmp_path: Path, conv_is_faster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "table.json"
    with files.held(tmp_path):
        resolve(net, images, "auto", path)
    assert not path.exists()

    def full(operation: str, where: Path) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(files, "on_operation", full)
    resolve(net, images, "auto", path)
    assert not path.exists()


def test_the_file_goes_by_the_number_of_threads(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    one = table_file(tmp_path, torch.device("cpu"))
    torch.set_num_threads(before + 1)
    try:
        assert table_file(tmp_path, torch.device("cpu")) != one
    finally:
        torch.set_num_threads(before)
    assert table_file(tmp_path, torch.device("cpu")) == one


# -- computing as the table says


def seen_dtypes(net: Net, images: Tensor, wanted: Table) -> dict[str, torch.dtype]:
    seen: dict[str, torch.dtype] = {}
    handles = [
        getattr(net, name).register_forward_hook(
            lambda layer, inputs, output, name=name: seen.__setitem__(name, output.dtype)
        )
        for name in ("conv", "norm", "head")
    ]
    with lowered(net, wanted):
        net(images)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize(
    ("conv", "head"), [("bfloat16", "float32"), ("float32", "bfloat16"), ("bfloat16", "bfloat16")]
)
def test_each_layer_computes_as_its_table_says(net: Net, images: Tensor, conv: str, head: str) -> None:
    seen = seen_dtypes(net, images, table(conv=conv, head=head))
    assert seen["conv"] is getattr(torch, conv)
    assert seen["head"] is getattr(torch, head)
    assert net.norm.running_mean is not None and net.norm.running_mean.dtype is torch.float32


def test_a_layer_nobody_tested_stays_in_float32(net: Net, images: Tensor) -> None:
    assert seen_dtypes(net, images, table(conv="bfloat16"))["head"] is torch.float32


def test_nothing_happens_where_nothing_is_lowered(net: Net, images: Tensor) -> None:
    with lowered(net, table(conv="float32", head="float32")):
        assert not torch.is_autocast_enabled("cpu")
        assert "forward" not in net.conv.__dict__


@pytest.mark.parametrize("fails", [False, True])
def test_the_model_comes_back_bit_for_bit(net: Net, images: Tensor, fails: bool) -> None:
    net.eval()
    before, plain = copy.deepcopy(net.state_dict()), net(images)
    try:
        with lowered(net, table(conv="bfloat16", head="float32")):
            inside = net(images)
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    assert not torch.equal(inside, plain)
    assert torch.equal(net(images), plain)
    assert list(before) == list(net.state_dict())
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())
    assert not any("forward" in module.__dict__ for module in net.modules())
    assert torch.equal(pickle.loads(pickle.dumps(net))(images), plain)


def test_a_copy_made_inside_uses_its_own_weights(net: Net, images: Tensor) -> None:
    net.eval()
    with lowered(net, table(conv="bfloat16", head="float32")):
        other = copy.deepcopy(net)
        with torch.no_grad():
            net.head.weight.zero_()
            net.head.bias.zero_()
        assert torch.count_nonzero(net(images)) == 0
        assert torch.count_nonzero(other(images)) > 0


def test_steps_inside_one_fence_see_their_own_weights(net: Net, images: Tensor) -> None:
    """Autocast's cache of cast weights would serve those of the first step for ever."""
    net.eval()
    both = table(conv="bfloat16", head="bfloat16")
    with lowered(net, both):
        first = net(images)
        with torch.no_grad():
            net.conv.weight.mul_(-1)
        second = net(images)
    with lowered(net, both):
        again = net(images)
    assert not torch.equal(first, second)
    assert torch.equal(second, again)


def test_parameters_and_gradients_stay_in_float32(net: Net, images: Tensor) -> None:
    with lowered(net, table(conv="bfloat16", head="float32")):
        net(images).square().mean().backward()
    for parameter in net.parameters():
        assert parameter.dtype is torch.float32
        assert parameter.grad is not None and parameter.grad.dtype is torch.float32


@pytest.mark.slow
def test_every_shape_of_a_resnet20_is_right_here() -> None:
    """C5 on real hardware: the error of every shape, forward and gradients, is at most 2 %."""
    sizes = [
        (3, 16, 32, 1),
        (16, 16, 32, 1),
        (16, 32, 32, 2),
        (32, 32, 16, 1),
        (32, 64, 16, 2),
        (64, 64, 8, 1),
    ]
    for inputs, outputs, size, stride in sizes:
        shape = Shape(
            kind="conv2d", input=(128, inputs, size, size), weight=(outputs, inputs, 3, 3),
            stride=(stride, stride), padding=(1, 1), channels_last=True,
        )  # fmt: skip
        found = self_test(shape)
        assert found.error is not None and found.error <= 0.02, (shape.key, found)


def test_a_measurement_says_what_it_is() -> None:
    with pytest.raises(ValueError, match="extra"):
        Measurement(error=0.0, speed=1.0, wrong=2)  # type: ignore[call-arg]
