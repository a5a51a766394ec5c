"""How is a network looked into?

`inspect` prepares a `Subject` (evaluate/subject.py), calls one diagnostic of
the catalog and gives back its frozen result.  A diagnostic is one file here,
its figure one file of the same name in plots/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from convscope.compute.fences import seeded
from convscope.core import catalog
from convscope.core.errors import ClassMismatch, ConfigError
from convscope.core.streams import Streams
from convscope.data import Data, Normaliser, load
from convscope.evaluate.runs import Run, Which, open_run
from convscope.evaluate.subject import Result, Subject, subject_of

__all__ = ["Result", "Subject", "inspect"]


def inspect(
    what: Run | str | Path | nn.Module,
    name: str,
    *,
    data: Data | str | None = None,
    weights: Which = "best",
    seed: int = 0,
    **options: Any,
) -> Result:
    """Look into a network with one diagnostic.

    Args:
        what: a run, its directory, or any module that takes (N, C, H, W) and gives logits (N, K).
        name: of `convscope list diagnostics`.
        data: what to show the network: needed for a module, by default the run's own for a run.
        weights: of a run: `best` on validation, or `last`.
        seed: of what the diagnostic draws at random.
        options: of the diagnostic (`convscope list diagnostics NAME`).

    Returns:
        A frozen dataclass with `sentence`, `scalars()` and `save(stem)`.  The network is as it was, bit for
        bit: the diagnostic works on a copy.

    Raises:
        UnknownName, ConfigError: no such diagnostic or option; a module without data.
    """
    catalog.resolve("diagnostics", name, options)  # a typo is answered before anything is read
    chosen = load(data) if isinstance(data, str) else data
    subject = _subject(what, chosen, weights, seed)
    result: Result = catalog.call("diagnostics", name, options, subject=subject)
    return result


def _subject(what: Run | str | Path | nn.Module, data: Data | None, weights: Which, seed: int) -> Subject:
    streams = Streams(seed)
    if isinstance(what, nn.Module):
        if data is None:
            raise ConfigError(
                "A module alone cannot be looked into: give the images to show it, data=convscope.load(...)."
            )
        name = f"{type(what).__name__} on {data.name}"
        _refuse_other_images(what, data)
        return subject_of(what, data, Normaliser(data.mean, data.std), name, streams=streams)
    run = what if isinstance(what, Run) else open_run(what)
    data = data or run.data()
    card = run.card(weights)
    if data.shape != (card.channels, card.height, card.width):
        raise ConfigError(
            f"{data.name} has images of {_times(data.shape)} (channels, height, width), and {run.root} was trained on "
            f"{_times((card.channels, card.height, card.width))}. Give images of that shape, e.g. "
            f"convscope.load(..., size={card.height})."
        )
    if data.classes != card.classes:
        raise ClassMismatch(
            f"{data.name} has the classes {', '.join(data.classes)}; {run.root} was trained on {', '.join(card.classes)}."
        )
    name = f"{run.config.model.name} on {data.name}"
    known = {"streams": streams, "recipe": run.config.recipe, "run": run}
    return subject_of(run.model(weights), data, card.normalise, name, **known)


def _refuse_other_images(model: nn.Module, data: Data) -> None:
    """Raises: ConfigError: the module does not take such images, or gives another number of logits."""
    # On a copy: a pass may change what a module remembers, and draw.
    subject = subject_of(model, data, Normaliser(data.mean, data.std), "")
    image = subject.inputs((data.val if len(data.val) else data.train).subset(torch.arange(1)))
    try:
        with torch.no_grad(), seeded(0):
            logits = subject.model(image)
    except RuntimeError as error:
        raise ConfigError(
            f"{type(model).__name__} does not take images of {_times(data.shape)} (channels, height, width), as those of "
            f"{data.name} are: {str(error).splitlines()[0]}"
        ) from None
    if not isinstance(logits, torch.Tensor) or logits.shape != (1, len(data.classes)):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ConfigError(
            f"{type(model).__name__} gives {got} for one image of {data.name}, where (1, {len(data.classes)}) is needed: "
            f"a logit for each of its {len(data.classes)} classes."
        )


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
