"""What images are in these Parquet files?

The column layout of Hugging Face: a column of encoded images (`image` or
`img`, bytes or a struct with `bytes`), a column of labels, class names in the
schema's metadata.  Parts are told by file name: train*, validation*, test*.
Every image is decoded once, on the way into the cache; bad ones are all named.

    N  images      C  channels      H, W  pixels
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from convscope.core.config import Choice
from convscope.core.errors import DamagedFile, DataError, DataMissing, MissingExtra

from .builder import Builder, Decoded
from .cache import decoded, deliver
from .find import cache_folder, complete_shards, count_notes, readable_name, reading
from .images import Raw, Request
from .labels import Value, class_indices, usual_augmentation
from .shards import Intake, Shard

_IMAGE_COLUMNS = ("image", "img")
_LABEL_COLUMNS = ("fine_label", "label", "labels")
_PARTS = ("train", "val", "test")
_FOLDERS = ("", "data", "plain_text", "default")
# Hugging Face's CIFAR-100 says "cra" for crab; another set would share no name at all.
_SAME_NAMES = 0.9


@dataclass(frozen=True)
class Expected:
    """What a named set must have, whatever the files say."""

    classes: tuple[str, ...]
    channels: int
    side: int
    counts: tuple[int, int]


def parquet(request: Request) -> Raw:
    """Parquet files: `parquet:PATH`, one file or a folder of shards."""
    path = Path(request.place).expanduser()
    if not request.place or not path.exists():
        raise DataMissing(
            f"There is no file or folder {request.place or '(nothing given)'}. Write parquet:PATH with the "
            f"path of a Parquet file, or of a folder of train-*.parquet and test-*.parquet."
        )
    parts = {"train": [path]} if path.is_file() else _parts_in(path)
    raw = deliver(readable_name(path), _decoded("parquet", request, parts, None), validation=0.2)
    return replace(raw, augment=usual_augmentation(raw.train, raw.classes))


def load_named(
    name: str,
    request: Request,
    files: Sequence[Sequence[Path]],
    expected: Expected,
    augment: tuple[Choice, ...],
) -> Raw:
    """A named set that lies in Parquet files: those of its training images and those of its test images."""
    kept = _decoded(name, request, {"train": files[0], "test": files[1]}, expected)
    counts = kept.counts["train"], kept.counts.get("test", 0)
    return deliver(name, kept, augment=augment, notes=count_notes(*counts, expected.counts))


def _parts_in(folder: Path) -> dict[str, list[Path]]:
    """The shards of each part, by file name; if no name says train, all are training images."""
    for inside in _FOLDERS:
        # Not *.parquet, which would take the hidden files that file managers leave behind.
        shards = sorted(path for path in (folder / inside).glob("[!.]*.parquet") if path.is_file())
        parts = {part: [path for path in shards if path.name.startswith(part)] for part in _PARTS}
        if parts["train"]:
            return {part: paths for part, paths in parts.items() if paths}
        if shards:
            return {"train": shards}
    raise DataMissing(
        f"There are no Parquet files in {folder}. It should hold train-*.parquet and, if there are any, "
        f"validation-*.parquet and test-*.parquet; they may be in a subfolder data."
    )


def _decoded(
    name: str, request: Request, parts: Mapping[str, Sequence[Path]], expected: Expected | None
) -> Decoded:
    for paths in parts.values():
        complete_shards(paths)
    parameters = {
        "reader": "parquet",
        "set": name if expected else "",
        "parts": {part: len(paths) for part, paths in parts.items()},
        "size": request.size,
        "fit": request.fit if request.size else "",
        "skip_bad": request.skip_bad,
        # JPEG decoding and resizing differ by a level or so between versions.
        "pillow": version("pillow"),
    }
    sources = [path for paths in parts.values() for path in paths]
    return decoded(
        cache_folder(request), name, sources, parameters, lambda to: _decode(parts, request, expected, to)
    )


def _decode(
    parts: Mapping[str, Sequence[Path]], request: Request, expected: Expected | None, builder: Builder
) -> None:
    shards = {part: [_opened(path) for path in paths] for part, paths in parts.items()}
    every = [shard for of_part in shards.values() for shard in of_part]
    where = str(every[0].path.parent)
    values: dict[str, list[Value]] = {part: [] for part in shards}
    for part, of_part in shards.items():
        for shard in of_part:
            values[part] += _label_values(shard)
    builder.classes, labels = class_indices(values, _class_names(every, expected, where), where)
    shape = (expected.channels, expected.side, expected.side) if expected else None
    intake = Intake(request, shape)
    if not intake.take(shards, labels, builder):
        builder.restart()
        intake = Intake(request, shape, colour=True)
        intake.take(shards, labels, builder)
    intake.report(builder, where)


def _opened(path: Path) -> Shard:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra("Reading Parquet files", "parquet") from None
    with reading(path, "Parquet", pyarrow.ArrowException):
        file = pyarrow.parquet.ParquetFile(path)
    schema = file.schema_arrow
    image = next((name for name in _IMAGE_COLUMNS if name in schema.names), None)
    label = next((name for name in _LABEL_COLUMNS if name in schema.names), None)
    if image is None or label is None:
        raise DataError(
            f"{path} has the columns {', '.join(schema.names)}. Needed are a column of images called "
            f"{' or '.join(_IMAGE_COLUMNS)} and one of labels called {' or '.join(_LABEL_COLUMNS)}."
        )
    kind = schema.field(image).type
    holder = (
        kind.field("bytes").type
        if pyarrow.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
        else kind
    )
    if not (pyarrow.types.is_binary(holder) or pyarrow.types.is_large_binary(holder)):
        raise DataError(
            f"{path}: the column {image} has the type {kind}. It must hold encoded images: bytes, or a "
            f"struct with a field bytes."
        )
    kind = schema.field(label).type
    text = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
    if not (text or pyarrow.types.is_integer(kind)):
        raise DataError(f"{path}: the column {label} has the type {kind}. Labels are whole numbers or text.")
    return Shard(file, path, image, label, _names_in(schema.metadata or {}, label))


def _names_in(metadata: Mapping[bytes, bytes], label: str) -> list[str] | None:
    """Class names as Hugging Face writes them into the schema, or None."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        names = features[label]["names"]
    except (ValueError, KeyError, TypeError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _label_values(shard: Shard) -> list[Value]:
    import pyarrow

    with reading(shard.path, "Parquet", pyarrow.ArrowException):
        values: list[Value] = shard.file.read(columns=[shard.label]).column(0).to_pylist()
    return values


def _class_names(shards: Sequence[Shard], expected: Expected | None, where: str) -> Sequence[str] | None:
    names = shards[0].names
    for shard in shards:
        if shard.names != names:
            raise DamagedFile(
                f"{shard.path} and {shards[0].path} have different class names. Are they of one data set?"
            )
    if expected is None or names is None:
        return names if expected is None else expected.classes
    pairs = zip(names, expected.classes, strict=False)
    agree = sum(_letters(a) == _letters(b) for a, b in pairs)
    if len(names) != len(expected.classes) or agree < _SAME_NAMES * len(names):
        raise DataError(
            f"The Parquet files in {where} hold another set: their classes are {', '.join(names[:10])}, "
            f"expected were {', '.join(expected.classes[:10])}."
        )
    return expected.classes


def _letters(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()
