"""How good is a recipe when every image is held out once?

k-fold cross-validation: k runs, each a network of its own that never sees the
part it is scored on, so nothing leaks (E4.5).  Each is an ordinary run in a
directory of its own: killed, it is continued; finished, it is found.

    N  images of the pool, training and validation together      K  classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from convscope.core.config import RunConfig
from convscope.core.errors import ConfigError
from convscope.core.intervals import student
from convscope.data import ImageSet
from convscope.data.divide import refuse_contradictions
from convscope.evaluate.predict import predict_images
from convscope.evaluate.runs import Run

from .events import Watch, unwatched
from .prepare import Place
from .run import catalogued, run


def holding_out(config: RunConfig, fold: int) -> RunConfig:
    """The same configuration with one part held out."""
    return config.model_copy(update={"data": config.data.model_copy(update={"fold": fold})})


def refuse_unfoldable(config: RunConfig) -> None:
    """Refuse what cannot be cross-validated, before any image is read.

    Raises:
        ConfigError: fewer than two folds, settings that contradict folds, or an option nobody knows.
    """
    if not config.data.folds:
        raise ConfigError("Cross-validation needs a number of parts: give --folds, such as --folds 5.")
    catalogued(config)
    refuse_contradictions(holding_out(config, 0).data)


def cross_validate(config: RunConfig, place: Place, watch: Watch = unwatched) -> list[Run]:
    """Train one network per part, each from the start of the same seed.

    Args:
        config: with `data.folds` parts; `data.fold` is not looked at.
        place: where the runs are put.
        watch: called with the events of each run, one after another.

    Returns:
        The runs, in the order of the parts they hold out.

    Raises:
        ConfigError: see `refuse_unfoldable`.

    Reference:
        S4.5, E4.5.
    """
    refuse_unfoldable(config)
    return [run(holding_out(config, fold), place, watch) for fold in range(config.data.folds)]


@dataclass(frozen=True)
class CrossValidated:
    """What k runs say together."""

    accuracies: tuple[float, ...]
    """Of the final weights on the part each run held out; fractions."""

    @property
    def mean(self) -> float:
        """The mean of the k accuracies."""
        return fmean(self.accuracies)

    def __str__(self) -> str:
        low, high = (min(max(end, 0.0), 1.0) for end in student(self.accuracies))
        return (
            f"Mean validation accuracy of the final weights: {self.mean:.2%} [{low:.2%}, {high:.2%}] "
            f"(Student 95 %, n = {len(self.accuracies)} folds, one network each). The networks share most of "
            f"their training images, so the interval is a little too narrow."
        )


def accuracies(runs: Sequence[Run]) -> CrossValidated:
    """What finished runs, one per fold, got right on their own part.

    The final weights count: the best ones were chosen on the very images that would score them.

    Reference:
        Bengio, Grandvalet (2004), No Unbiased Estimator of the Variance of K-Fold Cross-Validation.
    """
    found = []
    for each in runs:
        result = each.result
        assert result is not None  # cross_validate returns runs that have ended
        found.append(result["final"]["accuracy"])
    return CrossValidated(tuple(found))


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What networks say about images that they did not learn from."""

    images: ImageSet
    """The pool: every image that any of the runs held out, in the order of the source."""
    probabilities: np.ndarray
    """float32, (N, K): of each image by the network that held it out."""

    @property
    def names(self) -> list[str]:
        """The file of each image, or its number among the images of the source."""
        return list(self.images.files) or [f"image {row}" for row in self.images.rows.tolist()]


def out_of_fold(
    runs: Sequence[Run], *, data_dir: Path | None = None, cache_dir: Path | None = None
) -> OutOfFold:
    """Probabilities of every image of the pool, each by the network that was not trained on it.

    Args:
        runs: finished, one per fold of the same configuration.
        data_dir: where named data sets are looked for first.
        cache_dir: where decoded pixels are kept.

    Raises:
        ConfigError: runs that together hold an image out twice, or not at all.
    """
    parts, found, pool = [], [], 0
    for each in runs:
        data = each.data(data_dir=data_dir, cache_dir=cache_dir)
        # The final weights, not the best, which were chosen on these images.
        said = predict_images(each.model("last"), each.card("last"), data.val)
        parts.append(data.val)
        found.append(said.probabilities)
        pool = len(data.train) + len(data.val)
    rows = torch.cat([part.rows for part in parts])
    different = len(set(rows.tolist()))
    if len(rows) != pool or different != pool:
        raise ConfigError(
            f"These {len(runs)} runs hold out {different:,} of the {pool:,} images, {len(rows):,} counting "
            f"repeats. Give one run for each fold of one configuration."
        )
    order = torch.argsort(rows)
    files = [name for part in parts for name in part.files]
    images = replace(
        parts[0],
        rows=rows[order],
        labels=torch.cat([part.labels for part in parts])[order],
        files=tuple(files[i] for i in order.tolist()) if files else (),
    )
    return OutOfFold(images, np.concatenate(found)[order.numpy()])
