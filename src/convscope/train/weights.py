"""From which weights does a run start, if not from its own initialisation?

From a safetensors file, or from the best weights of a run.  Every name and
shape must be the network's, and all of the network's must be there; only the
layer that gives the logits starts anew where the classes are others.

The content decides, not the place.  `pinned` puts the file's SHA-256 into the
recipe before the run is named, as the hash of the images is in the name of
every run: other weights under the same path are another run, the same weights
under another path are the same.  The file is opened once more, when the first
step is prepared; from the first checkpoint on it may be gone.

    K  classes
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from convscope.core import files
from convscope.core.config import Recipe, RunConfig
from convscope.core.errors import ConfigError, DamagedFile, DataMissing, nearest
from convscope.data import Data
from convscope.evaluate.runs import Run, model_tensors, open_run
from convscope.models.grow import grow

from .finite import first_bad_tensor
from .freeze import head

SCRIPT = "scripts/pth_to_safetensors.py"
COUNTER = "num_batches_tracked"
"""Counts a norm's batches and reaches no number here; files written before torch had it lack it."""
_LISTED = 3
_PICKLES = (b"PK", b"\x80")
"""How torch.save's archives and plain pickles begin; the first 8 bytes of a safetensors file are a length."""


def refuse_without_weights(recipe: Recipe) -> None:
    """Raises: ConfigError: an option about weights to start from, and there are none."""
    if recipe.weights:
        return
    for given, flag in ((recipe.grow, "--grow"), (recipe.weights_sha256, "--weights-sha256")):
        if given:
            raise ConfigError(
                f"{flag} is about the weights that a run starts from: give them too, with --weights."
            )


def pinned(recipe: Recipe) -> Recipe:
    """The recipe with the SHA-256 of its weights; one that has it already needs no file.

    Raises:
        DataMissing, ConfigError: no such file, one that must not be opened, or a run without weights.
    """
    if not recipe.weights or recipe.weights_sha256:
        return recipe
    path, _ = _located(recipe.weights)
    return recipe.model_copy(update={"weights_sha256": files.sha256(path)})


def start(model: nn.Module, config: RunConfig, data: Data) -> tuple[str, ...]:
    """Put the weights of `config.recipe.weights` into a network.

    Args:
        model: freshly initialised, for the images of `data`; changed only if everything fits.
        config: resolved; its recipe says where the weights are and which SHA-256 they have.
        data: the images that the run will learn from.

    Returns:
        What was taken and what was not, in sentences for the record.

    Raises:
        DataMissing: nothing lies there.
        DamagedFile: it is no safetensors file, has another SHA-256, or holds what is not finite.
        ConfigError: it does not fit the network, or was trained on images that are held out here.
    """
    recipe, origin = config.recipe, config.recipe.weights
    path, run = _located(origin)
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if recipe.weights_sha256 not in ("", found):
        raise DamagedFile(
            f"The weights in {origin} are not those this run was named by: their SHA-256 is {found}, and "
            f"{recipe.weights_sha256} is wanted. Put the others back, or leave the wanted number out "
            f"(weights_sha256) to train from these as a run of its own."
        )
    if run is None:
        if recipe.grow:
            raise ConfigError(
                f"--grow needs to know the shallower network, and a file of tensors such as {origin} does not say "
                f"which it is. Give --weights the directory of a run."
            )
        return _copied(model, _parsed(content, origin), Asked(config, data, None))
    _refuse_seen(run, config, data)
    asked = Asked(config, data, run)
    if recipe.grow:
        return _grown(model, run.model(), asked)
    return _copied(model, model_tensors(run.model()), asked)


@dataclass(frozen=True)
class Asked:
    """What weights are wanted for, and where they come from."""

    config: RunConfig
    data: Data
    run: Run | None

    @property
    def origin(self) -> str:
        """As the user wrote it."""
        return self.config.recipe.weights

    @property
    def other_classes(self) -> bool:
        """Whether a run knew other classes, or the same in another order: names decide, not their number."""
        return self.run is not None and self.run.card().classes != self.data.classes


def _located(place: str) -> tuple[Path, Run | None]:
    """The file that holds the tensors, and the run it belongs to.

    Raises:
        DataMissing: there is none.
        ConfigError: a file that could run programs when it is opened.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        run = open_run(path)
        return run.snapshot().path.with_suffix(".safetensors"), run
    if not path.is_file():
        near = sorted(file.name for file in path.parent.glob("*.safetensors"))
        hint = nearest(path.name, near) or (f" Files there: {', '.join(near[:_LISTED])}." if near else "")
        raise DataMissing(
            f"There are no weights in {place}. Give a safetensors file or the directory of a run.{hint} A run that "
            f"has begun does not need them any more: continue it with `convscope resume`."
        )
    with path.open("rb") as file:
        beginning = file.read(2)
    if beginning.startswith(_PICKLES):
        raise ConfigError(
            f"{place} is a pickle, as torch.save writes it, and opening one can run any program in it. Convert it "
            f"once, which runs nothing: python {SCRIPT} {place} {Path(place).with_suffix('.safetensors')}"
        )
    return path, None


def _parsed(content: bytes, origin: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise DamagedFile(f"{origin} is not a safetensors file: {error}.") from None
    bad = first_bad_tensor(tensors)
    if bad:
        raise DamagedFile(f"{origin} cannot be used: {bad} is not finite.")
    return tensors


def _refuse_seen(run: Run, config: RunConfig, data: Data) -> None:
    """Raises: ConfigError: the run learned images of this very set that validate or are sealed here."""
    if run.environment["data"] != data.hash:
        return
    there, here = run.config.data, config.data
    fields = (
        ["test", "split_seed"]
        if here.refit
        else ["validation", "test", "split_seed", "folds", "fold", "refit"]
    )
    changed = [
        f"{key} {getattr(there, key)} -> {getattr(here, key)}" for key in fields if _differs(there, here, key)
    ]
    if changed:
        raise ConfigError(
            f"{run.root} was trained on the same images, divided in another way ({', '.join(changed)}), so it has "
            f"learned images that are held out here, and every score would be too good. Divide them as it did."
        )


def _differs(there: object, here: object, key: str) -> bool:
    return bool(getattr(there, key) != getattr(here, key))


def _head_tensors(model: nn.Module, classes: int) -> list[str]:
    layer = head(model, classes)
    return [name for name in model_tensors(model) if name.rpartition(".")[0] == layer]


def _copied(model: nn.Module, given: Mapping[str, Tensor], asked: Asked) -> tuple[str, ...]:
    """Copy all tensors but those of other classes."""
    own, classes = model_tensors(model), len(asked.data.classes)
    fresh = _of_other_classes(own, given, _head_tensors(model, classes), classes)
    known = len(given[fresh[0]]) if fresh else classes
    if asked.other_classes and not fresh:
        fresh = _head_tensors(model, classes)
    _refuse_unfit(own, given, fresh, asked)
    for name in own.keys() & given.keys() - set(fresh):
        own[name].copy_(given[name])
    taken = f"Started from {asked.origin}: {len(own) - len(fresh)} of {len(own)} tensors."
    if not fresh:
        return (taken,)
    why = (
        f"it knows {known} classes and these images have {classes}"
        if known != classes
        else "it knows other classes than these images have"
    )
    return (f"{taken} {', '.join(fresh)} start anew, since {why}.",)


def _of_other_classes(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], last: Collection[str], classes: int
) -> list[str]:
    """The tensors that have a row for each class, there and here, where the numbers of classes differ.

    Those of the last layer, and of others with as many rows there and here, such as auxiliary classifiers.
    """
    weight = next(name for name in last if own[name].ndim > 1)
    there = len(given[weight]) if weight in given and given[weight].ndim > 1 else classes
    if there == classes:
        return []
    return [
        name
        for name, tensor in own.items()
        if name in given
        and (tuple(tensor.shape[:1]), tuple(given[name].shape[:1])) == ((classes,), (there,))
        and tensor.shape[1:] == given[name].shape[1:]
    ]


def _refuse_unfit(
    own: Mapping[str, Tensor], given: Mapping[str, Tensor], fresh: Collection[str], asked: Asked
) -> None:
    """Raises: ConfigError: names or shapes differ; with the first of each kind and the likely cause."""
    missing = [name for name in own if name not in given and not name.endswith(COUNTER)]
    extra = sorted(name for name in given if name not in own)  # a file is read in no particular order
    other = [
        name
        for name, tensor in own.items()
        if name in given
        and name not in fresh
        and (tensor.shape, tensor.is_floating_point()) != (given[name].shape, given[name].is_floating_point())
    ]
    if not (missing or extra or other):
        return
    shapes = [f"{name} {tuple(given[name].shape)} instead of {tuple(own[name].shape)}" for name in other]
    said = [
        f"{len(names)} {what}: {_listed(names)}"
        for names, what in (
            (missing, "missing"),
            (extra, "unknown to the network"),
            (shapes, "of another shape"),
        )
        if names
    ]
    raise ConfigError(
        f"The weights in {asked.origin} do not fit {asked.config.model.name}. Of {len(own)} tensors, {'; '.join(said)}. "
        f"{_cause(own, given, (missing, extra, other), asked)}"
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"


def _cause(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    problems: tuple[list[str], list[str], list[str]],
    asked: Asked,
) -> str:
    """Why the weights do not fit, as far as that can be seen."""
    missing, extra, other = problems
    first = next(name for name, tensor in own.items() if tensor.ndim > 1)
    if other == [first] and not missing and not extra and given[first].ndim == own[first].ndim:
        there, here = given[first].shape[1], own[first].shape[1]
        if here == 1 and there == 3:
            return (
                f"They are for images in colour, and those of {asked.config.data.source} are grey: save these in "
                f"colour (mode RGB), with three equal channels."
            )
        return (
            f"They are for images with {there} channels, and those of {asked.config.data.source} have {here}."
        )
    prefix = min(given, default="").partition(".")[0] + "."
    without = {name.removeprefix(prefix) for name in given if name.startswith(prefix)}
    if _uncounted(without) == _uncounted(own):
        return (
            f"All would fit without the first part of their names, {prefix!r}: {SCRIPT} takes `module.` away."
        )
    if extra and not missing and all(name.startswith("aux") for name in extra):
        return "They include the auxiliary classifiers: build them too, with --model.auxiliary yes."
    if missing and not extra and all(name.startswith("aux") for name in missing):
        return "They lack the auxiliary classifiers: leave out --model.auxiliary."
    return _other_network(asked)


def _uncounted(names: Iterable[str]) -> set[str]:
    return {name for name in names if not name.endswith(COUNTER)}


def _other_network(asked: Asked) -> str:
    model = asked.config.model
    if asked.run is None:
        return f"They are of another network, or of one with other options (`convscope list models {model.name}`)."
    card = asked.run.card()
    there = card.model | {"classes": len(card.classes), "channels": card.channels, "size": card.height}
    channels, size, _ = asked.data.shape
    here = {"name": model.name, **model.options, "classes": len(asked.data.classes)}
    here |= {"channels": channels, "size": size}
    changed = [
        f"{key} {there.get(key)} there, {here[key]} here" for key in here if there.get(key) != here[key]
    ]
    hint = " If that one is only shallower, let it --grow." if there["name"] != here["name"] else ""
    return f"The networks differ: {'; '.join(changed)}.{hint}"


@torch.no_grad()
def _grown(model: nn.Module, shallow: nn.Module, asked: Asked) -> tuple[str, ...]:
    """Put the layers of a shallower network where they belong."""
    own, classes = model_tensors(model), len(asked.data.classes)
    last = _head_tensors(model, classes)
    kept = {name: own[name].clone() for name in last}
    grown = grow(model, shallow)
    _refuse_fixed_norm(model, asked.config.recipe)
    notes = [f"Started from {asked.origin}. {grown}"]
    if asked.other_classes:
        for name, tensor in kept.items():
            own[name].copy_(tensor)
        notes.append(f"{', '.join(last)} start anew, since that run knows other classes.")
    return tuple(notes)


def _refuse_fixed_norm(model: nn.Module, recipe: Recipe) -> None:
    """Raises: ConfigError: a convolution of zeros would be stretched to a norm that is not zero, 0/0 here."""
    zeros = [
        name for name, parameter in model.named_parameters() if parameter.ndim == 4 and not parameter.any()
    ]
    if zeros and recipe.optimizer.name == "muon" and recipe.optimizer.options.get("fix_norm", True):
        raise ConfigError(
            f"{zeros[0]} starts at zero, so that its block is the identity, and muon would keep its norm at another "
            f"number. Give --optimizer.fix_norm no, or another --optimizer."
        )
