"""What does a run say about these images, wherever they are?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convscope.core.errors import SealedSplit
from convscope.data import Data

from .predict import Predictions, predict_files, predict_images
from .runs import Run, Which, open_run
from .sealed import opened

SPLITS = ("train", "val", "test", "unlabelled")


def predict(
    run: Run | str | Path,
    source: str | Path | Sequence[str | Path],
    *,
    weights: Which = "best",
    data: Data | None = None,
    command: str = "",
) -> Predictions:
    """Predict image files, folders of them, or a split of the run's own data set.

    Args:
        run: a run or its directory.
        source: a file, a folder, a list of those, or the name of a split: train, val, unlabelled, test.
            Predicting `test` opens the sealed split and is recorded like any opening.
        weights: `best` on validation (by `select`), or `last`.
        data: the run's data set, if it is loaded already; only for splits.
        command: what the user typed, for the ledger of test openings.

    Returns:
        One prediction per image: files sorted by relative path, splits in their own order.

    Raises:
        DataMissing, BadImages: paths that are not there or not images.
        SealedSplit: the test split of a run that has not ended, or a split the data set does not have.
    """
    found = run if isinstance(run, Run) else open_run(run)
    weights = found.chosen(weights)
    model, card = found.model(weights), found.card(weights)
    if not isinstance(source, str) or source not in SPLITS:
        given = [source] if isinstance(source, str | Path) else source
        return predict_files(model, card, [Path(path) for path in given])
    chosen = data or found.data()
    if source == "test":
        images = opened(found, chosen, purpose=f"predictions of the {weights} weights", command=command)
        return predict_images(model, card, images)
    splits = {"train": chosen.train, "val": chosen.val, "unlabelled": chosen.unlabelled}
    images_of = splits[source]
    if images_of is None:
        raise SealedSplit(f"{chosen.name} has no unlabelled images.")
    return predict_images(model, card, images_of)
