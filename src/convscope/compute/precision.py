"""Which layers may compute in bfloat16 on this machine?

Those whose every shape the self-test found right and at least 10 % faster, and
none if the network as a whole then is not faster, since casts between layers
of different precision can eat the gain.  The answer, a `Table`, is measured
once per machine, cached, copied into the record of a run, and taken from there
on resume.  `lowered` makes a model compute as its table says, and gives it
back unchanged.

    measurement  what the self-test found, in the cache
    verdict      what follows from it under the mode asked for, in the record
"""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from torch import Tensor, nn

from convscope.core import files, records
from convscope.core.errors import DamagedFile, NoSpace, RunBusy, UnknownName

from . import selftest
from .environment import machine
from .fences import seeded
from .selftest import ERROR, Measurement, Shape, conv_shapes, layer_shapes, self_test

__all__ = ["Shape", "Table", "Verdict", "conv_shapes", "lowered", "resolve", "self_test", "table_file"]

FASTER = 1.10
"""What bfloat16 must gain to be used: less is within the noise, and not worth fewer digits."""

FASTER_AS_A_WHOLE = 1.05
"""What a whole training step must gain, with all casts and everything between the layers."""

WHOLE_FLOPS = 1.2e10
"""The whole network is timed with so many images that a forward pass stays below this; a ResNet-20: 146."""

MODES = ("auto", "float32", "bfloat16")


class Verdict(BaseModel):
    """What one shape computes in, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["float32", "bfloat16"]
    error: float | None
    """Relative to float32; None if not measured, or if it failed."""
    speed: float | None
    """Relative to float32; None if not measured."""
    reason: str


_ASKED_FOR = Verdict(dtype="float32", error=None, speed=None, reason="it was asked for")


class Table(BaseModel):
    """The precision of every layer of a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: str
    verdicts: dict[str, Verdict]
    """By the key of the shape."""
    layers: dict[str, tuple[str, ...]]
    """Name of the layer in the model -> keys of the shapes it is called with."""
    whole: float | None = None
    """Speed of a whole step relative to float32; None if not measured."""

    def lowers(self, layer: str) -> bool:
        """Whether a layer computes in bfloat16: if it was seen, and each of its shapes may."""
        keys = self.layers.get(layer, ())
        return bool(keys) and all(self.verdicts[key].dtype == "bfloat16" for key in keys)

    def dtypes(self) -> dict[str, str]:
        """Layer -> precision: the part that decides numbers, for comparing two runs."""
        return {layer: "bfloat16" if self.lowers(layer) else "float32" for layer in sorted(self.layers)}

    def __str__(self) -> str:
        lowered = [layer for layer in self.layers if self.lowers(layer)]
        if not lowered:
            return f"float32 in all {len(self.layers)} layers"
        gain = f", {self.whole:.2f}x as fast as float32 alone" if self.whole else ""
        if len(lowered) == len(self.layers):
            return f"bfloat16 in all {len(lowered)} layers{gain}"
        return f"bfloat16 in {len(lowered)} of {len(self.layers)} layers, float32 in the rest{gain}"

    def refusals(self) -> list[str]:
        """A sentence for every shape that stays in float32 although bfloat16 was considered."""
        refused = [(key, v) for key, v in self.verdicts.items() if v.dtype == "float32"]
        return [] if self.mode == "float32" else [f"{key}: float32, {v.reason}." for key, v in refused]


def resolve(
    model: nn.Module,
    example: Tensor,
    mode: str,
    table_file: Path | None = None,
    known: Table | None = None,
) -> Table:
    """Decide in what each layer of a model computes; call it inside `fences.training_state`.

    Args:
        model: as it will be trained: on its device, in its memory format.
        example: a batch as in training.
        mode: `auto`, bfloat16 where it is right and faster; `bfloat16`, wherever it is right; `float32`.
        table_file: where measurements of this machine are kept (`table_file`); absent: nowhere.
        known: the table in a run's record; it is used as it is and nothing is measured.

    Raises:
        UnknownName: no such mode.
    """
    if mode not in MODES:
        raise UnknownName("precision", mode, MODES)
    if known is not None:
        return known
    calls = layer_shapes(model, example)
    shapes = {shape.key: shape for layer in calls.values() for shape in layer}
    layers = {name: tuple(shape.key for shape in layer) for name, layer in calls.items()}
    if mode == "float32":
        return Table(mode=mode, verdicts=dict.fromkeys(shapes, _ASKED_FOR), layers=layers)
    cached = _read(table_file) if table_file else {}
    device = example.device
    measured = {key: cached.get(key) or selftest.self_test(shape, device) for key, shape in shapes.items()}
    verdicts = {key: _judge(found, mode) for key, found in measured.items()}
    table = Table(mode=mode, verdicts=verdicts, layers=layers)
    if mode == "auto" and any(table.lowers(layer) for layer in layers):
        key = _network_key(model, table)
        measured[key] = cached.get(key) or _whole(model, example, table, shapes)
        table = _as_a_whole(table, measured[key].speed or 0.0)
    if table_file and not measured.keys() <= cached.keys():
        _write(table_file, {**cached, **measured})
    return table


def _judge(found: Measurement, mode: str) -> Verdict:
    if found.error is None:
        return Verdict(dtype="float32", error=None, speed=None, reason=f"in bfloat16 {found.failure}")
    if found.error > ERROR:
        reason = f"in bfloat16 it is wrong by {found.error:.1%} ({ERROR:.0%} is allowed)"
        return Verdict(dtype="float32", error=found.error, speed=None, reason=reason)
    speed = found.speed or 0.0
    reason = f"in bfloat16 it is right to {found.error:.2%} and {speed:.2f}x as fast"
    if mode == "auto" and speed < FASTER:
        return Verdict(
            dtype="float32", error=found.error, speed=speed, reason=f"{reason} ({FASTER:.2f}x is needed)"
        )
    return Verdict(dtype="bfloat16", error=found.error, speed=speed, reason=reason)


def _network_key(model: nn.Module, table: Table) -> str:
    text = json.dumps([str(model), table.dtypes(), table.layers])
    return f"network {hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _whole(model: nn.Module, example: Tensor, table: Table, shapes: Mapping[str, Shape]) -> Measurement:
    """The speed of forward and backward of the whole network, lowered as in the table; on a copy of it."""
    flops = sum(shapes[key].flops for keys in table.layers.values() for key in keys)
    model = copy.deepcopy(model).train()
    images = example[: max(2, int(WHOLE_FLOPS / flops))]
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def step(table_or_none: Table | None) -> None:
        with lowered(model, table_or_none) if table_or_none else nullcontext():
            outputs = model(images)
        several = outputs if isinstance(outputs, (tuple, list)) else [outputs]
        loss = torch.stack([output.float().square().mean() for output in several]).sum()
        torch.autograd.grad(loss, parameters, allow_unused=True)

    with seeded(0), torch.enable_grad():
        step(None)
        step(table)
        speed = selftest.ratio(lambda: step(None), lambda: step(table), example.device, budget_s=1.0)
    return Measurement(error=None, speed=speed)


def _as_a_whole(table: Table, speed: float) -> Table:
    """The table, or float32 throughout if the whole network does not gain."""
    verdicts = table.verdicts
    if speed < FASTER_AS_A_WHOLE:
        why = f", but the network as a whole {speed:.2f}x ({FASTER_AS_A_WHOLE:.2f}x is needed)"
        verdicts = {
            key: v.model_copy(update={"dtype": "float32", "reason": v.reason + why})
            if v.dtype == "bfloat16"
            else v
            for key, v in verdicts.items()
        }
    return table.model_copy(update={"verdicts": verdicts, "whole": speed})


def table_file(cache: Path, device: torch.device) -> Path:
    """Where the measurements of this processor, torch, thread count and device are kept in a cache folder."""
    known = {**machine(device), "threads": torch.get_num_threads(), "torch": torch.__version__}
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()
    return cache / "precision" / f"{digest[:12]}.json"


_MEASUREMENTS = TypeAdapter(dict[str, Measurement])


def _read(path: Path) -> dict[str, Measurement]:
    """The cached measurements; none if the file is absent or damaged, since they can be had again."""
    try:
        content = records.read_json(path)
        if content["sha256"] != _sha256(content["measurements"]):
            return {}
        return _MEASUREMENTS.validate_python(content["measurements"])
    except (OSError, DamagedFile, ValidationError, KeyError, TypeError):
        return {}


def _write(path: Path, measurements: Mapping[str, Measurement]) -> None:
    """Keep the measurements, if that is possible now; a run must not fail for a cache."""
    plain = {key: found.model_dump() for key, found in sorted(measurements.items())}
    try:
        with files.held(path.parent):
            records.write_json(path, {"sha256": _sha256(plain), "measurements": plain})
    except (OSError, NoSpace, RunBusy):
        return


def _sha256(plain: Any) -> str:
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


# Layers with weights that autocast would lower and the self-test does not know.
_UNTESTED = (
    nn.Conv1d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Bilinear,
    nn.MultiheadAttention,
    nn.RNNBase,
)


class _InFloat32:
    """A layer's forward that computes in float32 whatever is asked for around it.

    An object, not a closure: a copy of the model made meanwhile gets a copy of it that calls the copy's
    own layer, and it can be pickled.
    """

    def __init__(self, layer: nn.Module) -> None:
        self.forward = layer.forward

    def __call__(self, images: Tensor, *others: Any, **named: Any) -> Any:
        values = [_float32(value) for value in (images, *others)]
        with torch.autocast(images.device.type, enabled=False):
            return self.forward(*values, **{name: _float32(value) for name, value in named.items()})


def _float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


@contextmanager
def lowered(model: nn.Module, table: Table) -> Iterator[None]:
    """Inside, the model's layers compute as the table says; may span a whole training.

    Layers that were refused, or never seen by the self-test, compute in float32.  What lies between
    layers (normalisation, activation, pooling, addition) takes what the layer before it gives;
    normalisation keeps its statistics in float32.  Parameters and their gradients stay float32.
    Nothing happens if no layer is lowered.
    """
    if not any(table.lowers(layer) for layer in table.layers):
        yield
        return
    refused = [
        layer
        for name, layer in model.named_modules()
        if (isinstance(layer, (nn.Conv2d, nn.Linear)) and not table.lowers(name))
        or isinstance(layer, _UNTESTED)
    ]
    before = [layer.__dict__.get("forward") for layer in refused]
    device = next(model.parameters()).device.type
    try:
        for layer in refused:
            layer.__dict__["forward"] = _InFloat32(layer)
        # Without the cache of cast weights: it would outlive the optimizer's step and serve old weights.
        with torch.autocast(device, torch.bfloat16, cache_enabled=False):
            yield
    finally:
        for layer, forward in zip(refused, before, strict=True):
            layer.__dict__.pop("forward", None)
            if forward is not None:
                layer.__dict__["forward"] = forward
