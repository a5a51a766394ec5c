"""What is not finite ends the run in its step and is never written: rows C1, C3 and C7."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor, nn

from convscope.core import records, snapshot
from convscope.core.errors import Diverged
from convscope.core.records import RunPaths
from convscope.train import checkpoint, finite, hooks, loop, run

BAD = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Poison:
    """Puts one value that is not finite into the run, at one step."""

    def __init__(self, step: int, where: str, value: float) -> None:
        self.step, self.where, self.value = step, where, value
        self.fired = False
        self._original = loop.take_step

    def __call__(self, session: loop.Session) -> None:
        if session.step != self.step:
            self._original(session)
            return
        kind, _, name = self.where.partition(" ")
        handle = None
        if kind == "weight":
            self._hit(dict(session.model.named_parameters())[name].data)
        elif kind == "gradient":
            handle = dict(session.model.named_parameters())[name].register_hook(self._poisoned)
        elif kind == "output":
            module = dict(session.model.named_modules())[name]
            handle = module.register_forward_hook(lambda module, given, output: self._poisoned(output))
        try:
            self._original(session)
        finally:
            if handle is not None:
                handle.remove()

    def _hit(self, tensor: Tensor) -> None:
        self.fired = True
        tensor[(-1,) * tensor.ndim] = self.value

    def _poisoned(self, tensor: Tensor) -> Tensor:
        changed = tensor.clone()
        self._hit(changed.detach())
        return changed


def layers() -> tuple[list[str], list[str]]:
    """Names of parameters and of leaf modules of the tiny LeNet."""
    from convscope.models import build

    model = build("lenet5", classes=4, channels=1, size=28, norm="batch", dropout=0.2)
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    return [name for name, _ in model.named_parameters()], leaves


PARAMETERS, LEAVES = layers()
CASES = [
    *((step, f"weight {PARAMETERS[step % len(PARAMETERS)]}") for step in (0, 1, 5, 7, 11)),
    *((step, f"gradient {PARAMETERS[(3 * step) % len(PARAMETERS)]}") for step in (0, 2, 3, 4, 6, 9, 11)),
    *((step, f"output {LEAVES[(2 * step) % len(LEAVES)]}") for step in (0, 1, 2, 3, 5, 6, 8, 10)),
]
CHEAP = {CASES[1], CASES[8], CASES[15]}


def test_there_are_twenty() -> None:
    assert len(set(CASES)) == 20 and len(CHEAP) == 3


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("step", "where"), [pytest.param(*c, marks=[] if c in CHEAP else pytest.mark.slow) for c in CASES]
)
def test_a_value_that_is_not_finite_ends_the_run_in_its_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, where: str
) -> None:
    """C1: it names step, layer and rate; the checkpoint before is finite; nothing newer is written."""
    # An output of -inf would be lost in the next pooling, which is no fault.
    value = math.nan if where.startswith("output") else BAD[["nan", "inf", "-inf"][step % 3]]
    poison = Poison(step, where, value)
    monkeypatch.setattr(loop, "take_step", poison)
    with pytest.raises(Diverged) as error:
        tiny.go(tmp_path, **tiny.SHORTER)
    assert poison.fired and error.value.exit_code == 4
    message = str(error.value)
    assert message.startswith(f"Step {step} (epoch {step / 9:.2f}): the loss is ")
    kind, _, name = where.partition(" ")
    said = {
        "weight": f"; the weight {name} is not finite. ",
        "gradient": f"; the gradient of {name} is not finite. ",
        "output": f"; the first output that is not finite is that of {name}. ",
    }[kind]
    assert said in message
    assert message.endswith(
        " Nothing that is not finite was written. Try a smaller --lr, a longer --warmup, or --model.norm batch."
    )
    paths = RunPaths(tiny.directory(tmp_path))
    assert records.read_json(paths.result) == {"status": "diverged", "step": step, "message": message}
    for folder in (paths.checkpoints, paths.best):
        for manifest in snapshot.manifests(folder):
            found = snapshot.load(manifest)
            assert found.step <= step
            assert all(bool(torch.isfinite(t).all()) for t in found.tensors.values() if t.is_floating_point())


@pytest.mark.usefixtures("cheap")
def test_too_large_a_rate_names_step_layer_and_rate(tmp_path: Path) -> None:
    """C4 for one run: a real divergence, not an injected one."""
    with pytest.raises(Diverged) as error:
        tiny.go(tmp_path, lr=1e30, warmup=0, schedule="constant", **tiny.SHORTER)
    step = records.read_json(RunPaths(tiny.directory(tmp_path)).result)["step"]
    assert str(error.value).startswith(f"Step {step} (epoch {step / 9:.2f}): the loss is nan; ")
    assert ". The learning rate is 1e+30. " in str(error.value)


@pytest.mark.usefixtures("cheap")
def test_large_finite_numbers_do_not_stop_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their squares overflow float32; they do not."""
    original, fired = finite.stop_unless_finite, []

    def spy(session: loop.Session, loss: float, images: Tensor) -> None:
        first = next(session.model.parameters())
        assert first.grad is not None
        kept = first.grad.clone()
        first.grad.view(-1)[0] = 3e30
        fired.append(session.step)
        original(session, loss, images)
        first.grad.copy_(kept)

    monkeypatch.setattr(loop, "stop_unless_finite", spy)
    tiny.go(tmp_path, **tiny.SHORTER)
    assert len(fired) == tiny.SHORT


@pytest.mark.usefixtures("cheap")
def test_a_loss_that_alone_is_not_finite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.stop_unless_finite
    monkeypatch.setattr(
        loop, "stop_unless_finite", lambda session, loss, images: original(session, math.inf, images)
    )
    with pytest.raises(Diverged) as error:
        tiny.go(tmp_path, **tiny.SHORTER)
    assert str(error.value) == (
        "Step 0 (epoch 0.00): the loss is inf; every weight, output and gradient is finite, only the loss is "
        "not. The learning rate is 0.0166667. Nothing that is not finite was written. Try a smaller --lr, a "
        "longer --warmup, or --model.norm batch."
    )


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def test_the_first_layer_whose_output_is_not_finite_is_found() -> None:
    model = net()
    images = torch.ones(2, 3)
    assert finite.first_bad_output(model, images) is None
    model[0].bias.data[1] = math.inf  # type: ignore[index]
    assert finite.first_bad_output(model, images) == "0"
    model[0].bias.data[1] = 3e38  # type: ignore[index]
    model[2].weight.data[:] = 100.0  # type: ignore[index]
    assert finite.first_bad_output(model, images) == "2"
    assert not any(module._forward_hooks for module in model.modules())


def test_a_checkpoint_with_a_bad_buffer_is_refused(tmp_path: Path) -> None:
    """The running mean of batch norm is no parameter and has no gradient."""
    tensors = {"model/a": torch.ones(3), "model/norm.running_mean": torch.tensor([0.0, math.nan])}
    with pytest.raises(Diverged) as error:
        checkpoint.refuse_unless_finite(tensors, 7)
    assert str(error.value) == (
        "Step 7: model/norm.running_mean is not finite, so no checkpoint was written; the one before is "
        "intact. Try a smaller --lr or a longer --warmup."
    )
    checkpoint.refuse_unless_finite({"model/count": torch.tensor([2**62])}, 7)


@pytest.mark.usefixtures("cheap")
def test_a_validation_loss_that_is_not_finite_is_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C2 for one run, at the second validation."""
    original: Callable[..., Tensor] = hooks.logits
    calls = iter(range(99))

    def logits(*given: Any, **named: Any) -> Tensor:
        return original(*given, **named) * (math.nan if next(calls) == 1 else 1)

    monkeypatch.setattr(hooks, "logits", logits)
    with pytest.raises(Diverged) as error:
        tiny.go(tmp_path, **tiny.SHORTER)
    assert str(error.value) == (
        "Step 10 (epoch 1.11): the validation loss is nan. It was not taken for the best, and the last "
        "checkpoint is finite. Try a smaller --lr."
    )
    paths = RunPaths(tiny.directory(tmp_path))
    assert [record["step"] for record in records.read(paths.metrics)] == [5]
    assert [path.name for path in snapshot.manifests(paths.best)] == ["step-00000005.json"]


def write_npz(path: Path, images: Any, labels: Any) -> dict[str, Any]:
    import numpy as np

    np.savez(path, images=images, labels=labels)
    return {"source": f"npz:{path}"}


def flat_sets() -> dict[str, tuple[Any, Any]]:
    """Six sets of images that have little in them, (N, H, W, C) and labels."""
    import numpy as np

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (60, 28, 28, 3), dtype=np.uint8)
    constant_channel = noise.copy()
    constant_channel[..., 1] = 77
    labels = np.arange(60) % 3
    one_colour = np.broadcast_to(rng.integers(0, 256, (60, 1, 1, 3), dtype=np.uint8), noise.shape).copy()
    return {
        "black": (np.zeros_like(noise), labels),
        "white": (np.full_like(noise, 255), labels),
        "one constant channel": (constant_channel, labels),
        "each image of one colour": (one_colour, labels),
        "all images alike": (np.broadcast_to(noise[:1], noise.shape).copy(), labels),
        "one class": (noise, np.zeros(60, dtype=np.int64)),
    }


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("name", list(flat_sets()))
def test_images_with_little_in_them(tmp_path: Path, name: str) -> None:
    """C3: trained with finite numbers, or refused in a sentence."""
    data = write_npz(tmp_path / "set.npz", *flat_sets()[name])
    try:
        found = tiny.go(
            tmp_path / "runs", data=data, epochs=1, checkpoint_every="9 steps", validate_every="1 epoch"
        )
    except tiny.ConvscopeError as refusal:
        assert name == "one class"
        assert "class" in str(refusal) and str(refusal).endswith(".")
        return
    assert all(math.isfinite(record["val_loss"]) for record in found.metrics)
    result = found.result
    assert result is not None and math.isfinite(result["final"]["loss"])


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("net", "images"),
    [("lenet", 37), *(pytest.param(n, i, marks=pytest.mark.slow) for n in tiny.NETS for i in (37, 72))],
)
def test_a_last_batch_of_one_joins_its_neighbour(tmp_path: Path, net: str, images: int) -> None:
    """C7: 33 training images in batches of 32, and 65 in two, with batch norm."""
    steps: list[dict[str, Any]] = []
    with tiny.traced(steps.append):
        tiny.go(tmp_path, net, images=images, epochs=1, validate_every="1 epoch")
    sizes = [len(step["which"]) for step in steps]
    assert sizes == {37: [33], 72: [32, 33]}[images]
    assert run.RunPaths(tiny.directory(tmp_path)).result.is_file()
