"""Where do the images come from, and which are for training, choosing and the final test?

`load` finds a set, decodes it once, and splits it: the test split stays
sealed, validation is drawn by class from the training images, and the
statistics for normalising come from what is left.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from convscope.core import catalog
from convscope.core.config import DataConfig, validated
from convscope.core.streams import Streams

from .batches import Batches, Normaliser, remembered_statistics, statistics
from .find import user_cache
from .images import Data, ImageSet, Raw, Request, Sealed, image_set
from .splits import stratified

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
        options: fields of `DataConfig` (size, fit, validation, test, split_seed, skip_bad) and options of
            the source itself.

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
    """Seal the test split, draw validation by class, and take the statistics of what is left.

    Args:
        raw: a source as it is.
        config: shares and seed of the split.
        cache: where statistics are remembered; absent: they are computed.
    """
    streams = Streams(config.split_seed)
    everything = image_set(raw.train, raw.classes)
    labels = np.asarray(raw.train.labels)
    remaining = np.arange(len(labels))
    if raw.test is None:
        share = raw.test_share if config.test is None else config.test
        remaining, sealed = stratified(labels, share, streams.generator("split", 1), raw.classes)
        test = Sealed(len(sealed), lambda: everything.subset(torch.from_numpy(sealed)))
    else:
        read_test = raw.test
        test = Sealed(raw.test_images, lambda: image_set(read_test(), raw.classes))
    if raw.val is None:
        share = raw.validation if config.validation is None else config.validation
        kept, held = stratified(labels[remaining], share, streams.generator("split"), raw.classes)
        val = everything.subset(torch.from_numpy(remaining[held]))
        remaining = remaining[kept]
    else:
        val = image_set(raw.val, raw.classes)
    train = everything.subset(torch.from_numpy(remaining))
    mean, std = remembered_statistics(train, raw.hash, cache) if cache else statistics(train)
    return Data(
        name=raw.name,
        classes=raw.classes,
        train=train,
        val=val,
        test=test,
        mean=mean,
        std=std,
        hash=raw.hash,
        unlabelled=image_set(raw.unlabelled, raw.classes) if raw.unlabelled else None,
        augment=raw.augment,
        notes=raw.notes,
    )
