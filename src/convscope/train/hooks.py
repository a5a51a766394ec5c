"""What happens between steps: stopping, checkpoints, validation, progress.

A hook is called at every moment (see loop.py) with the session.  The order
matters: a checkpoint is the state before validation, so a run continued from
it validates again and writes the same line.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from convscope.core import records
from convscope.core.errors import Diverged, Interrupted
from convscope.core.records import RunPaths
from convscope.data import Data, Normaliser
from convscope.evaluate.metrics import is_better, score
from convscope.evaluate.predict import logits

from . import signals
from .checkpoint import write_best, write_checkpoint
from .events import Progressed, Saved, Validated, Watch
from .loop import Hook, Session, Tally


def every(steps: int, *hooks: Hook) -> Hook:
    """Run hooks every so many steps (not before the first), and at the end."""

    def run(session: Session) -> None:
        if session.step > 0 and (session.step % steps == 0 or session.step == session.total):
            for hook in hooks:
                hook(session)

    return run


class Stopwatch:
    """Adds up the time spent; a clock that is set back or forth does not matter."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def __call__(self, session: Session) -> None:
        """Add the time since the last moment to the session."""
        now = time.perf_counter()
        session.seconds += now - self._last
        self._last = now


class Checkpoints:
    """Writes a checkpoint when one is due, at the end, and when a signal asks the run to stop."""

    def __init__(
        self,
        interval: tuple[float, str],
        paths: RunPaths,
        card: dict[str, Any],
        request: signals.Request,
        watch: Watch,
    ) -> None:
        self.amount, self.unit = interval
        self.paths, self.card, self.request, self.watch = paths, card, request, watch
        self._written: int | None = None
        self._at = time.monotonic()

    def __call__(self, session: Session) -> None:
        """Write if due; then stop if asked.

        Raises:
            Interrupted: a signal came; the checkpoint is on the disk.
        """
        if self._written is None:  # the first moment: a fresh start, or the checkpoint just read
            self._written = session.step
        if self.request.number or self._due(session):
            self.write(session)
        self.stop_if_asked(session)

    def stop_if_asked(self, session: Session) -> None:
        """Also called between batches of validation; validation changes nothing until it is complete."""
        if not self.request.number:
            return
        self.write(session)
        raise Interrupted(
            f"Stopped at step {session.step} of {session.total}; the checkpoint is written. "
            f"Continue with: convscope resume {self.paths.root}",
            self.request.number,
        )

    def _due(self, session: Session) -> bool:
        if session.step == session.total:
            return True
        if self.unit == "step":
            return session.step % max(1, round(self.amount)) == 0
        return time.monotonic() - self._at >= self.amount

    def write(self, session: Session) -> None:
        """Write unless the state of this moment is on the disk already."""
        if session.step == self._written:
            return
        write_checkpoint(session, self.paths, self.card)
        self._written = session.step
        self._at = time.monotonic()
        self.watch(Saved(session.step))


class Validation:
    """Scores the validation split, appends a line to metrics.jsonl and keeps the best weights.

    Where nothing is held out, the line tells of training alone, and no weights are the best.
    """

    def __init__(
        self,
        data: Data,
        normalise: Normaliser,
        paths: RunPaths,
        card: dict[str, Any],
        check: Callable[[Session], None],
        watch: Watch,
    ) -> None:
        self.data, self.normalise, self.paths, self.card = data, normalise, paths, card
        self.check, self.watch = check, watch

    def __call__(self, session: Session) -> None:
        """Score, record, keep.

        Raises:
            Diverged: the loss on the validation split is not finite.
            Interrupted: a signal came meanwhile.
        """
        record = training_record(session)
        if len(self.data.val):
            record |= self._scored(session)
        measure = session.recipe.select
        key = f"val_{measure}"
        is_best = key in record and (
            session.best is None or is_better(measure, record[key], session.best[key])
        )
        if is_best:
            write_best(session, self.paths, self.card)
            session.best = record
        records.append(self.paths.metrics, record)
        session.tally = Tally()
        self.watch(Validated(record, is_best))

    def _scored(self, session: Session) -> records.Record:
        output = logits(session.shown, self.data.val, self.normalise, check=lambda: self.check(session))
        scores = score(output, self.data.val.labels)
        if not math.isfinite(scores.loss):
            raise Diverged(
                f"Step {session.step} (epoch {session.epoch:.2f}): the validation loss is {scores.loss:g}. "
                f"It was not taken for the best, and the last checkpoint is finite. Try a smaller --lr."
            )
        measure = session.recipe.select
        return {
            "val_loss": scores.loss,
            "val_accuracy": scores.accuracy,
            "val_correct": scores.correct,
            "val_images": scores.images,
            f"val_{measure}": getattr(scores, measure),
        }


def training_record(session: Session) -> records.Record:
    """What a line of metrics.jsonl says of the steps since the last one."""
    tally = session.tally
    return {
        "step": session.step,
        "epoch": round(session.epoch, 6),
        "train_loss": tally.loss / tally.images if tally.images else None,
        "train_accuracy": tally.correct / tally.images if tally.images else None,
        "lr": session.rate() if session.step < session.total else 0.0,
        "seconds": round(session.seconds, 3),
    }


class EarlyStop:
    """Ends the run at a validation when there have been no better weights for some epochs.

    A function of the step and the best record, which are in the checkpoint, so a continued run stops at
    the same moment.  Epochs with smaller images do not count: what is scored then says little.
    """

    def __init__(self, epochs: float, checkpoints: Checkpoints) -> None:
        self.epochs, self.checkpoints = epochs, checkpoints

    def before(self, session: Session) -> None:
        """Where this validation may be the last one, write the checkpoint that ends any run.

        Before the validation, as every checkpoint: a run continued from it validates again.
        """
        if self._is_due(session):
            self.checkpoints.write(session)

    def __call__(self, session: Session) -> None:
        """Stop if it is time."""
        session.stopped = self._is_due(session)

    def _is_due(self, session: Session) -> bool:
        if session.best is None or session.step >= session.total:
            return False
        best: float = session.best["epoch"]
        return session.epoch - max(best, session.small_until / session.batches.per_epoch) >= self.epochs


class Progress:
    """Reports speed and the time that is left, a few times per second at most."""

    def __init__(self, watch: Watch, interval_s: float = 0.25) -> None:
        self.watch, self.interval_s = watch, interval_s
        self._at, self._step = time.monotonic(), -1
        self._rate = 0.0  # full-size steps per second

    def __call__(self, session: Session) -> None:
        """Report if enough time has passed."""
        now = time.monotonic()
        if self._step < 0:
            self._at, self._step = now, session.step
            return
        passed = now - self._at
        if passed < self.interval_s and session.step < session.total:
            return
        steps, work = session.step - self._step, session.work(self._step, session.step)
        self._at, self._step = now, session.step
        if not steps or passed <= 0:
            return
        # A moving average: one slow step must not throw the estimate.
        self._rate = work / passed if self._rate == 0 else 0.8 * self._rate + 0.2 * work / passed
        images = self._rate * steps / work * session.recipe.batch_size
        left = session.work(session.step, session.total) / self._rate
        self.watch(Progressed(session.step, session.total, session.epoch, images, left))
