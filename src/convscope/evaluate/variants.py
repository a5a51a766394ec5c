"""Does a trained network score better when it is used in another way?

In: a run and labelled images.  Out: the plain figure first, always, and beside it one figure per way: test-time
views, dropout that stays on, batch norms with other statistics.  The run on disk is only read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from convscope.core.errors import ConfigError
from convscope.data import Data, ImageSet

from .dropout import Sampled, sample_dropout
from .figures import Figure, figure
from .norms import Inputs, Statistics, reestimate
from .predict import logits
from .runs import Run, Which, open_run
from .scoring import by_name, split_images
from .views import Viewed, Views


@dataclass(frozen=True, eq=False)
class Variants:
    """One run, used in several ways on the same images."""

    plain: Figure
    others: tuple[Figure, ...]
    sampled: Sampled | None
    """What the samples of dropout say apart from each other; None: not asked for."""


def variants(
    run: Run | str | Path,
    *,
    split: str = "val",
    images: ImageSet | None = None,
    weights: Which = "best",
    views: Views | None = None,
    pixels: int | None = None,
    dropout_samples: int = 0,
    seed: int = 0,
    norm_statistics: Statistics | None = None,
    data: Data | None = None,
) -> Variants:
    """Score a run plainly, and in each of the ways asked for; each way alone, not one on top of the other.

    Args:
        run: a run or its directory.
        split: `val` or `train`; has no meaning where `images` are given.
        images: other labelled images with classes the network knows.
        weights: `best` on validation (by `select`), or `last`.
        views: test-time views (`views.views_of`), or none.
        pixels: how far they are apart, in pixels; absent: `views.reach`.
        dropout_samples: passes with dropout on (`dropout.sample_dropout`); 0: none.
        seed: of what is dropped.
        norm_statistics: how batch norms get the statistics of the training split (`norms.reestimate`); absent:
            they keep their own.
        data: the run's data, if it is loaded already.

    Raises:
        ConfigError: a way this network cannot be used in: dropout it does not have, batch norms it does not have.
        ClassMismatch: a class the network does not know.

    Reference:
        S3.91 (views), S3.31 (dropout), S3.82 (statistics of batch norm).
    """
    found = run if isinstance(run, Run) else open_run(run)
    if data is None and (images is None or norm_statistics):
        data = found.data()
    card, model = found.card(weights), found.model(weights)
    scored = by_name(images if images is not None else split_images(found, split, data), card.classes)
    labels = scored.labels
    plain = figure("plain", logits(model, scored, card.normalise), labels)
    others, sampled = [], None
    if views:
        viewed = Viewed(model, views, pixels)
        name = f"{views}, mean of {viewed.passes} views"
        others.append(figure(name, logits(viewed, scored, card.normalise), labels, passes=viewed.passes))
    if dropout_samples:
        sampled = sample_dropout(model, scored, card.normalise, samples=dropout_samples, seed=seed)
        name = f"dropout on, mean of {dropout_samples} samples"
        others.append(figure(name, sampled.logs, labels, passes=dropout_samples))
    if norm_statistics:
        _refuse_without_norms(found, model)
        assert data is not None
        again = reestimate(model, Inputs(data.train, card.normalise), how=norm_statistics)
        name = f"batch norms re-estimated by {norm_statistics}"
        others.append(figure(name, logits(again, scored, card.normalise), labels))
    return Variants(plain, tuple(others), sampled)


def _refuse_without_norms(run: Run, model: torch.nn.Module) -> None:
    if not any(getattr(module, "running_mean", None) is not None for module in model.modules()):
        raise ConfigError(f"{run.root} has no batch norm, so there are no statistics to estimate again.")
