"""How does a diagnostic look at a network that is learning?

`--inspect weights --inspect-every "100 steps"` looks at step 0, every 100
steps, and at the end.  It looks at a copy, and what it draws comes from a
stream of its own, so the run's numbers are those of a run without it.  Without
`--inspect` there is no hook at all.
"""

import math
import time

from convscope.core import catalog, records
from convscope.core.config import Choice
from convscope.data import Normaliser
from convscope.evaluate.subject import Moment, Result, subject_of

from .loop import Session
from .prepare import Job


class Inspection:
    """Adds a line to inspections.jsonl at every look, and writes what the diagnostic found to inspections/.

    A line has the result's plain numbers and what the look cost in seconds.  A run continued from a checkpoint
    looks again at that moment and writes the same line.
    """

    def __init__(self, choice: Choice, steps: int, job: Job, normalise: Normaliser) -> None:
        self.name = choice.name
        self.options = choice.options
        self.steps = steps
        self.job, self.normalise = job, normalise

    def __call__(self, session: Session) -> None:
        """Look, if it is time."""
        if session.step % self.steps and session.step != session.total:
            return
        started = time.perf_counter()
        paths, config = self.job.paths, self.job.config
        rate = session.rate() if session.step < session.total else 0.0
        subject = subject_of(
            session.model,
            self.job.data,
            self.normalise,
            f"{config.model.name} on {config.data.kind}, step {session.step}",
            streams=session.streams,
            recipe=session.recipe,
            moment=Moment(session.step, session.epoch, rate, session.batch),
        )
        result: Result = catalog.call("diagnostics", self.name, self.options, subject=subject)
        result.save(paths.inspections.with_suffix("") / f"{self.name}-{session.step:08}")
        numbers = {
            name: value if math.isfinite(value) else str(value) for name, value in result.scalars().items()
        }
        record = {"step": session.step, "epoch": round(session.epoch, 6), "diagnostic": self.name, **numbers}
        seconds = round(time.perf_counter() - started, 3)
        records.append(paths.inspections, {**record, "seconds": seconds})
