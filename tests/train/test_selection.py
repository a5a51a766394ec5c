"""The best weights are the best, the test split is not looked at: rows D9, D10, G2 and H1."""

import functools
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from convscope.core import records, snapshot
from convscope.core.config import Recipe
from convscope.core.errors import ConfigError, SealedSplit
from convscope.core.records import RunPaths
from convscope.data import augment, batches, load_config
from convscope.data.images import Sealed
from convscope.evaluate.runs import open_run
from convscope.evaluate.scoring import evaluate, evaluate_on
from convscope.evaluate.sealed import open_test
from convscope.train import checkpoint, hooks, run
from convscope.train.events import unwatched


class Fake:
    """Stands for a session whose validation results are dictated; its only weight is its step."""

    def __init__(self, correct: Sequence[int], every: int, paths: RunPaths) -> None:
        self.model = nn.Linear(1, 1, bias=False)
        self.optimizer = SimpleNamespace(state={})
        self.step, self.total, self.epoch, self.seconds = 0, len(correct), 0.0, 0.0
        self.tally, self.best = hooks.Tally(), None
        self.correct, self.every, self.paths = correct, every, paths
        self.shown, self.ema, self.recipe, self.parts = self.model, None, Recipe(), 1
        self.validation = hooks.Validation(
            SimpleNamespace(val=range(100)), None, paths, {}, lambda s: None, unwatched
        )  # type: ignore[arg-type]
        self.validation._scored = lambda session: self.scored()  # type: ignore[method-assign]

    def rate(self) -> float:
        return 0.1

    def scored(self) -> dict[str, float]:
        right = self.correct[self.step - 1]
        return {"val_loss": 1.0, "val_accuracy": right / 100, "val_correct": right, "val_images": 100}

    def go(self, until: int) -> None:
        """Validate at every step, write a checkpoint at some: in the order of the loop's hooks."""
        while self.step < until:
            self.step += 1
            self.model.weight.data.fill_(self.step)
            if self.step % self.every == 0 or self.step == self.total:
                checkpoint.write_checkpoint(self, self.paths, {})  # type: ignore[arg-type]
            self.validation(self)  # type: ignore[arg-type]

    def resume(self) -> None:
        found, _ = snapshot.newest(self.paths.checkpoints)
        if found:
            checkpoint.restore(self, found, self.paths)  # type: ignore[arg-type]
            self.validation(self)  # type: ignore[arg-type]
        else:
            self.step, self.best, self.tally = 0, None, hooks.Tally()
            records.rewind(self.paths.metrics, 0)


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("count", [60, pytest.param(500, marks=pytest.mark.slow)])
def test_best_and_last_survive_any_sequence_of_results(tmp_path: Path, count: int) -> None:
    """G2: after every kill and at the end, the best weights kept are those of the highest result so far."""
    dice = random.Random(count)
    for number in range(count):
        paths = RunPaths(tmp_path / f"{number}")
        length = dice.randint(1, 9)
        correct = [dice.randint(0, 4) for _ in range(length)]
        session = Fake(correct, dice.randint(1, 3), paths)
        # Die somewhere, continue, and finish.
        session.go(dice.randint(0, length))
        session = Fake(correct, session.every, paths)
        session.resume()
        session.go(length)
        checkpoint.keep_best(session, paths)  # type: ignore[arg-type]
        # The first of the best: a later equal one is no improvement.
        first_best = 1 + max(range(length), key=lambda i: (correct[i], -i))
        (manifest,) = snapshot.manifests(paths.best)
        best = snapshot.load(manifest)
        assert best.step == first_best, (correct, session.every)
        assert best.tensors["model/weight"].item() == first_best
        last, refused = snapshot.newest(paths.checkpoints)
        assert last is not None and last.step == length and not refused
        assert last.tensors["model/weight"].item() == length
        assert len(snapshot.manifests(paths.checkpoints)) <= checkpoint.KEPT
        assert [r["val_correct"] for r in records.read(paths.metrics)] == correct


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    with tiny.cheap():
        tiny.go(root)
    return tiny.directory(root)


def test_the_best_weights_from_the_file_give_the_recorded_number(trained: Path) -> None:
    """G2 and H1: exactly, in correct images and in the last bit of the loss."""
    found = open_run(trained)
    result = found.result
    assert result is not None
    best = max(found.metrics, key=lambda record: (record["val_correct"], -record["step"]))
    assert result["best"]["step"] == best["step"] == found.snapshot("best").step
    for weights, expected in (("best", best), ("last", found.metrics[-1])):
        scores = evaluate(found, weights=weights)  # type: ignore[arg-type]
        assert (scores.correct, scores.images) == (expected["val_correct"], expected["val_images"])
        assert scores.loss == expected["val_loss"]
    # Vacuous if all weights were equally good.
    assert len({record["val_correct"] for record in found.metrics}) > 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_another_process_elsewhere_reproduces_the_accuracy(tmp_path: Path, seed: int) -> None:
    """H1: ten trained models, each moved and opened by a fresh process in another folder; difference 0."""
    net = list(tiny.NETS)[seed % 3]
    with tiny.cheap():
        found = tiny.go(tmp_path / "runs", net, seed=seed)
    moved = found.root.rename(tmp_path / "moved")
    code = (
        "import json, sys\n"
        "from convscope.evaluate.scoring import evaluate\n"
        "s = evaluate(sys.argv[1])\n"
        "print(json.dumps([s.correct, s.images, s.loss]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(moved)], cwd="/", capture_output=True, text=True, check=True
    )
    result = records.read_json(RunPaths(moved).result)
    assert json.loads(done.stdout)[0] == result["best"]["val_correct"]
    assert json.loads(done.stdout)[2] == pytest.approx(result["best"]["val_loss"], rel=1e-6)


def test_the_card_carries_what_the_weights_need(trained: Path) -> None:
    """H1."""
    found = open_run(trained)
    card = found.card()
    data = load_config(found.config.data)
    assert card.classes == data.classes
    assert (card.channels, card.height, card.width) == (1, 28, 28)
    assert (card.mean, card.std) == (data.mean, data.std)
    assert card.data["hash"] == data.hash
    assert card.model == {"name": "lenet5", **found.config.model.options}
    assert card.versions == {"torch": torch.__version__}
    assert set(card.model) == {
        "name",
        "activation",
        "norm",
        "dropout",
        "conv_dropout",
        "separable",
        "init",
        "version",
    }


@pytest.mark.usefixtures("cheap")
def test_validation_images_are_never_augmented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D9: augmentation is asked for at training steps only, and two passes agree to the bit."""
    inside = []
    original_logits, original_at = hooks.logits, batches.Batches.at
    calls: list[str] = []

    augment_flip = augment.flip

    @functools.wraps(augment_flip)  # so that it asks for what the original asks for
    def spy(*given: Any, **named: Any) -> torch.Tensor:
        calls.append(inside[-1] if inside else "elsewhere")
        return augment_flip(*given, **named)

    def at(self: batches.Batches, step: int) -> Any:
        inside.append("training")
        try:
            return original_at(self, step)
        finally:
            inside.pop()

    passes = []

    def logits(model: nn.Module, *given: Any, **named: Any) -> torch.Tensor:
        inside.append("validation")
        first = original_logits(model, *given, **named)
        passes.append(torch.equal(first, original_logits(model, *given, **named)))
        inside.pop()
        return first

    monkeypatch.setattr(augment, "flip", spy)
    monkeypatch.setattr(batches.Batches, "at", at)
    monkeypatch.setattr(hooks, "logits", logits)
    monkeypatch.setattr(run, "logits", logits)
    tiny.go(tmp_path, **tiny.SHORTER)
    assert set(calls) == {"training"} and len(calls) >= tiny.SHORT
    assert len(passes) == 5 and all(passes)


@pytest.mark.usefixtures("cheap")
def test_training_never_opens_the_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D10."""

    def refuse(self: Sealed, record: Any) -> Any:
        raise AssertionError("the test split was opened")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sealed, "open", refuse)
        found = tiny.go(tmp_path, **tiny.SHORTER)
        assert evaluate(found).images == 30
    assert found.openings == []


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_openings_are_counted_over_twelve_runs(tmp_path: Path) -> None:
    """D10: whichever run looks, the count is that of the data."""
    for number in range(12):
        found = tiny.go(tmp_path, seed=number, **tiny.SHORTER)
        _, count = open_test(found, found.data())
        assert count == number + 1
    assert len(records.read(found.paths.openings)) == 12


@pytest.mark.usefixtures("cheap")
def test_the_test_split_of_an_unfinished_run_stays_sealed(tmp_path: Path) -> None:
    def die(event: object) -> None:
        raise tiny.Crash

    with pytest.raises(tiny.Crash):
        tiny.go(tmp_path, watch=die, **tiny.SHORTER)
    found = open_run(tiny.directory(tmp_path))
    with pytest.raises(SealedSplit) as error:
        open_test(found, load_config(found.config.data))
    assert str(error.value) == (
        f"The test split stays sealed: {found.root} has not ended. It is opened once, when all is decided; "
        f"until then `convscope evaluate` scores the validation split."
    )
    assert replace(found) == found and not found.paths.openings.exists()


@pytest.mark.usefixtures("cheap")
def test_the_set_a_run_was_trained_on_is_not_another_set(tmp_path: Path) -> None:
    """D10: its test images were drawn from it, so scoring the whole set would score them without a record."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (60, 28, 28), dtype=np.uint8), np.arange(60) % 3
    np.savez(tmp_path / "set.npz", images=images, labels=labels)
    np.savez(tmp_path / "other.npz", images=images[::-1], labels=labels)
    trained = tiny.go(tmp_path, data={"source": f"npz:{tmp_path / 'set.npz'}"}, epochs=1)
    assert evaluate_on(trained, f"npz:{tmp_path / 'other.npz'}").images == 60
    with pytest.raises(ConfigError) as error:
        evaluate_on(trained, f"npz:{tmp_path / 'set.npz'}")
    assert str(error.value) == (
        f"npz:{tmp_path / 'set.npz'} is what {trained.root} was trained on, and its sealed test images are among these. "
        f"Score its validation or training images with --split, and the test images, once, with `convscope test`."
    )
