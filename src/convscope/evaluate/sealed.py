"""How is a test split opened, and who knows that it was?

Only for a run that has ended, only here, and never without a line in the
ledger of the results root, written before the first image is read.  The
ledger counts openings per content hash of the data, over all runs there:
looking twice at one test split is visible whichever runs looked.
"""

import time

from convscope.core import records
from convscope.core.errors import SealedSplit
from convscope.data import Data, ImageSet

from .metrics import Scores
from .runs import Run, Which
from .scoring import score_images


def open_test(run: Run, data: Data, *, weights: Which = "best", command: str = "") -> tuple[Scores, int]:
    """Score the test split with weights that were chosen on validation.

    Args:
        run: a run that has ended.
        data: its data set, from `run.data()`.
        weights: which of the run's weights.
        command: what the user typed, for the ledger.

    Returns:
        The scores, and how often this data's test split has been opened by now.

    Raises:
        SealedSplit: the run has not ended, it diverged, or there is no test split.
    """
    weights = run.chosen(weights)
    images = opened(run, data, purpose=f"score of the {weights} weights", command=command)
    return score_images(run, images, weights), len(run.openings)


def opened(run: Run, data: Data, *, purpose: str, command: str = "") -> ImageSet:
    """The test images, after the opening was written down.

    Raises:
        SealedSplit: the run has not ended, it diverged, or there is no test split.
    """
    result = run.result
    if result is None or result["status"] != "finished":
        state = "has not ended" if result is None else f"ended as {result['status']}"
        raise SealedSplit(
            f"The test split stays sealed: {run.root} {state}. It is opened once, when all is decided; "
            f"until then `convscope evaluate` scores the validation split."
        )
    if len(data.test) == 0:
        raise SealedSplit(f"{data.name} has no test split.")
    root = run.root.resolve()

    def record() -> None:
        records.append(
            run.paths.openings,
            {
                "data": data.hash,
                "name": data.name,
                "run": f"{root.parent.name}/{root.name}",
                "purpose": purpose,
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "command": command,
            },
        )

    return data.test.open(record)
