"""Where do the images come from, and which are for training, choosing and the final test?

`load` finds a set, decodes it once, and splits it: the test split stays
sealed, validation is drawn by class from the training images, wrong labels
are put among what is left if that is asked for, and its statistics are those
for normalising.
"""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope.core import catalog
from convscope.core.config import DataConfig, validated
from convscope.core.streams import Streams

from .batches import Batches, Normaliser, remembered_statistics, statistics
from .divide import Division, divide, refuse_contradictions
from .find import user_cache
from .images import Arrays, Data, ImageSet, Raw, Request, Sealed, image_set
from .noise import inject

SHOWN = 20
"""Classes up to which the matrix of label noise is among the notes; wider ones fit no terminal."""

__all__ = [
    "Batches",
    "Data",
    "ImageSet",
    "Normaliser",
    "Sealed",
    "load",
    "load_config",
    "read_source",
    "user_cache",
    "whereabouts",
]


def load(
    source: str = "digits",
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    download: bool = True,
    **options: Any,
) -> Data:
    """Find a data set, decode it and split it.

    Args:
        source: a name (`digits`, `mnist`, `fashion-mnist`, `cifar10`, `cifar100`, `synthetic`) or a place
            (`folder:PATH`, `parquet:PATH`, `npz:PATH`).
        data_dir: where named sets are looked for first; then $CONVSCOPE_DATA, then the user cache.
        cache_dir: where decoded pixels and downloads are kept; the user cache by default.
        download: whether a set that is not found may be fetched.
        options: fields of `DataConfig` (size, fit, validation, test, split_seed, label_noise, folds, fold, refit,
            skip_bad) and options of the source itself.

    Returns:
        train and val as image sets, test sealed, and what they need to be understood.

    Raises:
        UnknownName, ConfigError: no such source or option.
        DataMissing: the set was not found; the message says where it was looked for.
        DataError: the images or labels cannot be used.
    """
    fields = {key: value for key, value in options.items() if key in DataConfig.model_fields}
    own = {key: value for key, value in options.items() if key not in DataConfig.model_fields}
    config = validated(DataConfig, {"source": source, **fields, "options": own}, "load")
    return load_config(config, data_dir=data_dir, cache_dir=cache_dir, download=download)


def load_config(
    config: DataConfig,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    download: bool = True,
) -> Data:
    """`load` for a configuration that exists already."""
    refuse_contradictions(config)
    raw = read_source(config, data_dir=data_dir, cache_dir=cache_dir, download=download)
    return split(raw, config, Path(cache_dir) if cache_dir else user_cache())


def read_source(
    config: DataConfig,
    *,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    download: bool = True,
) -> Raw:
    """A source as it is, before it is split."""
    request = Request(
        place=config.source.partition(":")[2],
        data_dir=Path(data_dir) if data_dir else None,
        cache_dir=Path(cache_dir) if cache_dir else user_cache(),
        size=config.size,
        fit=config.fit,
        skip_bad=config.skip_bad,
        download=download,
    )
    raw: Raw = catalog.call("sources", config.kind, config.options, request=request)
    return raw


def whereabouts(name: str, data_dir: str | Path | None = None) -> Path | None:
    """The folder in which a named set would be found; nothing is read or downloaded."""
    source = importlib.import_module(catalog.find("sources", name).target.partition(":")[0])
    request = Request(data_dir=Path(data_dir) if data_dir else None, cache_dir=user_cache())
    found: Path | None = source.whereabouts(name, request)
    return found


def split(raw: Raw, config: DataConfig, cache: Path | None = None) -> Data:
    """Seal the test split, hold validation out, make labels wrong if asked to, and take the statistics.

    Args:
        raw: a source as it is.
        config: shares, folds and seed of the split; noise; whether validation images are trained on too.
        cache: where statistics and copies are remembered; absent: they are computed.
    """
    division = divide(raw, config, cache)
    train, val = _train_and_val(raw, division)
    notes, noise = [*raw.notes, *division.notes], None
    if config.label_noise:
        generator = Streams(config.split_seed).generator("noise")
        labels, noise = inject(config.label_noise, train.labels, raw.classes, generator)
        train = replace(train, labels=labels)
        notes += [noise.sentence(), noise.matrix()] if len(raw.classes) <= SHOWN else [noise.sentence()]
    mean, std = remembered_statistics(train, raw.hash, cache) if cache else statistics(train)
    return Data(
        name=raw.name,
        classes=raw.classes,
        train=train,
        val=val,
        test=_sealed(raw, division),
        mean=mean,
        std=std,
        hash=raw.hash,
        unlabelled=image_set(raw.unlabelled, raw.classes) if raw.unlabelled else None,
        augment=raw.augment,
        notes=tuple(notes),
        noise=noise,
    )


def _train_and_val(raw: Raw, division: Division) -> tuple[ImageSet, ImageSet]:
    everything, chosen = image_set(raw.train, raw.classes), torch.from_numpy(division.train)
    if division.val is None:
        assert raw.val is not None  # divide says so
        return everything.subset(chosen), image_set(raw.val, raw.classes)
    if raw.val is not None:  # to be trained on too: one store for both, which copies them
        own = torch.arange(len(raw.val.labels)) + len(everything)
        everything = image_set(_joined(raw.train, raw.val), raw.classes)
        chosen = torch.cat([chosen, own])
    return everything.subset(chosen), everything.subset(torch.from_numpy(division.val))


def _joined(first: Arrays, second: Arrays) -> Arrays:
    return Arrays(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        first.files + second.files,
    )


def _sealed(raw: Raw, division: Division) -> Sealed:
    if division.test is None:
        assert raw.test is not None  # divide says so
        read = raw.test
        return Sealed(raw.test_images, lambda: image_set(read(), raw.classes))
    everything, rows = image_set(raw.train, raw.classes), torch.from_numpy(division.test)
    return Sealed(len(rows), lambda: everything.subset(rows))
