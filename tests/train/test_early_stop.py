"""Stopping early: when, with what, and at the same moment whatever happened before. Rows A8, G1 and G4."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import tiny

from convscope.core import records
from convscope.core.errors import UnknownName
from convscope.evaluate.metrics import HIGHER_IS_BETTER, Scores, is_better
from convscope.train import hooks

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
    run = tiny.go(tmp_path, early_stop=patience)
    assert run.result is not None
    assert run.result["steps"] == run.snapshot("last").step == steps
    assert run.result["ended"] == ("last step" if steps == tiny.STEPS else "early stop")
    assert [record["step"] for record in run.metrics] == [s for s in (4, 8, 12, 16, 20, 24, 27) if s <= steps]
    assert run.snapshot("best").step == (8 if steps < 24 else 24)


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
                run = tiny.go(tmp_path / "killed", early_stop=1.2, checkpoint_every="1 steps")
                break
            except tiny.Crash:
                continue
    assert run.result is not None and wanted.result is not None
    assert run.result["steps"] == wanted.result["steps"] == 20
    assert tiny.digest(tmp_path / "killed") == tiny.digest(tmp_path / "whole")


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
    run = tiny.go(tmp_path, select="loss")
    assert run.result is not None
    assert run.result["best"]["val_loss"] == min(record["val_loss"] for record in run.metrics)
