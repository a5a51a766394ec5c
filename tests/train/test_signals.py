"""A run that is asked to stop writes a checkpoint and says how to go on: row A5."""

import os
import random
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from convscope.core import snapshot
from convscope.core.errors import Interrupted
from convscope.train import hooks, loop, signals
from convscope.train.events import Saved

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


def interrupt_at(root: Path, number: signal.Signals, step: int) -> tuple[Interrupted, list[Any]]:
    """Send a signal in the middle of a step, and give what came of it."""
    events: list[Any] = []
    original = loop.set_rate
    with pytest.MonkeyPatch.context() as patch:

        def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
            nonlocal step
            if step == 0:
                os.kill(os.getpid(), number)
            step -= 1
            original(optimizer, rate)

        patch.setattr(loop, "set_rate", set_rate)
        with pytest.raises(Interrupted) as error:
            tiny.go(root, watch=events.append, **tiny.SHORTER)
    return error.value, events


def check_interrupted(root: Path, number: signal.Signals, step: int, straight: dict[str, str]) -> None:
    before = {n: signal.getsignal(n) for n in CODES}
    error, events = interrupt_at(root, number, step)
    assert {n: signal.getsignal(n) for n in CODES} == before
    # The step in which the signal came is finished, and no other is begun.
    assert str(error) == (
        f"Stopped at step {step + 1} of 12; the checkpoint is written. "
        f"Continue with: convscope resume {tiny.directory(root)}"
    )
    assert error.exit_code == CODES[number]
    assert Saved(step + 1) in events
    found, refused = snapshot.newest(tiny.directory(root) / "checkpoints")
    assert found is not None and found.step == step + 1 and not refused
    tiny.go(root, **tiny.SHORTER)
    # Which checkpoint is the last but one differs: the signal asked for one.
    assert {**tiny.digest(root), "kept": ""} == {**straight, "kept": ""}


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(("number", "step"), [(signal.SIGINT, 6), (signal.SIGTERM, 3)])
def test_a_signal_stops_after_the_step(
    straight: dict[str, str], tmp_path: Path, number: signal.Signals, step: int
) -> None:
    check_interrupted(tmp_path, number, step, straight)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("number", list(CODES))
def test_twenty_signals(straight: dict[str, str], tmp_path: Path, number: signal.Signals) -> None:
    dice = random.Random(number)
    for repeat in range(20):
        check_interrupted(tmp_path / f"{repeat}", number, dice.randrange(11), straight)


@pytest.mark.usefixtures("cheap")
def test_a_signal_during_validation_stops_before_its_next_batch(
    straight: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation may take minutes; a checkpoint is the state before it, so it can be made anew."""
    original, batches = hooks.logits, []

    def logits(model: Any, images: Any, normalise: Any, *, check: Any) -> torch.Tensor:
        def noted() -> None:
            batches.append(None)
            if len(batches) == 2:
                os.kill(os.getpid(), signal.SIGINT)
            check()

        return original(model, images, normalise, batch=10, check=noted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks, "logits", logits)
        with pytest.raises(Interrupted, match=r"^Stopped at step 5 of 12; "):
            tiny.go(tmp_path, **tiny.SHORTER)
    assert len(batches) == 2
    assert not (tiny.directory(tmp_path) / "metrics.jsonl").exists()
    tiny.go(tmp_path, **tiny.SHORTER)
    assert tiny.digest(tmp_path) == straight


@pytest.mark.usefixtures("cheap")
def test_a_signal_at_a_checkpoint_writes_no_second_one(tmp_path: Path) -> None:
    error, events = interrupt_at(tmp_path, signal.SIGINT, 7)
    assert str(error).startswith("Stopped at step 8 of 12; ")
    assert events.count(Saved(8)) == 1


@pytest.mark.usefixtures("cheap")
def test_another_thread_notes_no_signal(tmp_path: Path) -> None:
    """Only the main thread may install handlers; training in another one must still work."""
    thread = threading.Thread(target=tiny.go, args=(tmp_path,), kwargs=tiny.SHORTER)
    thread.start()
    thread.join()
    assert (tiny.directory(tmp_path) / "result.json").is_file()


def wait_for_a_checkpoint(root: Path) -> None:
    deadline = time.monotonic() + 60
    while not list(root.glob("*/seed-*/checkpoints/*.json")):
        assert time.monotonic() < deadline, tiny.said(root)
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.slow) for n in CODES)])
def test_a_real_process_ends_with_the_right_code_in_two_seconds(
    nursery: tiny.Nursery, tmp_path: Path, number: signal.Signals
) -> None:
    pid = nursery.start(tmp_path, epochs=300)
    wait_for_a_checkpoint(tmp_path)
    sent = time.monotonic()
    os.kill(pid, number)
    assert nursery.wait(pid) == CODES[number]
    assert time.monotonic() - sent < 2
    assert tiny.said(tmp_path, pid).startswith("Stopped at step ")


def test_the_second_signal_ends_the_process_at_once(nursery: tiny.Nursery, tmp_path: Path) -> None:
    """Between the two the run may have had no moment to stop: here it is stopped by SIGSTOP."""
    pid = nursery.start(tmp_path, epochs=300)
    wait_for_a_checkpoint(tmp_path)
    os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGCONT)
    # Both are pending when it wakes, so the second handler runs before the run has reached a moment.
    assert nursery.wait(pid) in (-signal.SIGINT, -signal.SIGTERM)
    assert tiny.said(tmp_path, pid) == ""
    found, _ = snapshot.newest(tiny.directory(tmp_path) / "checkpoints")
    assert found is not None


def test_what_a_request_is() -> None:
    with signals.noted() as request:
        assert request.number == 0
        os.kill(os.getpid(), signal.SIGTERM)
        assert request.number == signal.SIGTERM
