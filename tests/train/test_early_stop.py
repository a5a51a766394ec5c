"""Stopping early: when, with what, and at the same moment whatever happened before. Rows A8, G1 and G4."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tiny

from convscope.core import records
from convscope.core.errors import UnknownName
from convscope.evaluate.metrics import HIGHER_IS_BETTER, Scores, is_better
from convscope.train import hooks, run

# Validation every 4 of 27 steps; 9 steps are an epoch, so an epoch without better weights is 3 validations.
CORRECT = (10, 12, 11, 12, 12, 13, 9)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Validation number i finds CORRECT[i] of 30 images right, whatever the weights are."""
    original = hooks.Validation._scored

    def scored(self: hooks.Validation, session: hooks.Session) -> records.Record:
        number = -(-session.step // 4) - 1
        found = original(self, session)
        return {**found, "val_correct": CORRECT[number], "val_accuracy": CORRECT[number] / 30}

    monkeypatch.setattr(hooks.Validation, "_scored", scored)
    yield


@pytest.mark.usefixtures("cheap", "scripted")
@pytest.mark.parametrize(("patience", "steps"), [(0.5, 16), (0.9, 20), (1.4, 27), (0.0, 27)])
def test_the_run_ends_after_so_many_epochs_without_better_weights(
    tmp_path: Path, patience: float, steps: int
) -> None:
    """The best is at step 8, epoch 0.89: half an epoch later is step 12.5, so validation 16 ends it. Equal is not better.

    With 1.4 epochs of patience, step 24 (13 correct) comes before step 8 + 12.6 = 20.6 has a validation.
    """
    found = tiny.go(tmp_path, early_stop=patience)
    assert found.result is not None
    assert found.result["steps"] == found.snapshot("last").step == steps
    assert found.result["ended"] == ("last step" if steps == tiny.STEPS else "early stop")
    assert [record["step"] for record in found.metrics] == [
        s for s in (4, 8, 12, 16, 20, 24, 27) if s <= steps
    ]
    assert found.snapshot("best").step == (8 if steps < 24 else 24)


@pytest.mark.usefixtures("cheap", "scripted")
def test_an_early_stopped_run_is_not_trained_again(tmp_path: Path) -> None:
    """A8, three launches."""
    first = tiny.go(tmp_path, early_stop=0.5)

    def no_steps(record: dict[str, object]) -> None:
        raise AssertionError(f"step {record['step']} was made")

    with tiny.traced(no_steps):
        for _ in range(3):
            assert tiny.go(tmp_path, early_stop=0.5).result == first.result


@pytest.mark.usefixtures("cheap", "scripted")
@pytest.mark.parametrize(
    "segment", [pytest.param(n, marks=() if n in (2, 7) else pytest.mark.slow) for n in range(1, 11)]
)
def test_a_run_in_short_segments_stops_at_the_same_step(tmp_path: Path, segment: int) -> None:
    """G4: every launch makes `segment` steps, fewer than the patience of 11 steps, and dies."""
    wanted = tiny.go(tmp_path / "whole", early_stop=1.2, checkpoint_every="1 steps")
    for _ in range(40):
        with tiny.traced(tiny.crash_after(segment)):
            try:
                found = tiny.go(tmp_path / "killed", early_stop=1.2, checkpoint_every="1 steps")
                break
            except tiny.Crash:
                continue
    assert found.result is not None and wanted.result is not None
    assert found.result["steps"] == wanted.result["steps"] == 20
    assert tiny.digest(tmp_path / "killed") == tiny.digest(tmp_path / "whole")


@pytest.mark.usefixtures("cheap", "scripted")
def test_a_death_between_the_stop_and_the_result_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With hours between checkpoints, the one of the stop is all there is; its moment is met again whole."""
    rare = {"early_stop": 0.5, "checkpoint_every": "1000 steps"}
    tiny.go(tmp_path / "whole", **rare)
    with monkeypatch.context() as patched:
        patched.setattr(run, "_finish", lambda *given: (_ for _ in ()).throw(tiny.Crash))
        with pytest.raises(tiny.Crash):
            tiny.go(tmp_path / "killed", **rare)
    tiny.go(tmp_path / "killed", **rare)
    assert tiny.digest(tmp_path / "killed") == tiny.digest(tmp_path / "whole")


@pytest.mark.usefixtures("cheap", "scripted")
def test_the_last_step_is_no_early_stop(tmp_path: Path) -> None:
    """At step 27 no weights have been better for 0.3 epochs, and there is nothing left to stop."""
    found = tiny.go(tmp_path, early_stop=0.3, validate_every="9 steps", epochs=1)
    assert found.result is not None and found.result["ended"] == "last step"


@pytest.mark.usefixtures("cheap")
def test_epochs_with_smaller_images_do_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of nine validations is the best; 14 of 27 steps show smaller images, so patience starts there."""
    original = hooks.Validation._scored

    def scored(self: hooks.Validation, session: hooks.Session) -> records.Record:
        return {**original(self, session), "val_accuracy": 1 / session.step}

    monkeypatch.setattr(hooks.Validation, "_scored", scored)
    found = tiny.go(tmp_path, "resnet", early_stop=0.5, progressive=0.5, validate_every="3 steps")
    assert found.result is not None
    assert found.result["steps"] == 21  # 14 + half an epoch is 18.5


def scores(confusion: Sequence[Sequence[int]], loss: float = 1.0, top5: int = 0) -> Scores:
    rows = tuple(map(tuple, confusion))
    images = sum(map(sum, rows))
    return Scores(images, sum(row[k] for k, row in enumerate(rows)), top5, loss, rows)


@pytest.mark.parametrize("measure", HIGHER_IS_BETTER)
def test_every_measure_says_which_way_is_better(measure: str) -> None:
    """G1: the better of two networks, by a case worked out on paper."""
    good = scores([[8, 2], [1, 3]], loss=0.4, top5=14)
    bad = scores([[9, 1], [3, 1]], loss=0.9, top5=12)
    assert good.accuracy == 11 / 14 and bad.accuracy == 10 / 14
    assert good.balanced_accuracy == pytest.approx((0.8 + 0.75) / 2)
    assert is_better(measure, getattr(good, measure), getattr(bad, measure))
    assert not is_better(measure, getattr(bad, measure), getattr(good, measure))
    assert not is_better(measure, getattr(good, measure), getattr(good, measure))


@pytest.mark.parametrize(
    "name",
    ["acc", "Accuracy", "val_accuracy", "val_loss", "Loss", "error", "f1", "auc", "top1", "top-5", "top_5", "nll", "mse",
     "balanced", "balanced-accuracy", "precision", "recall", "kappa", "", "accuracy "],
)  # fmt: skip
def test_an_unknown_measure_is_an_error(name: str) -> None:
    """G1, 20 names."""
    with pytest.raises(UnknownName) as error:
        is_better(name, 1.0, 0.0)
    assert str(error.value).startswith(f"No measure is called {name!r}.")
    assert str(error.value).endswith(" Known: accuracy, balanced_accuracy, loss, top5.")


@pytest.mark.usefixtures("cheap")
def test_the_weights_are_chosen_by_the_measure_asked_for(tmp_path: Path) -> None:
    found = tiny.go(tmp_path, select="loss")
    assert found.result is not None
    assert found.result["best"]["val_loss"] == min(record["val_loss"] for record in found.metrics)
