"""Are several trained networks together better than the best of them?

In: runs that were validated on the same images.  Out: what each scores, what the mean of their probabilities
scores, and what a mean with fitted weights scores, all on those validation images.  The test split is not
touched.

    M  members      N  validation images      K  classes
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from convscope.core.config import DataConfig
from convscope.core.errors import ClassMismatch, ConfigError
from convscope.core.records import Claim
from convscope.data import Data, ImageSet

from .averaging import average_weights
from .figures import Figure, figure
from .mixture import cross_fitted, fit_weights, mixture
from .norms import Inputs, reestimate
from .predict import logits
from .runs import Run, Which, open_run
from .scoring import by_name, split_images

How = Literal["uniform", "fitted"]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """What M runs score alone and together, on the same N validation images."""

    runs: tuple[Run, ...]
    members: tuple[Figure, ...]
    """Each run alone, in the order given."""
    uniform: Figure
    """The mean of their probabilities."""
    fitted: Figure | None
    """The weighted mean, each half of the images with weights that were fitted on the other half; None: not
    asked for."""
    weights: tuple[float, ...]
    """Fitted on all N images, which is how they would be used; 1/M each where none were fitted."""
    averaged: Figure | None
    """One network with the mean of all weights; None: not asked for."""
    classes: tuple[str, ...]
    which: Which
    """Which weights of each run."""

    @property
    def best(self) -> Figure:
        """The member with the highest accuracy; the first of several.

        It was picked on these very images, so what an ensemble gains over it is, if anything, understated.
        """
        return max(self.members, key=lambda member: member.scores.correct)

    @property
    def together(self) -> tuple[Figure, ...]:
        """The figures that are not of one member."""
        return tuple(made for made in (self.uniform, self.fitted, self.averaged) if made is not None)

    def claim(self, made: Figure, command: str = "") -> Claim:
        """The accuracy of one of the figures as something that may be shown.

        Args:
            made: one of `together`.
            command: what the user typed.
        """
        claims = [self._member_claim(run, made) for run in self.runs]
        names = ", ".join(dict.fromkeys(run.config.model.name for run in self.runs))
        count = len(self.runs)
        return replace(
            claims[0],
            what=f"{names} on {self.runs[0].config.data.kind}, accuracy of {made.name}",
            n=f"{made.scores.images} images, {count} run{'s' if count > 1 else ''}",
            device="; ".join(dict.fromkeys(claim.device for claim in claims)),
            commit=" ".join(dict.fromkeys(claim.commit for claim in claims)),
            command=command or "; ".join(claim.command for claim in claims),
        )

    def _member_claim(self, run: Run, made: Figure) -> Claim:
        return run.claim(made.scores.correct, made.scores.images, "validation", self.which)


def ensemble(
    runs: Sequence[Run | str | Path],
    *,
    how: How = "fitted",
    weights: Which = "best",
    average: bool = False,
    **where: Any,
) -> Ensemble:
    """Score several runs alone and together on their validation images.

    The probabilities are averaged, not the logits: a member counts by what it says, not by the scale on which
    it says it.  Nothing is trained but the weights of the mean, and those on validation images only.

    Args:
        runs: runs or their directories, each once.
        how: `uniform`, or `fitted` too: weights none below zero and together 1 with the least cross-entropy.
            Their figure is cross-fitted: no image is scored with weights its own label helped to choose.
        weights: `best` on validation (by `select`), or `last`.  The best were picked on these images, which
            flatters members and mixtures alike.
        average: also score one network with the mean of the runs' weights; its batch norms get the statistics
            of the training split in one pass (`norms.reestimate`, `batches`).
        where: data_dir, cache_dir, download.

    Raises:
        ConfigError: no runs, one twice, runs with other validation images or with none, or `average` with
            networks that differ.
        ClassMismatch: runs with other classes.

    Reference:
        S3.89, S3.91 (the mean of softmax outputs).
    """
    if how not in ("uniform", "fitted"):
        raise ConfigError(f"Members are weighted 'uniform' or 'fitted', not {how!r}.")
    members = [run if isinstance(run, Run) else open_run(run) for run in runs]
    _refuse_none_or_twice(members)
    data = _shared_data(members, where)
    images = split_images(members[0], "val", data)
    classes = members[0].card(weights).classes
    labels = by_name(images, classes).labels
    outputs = [logits(run.model(weights), images, run.card(weights).normalise) for run in members]
    figures = [figure(name_of(run), output, labels) for run, output in zip(members, outputs, strict=True)]
    count, fitted = len(members), None
    shares = torch.full((count,), 1 / count, dtype=torch.float64)
    if how == "fitted":
        shares = fit_weights(outputs, labels)
        fitted = figure("the fitted mean, cross-fitted", cross_fitted(outputs, labels), labels, passes=count)
    return Ensemble(
        runs=tuple(members),
        members=tuple(figures),
        uniform=figure("the mean of probabilities", mixture(outputs), labels, passes=count),
        fitted=fitted,
        weights=tuple(shares.tolist()),
        averaged=_averaged(members, data, images, labels, weights) if average else None,
        classes=classes,
        which=weights,
    )


def name_of(run: Run) -> str:
    """A run by the last two parts of its directory."""
    root = run.root.resolve()
    return f"{root.parent.name}/{root.name}"


def _refuse_none_or_twice(members: Sequence[Run]) -> None:
    if not members:
        raise ConfigError("An ensemble needs runs: name the directories of one or more.")
    roots = [run.root.resolve() for run in members]
    for root in roots:
        if roots.count(root) > 1:
            raise ConfigError(f"{root} is named twice. It would count twice in the mean: name each run once.")


def _shared_data(members: Sequence[Run], where: dict[str, Any]) -> Data:
    """The data of the first run, once it is known that all were validated on the same images.

    Raises:
        ClassMismatch, ConfigError: they were not; the message says what differs.
    """
    first = members[0]
    known = first.card().classes
    for run in members[1:]:
        theirs = run.card().classes
        if set(theirs) != set(known):
            odd = sorted(set(theirs) ^ set(known))
            raise ClassMismatch(
                f"The members of an ensemble must know the same classes: {', '.join(map(repr, odd))} "
                f"{'is' if len(odd) == 1 else 'are'} not known to both {first.root} and {run.root}."
            )
        if run.card().data["hash"] != first.card().data["hash"]:
            raise _others(first, run, "their data sets have other contents")
    data = first.data(**where)
    loaded: list[tuple[DataConfig, Data]] = [(first.config.data, data)]
    for run in members[1:]:
        config = run.config.data
        theirs_loaded = next((found for same, found in loaded if same == config), None)
        if theirs_loaded is None:
            theirs_loaded = run.data(**where)
            loaded.append((config, theirs_loaded))
        if not _same(data.val, theirs_loaded.val):
            differing = _differing(first.config.data, config)
            raise _others(first, run, f"the same data set is split in another way ({', '.join(differing)})")
    return data


def _same(images: ImageSet, others: ImageSet) -> bool:
    return torch.equal(images.rows, others.rows) and torch.equal(images.labels, others.labels)


def _differing(config: DataConfig, other: DataConfig) -> list[str]:
    """The settings of the data that differ, with both values."""
    pairs = {name: (getattr(config, name), getattr(other, name)) for name in DataConfig.model_fields}
    return [f"{name}: {ours} and {theirs}" for name, (ours, theirs) in pairs.items() if ours != theirs]


def _others(first: Run, run: Run, why: str) -> ConfigError:
    return ConfigError(
        f"{run.root} was not validated on the same images as {first.root}: {why}. Members are compared and "
        f"combined image by image: train them on one data set with one split."
    )


def _averaged(members: Sequence[Run], data: Data, images: ImageSet, labels: Tensor, weights: Which) -> Figure:
    """One network from all, its batch norms with the statistics of the training split."""
    first = members[0].card(weights)
    for run in members[1:]:
        if run.card(weights).model != first.model:
            raise ConfigError(
                f"Weights can be averaged only between networks of one architecture: {run.root} is "
                f"{_described(run)}, {members[0].root} is {_described(members[0])}."
            )
    mean = average_weights([run.model(weights) for run in members])
    made = reestimate(mean, Inputs(data.train, first.normalise), how="batches")
    return figure("the mean of weights, one network", logits(made, images, first.normalise), labels)


def _described(run: Run) -> str:
    options = ", ".join(f"{key}={value}" for key, value in run.card().model.items() if key != "name")
    return f"{run.card().model['name']} ({options})"
