"""Which class does each label of a file mean?

In: the values of the label column of every part, and the class names if the
file has them.  Out: class names and int64 indices, the same mapping for all
parts.  -1, null and the empty string mean "no label".

    N  images      K  classes
"""

from collections.abc import Mapping, Sequence

import numpy as np

from convscope.core.config import Choice
from convscope.core.errors import DamagedFile, DataError

from .images import UNLABELLED, Arrays

Value = int | str | None


def class_indices(
    parts: Mapping[str, Sequence[Value]], names: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """Class names and the index of each image's class.

    Args:
        parts: the labels as the file has them, N per part: all whole numbers or all text.
        names: K class names in order, if known; the labels are then indices into them (or are them).
        where: what to call the file in messages.

    Returns:
        The K names and per part (N,) int64.  Without `names`, the classes are the labels that occur,
        sorted as numbers or as text.

    Raises:
        DamagedFile: a label that is none of the classes.
        DataError: numbers and text mixed, or no labels at all.
    """
    present = {value for values in parts.values() for value in values} - {None, "", UNLABELLED}
    if not present:
        raise DataError(f"{where} has no labels. Training needs labelled images.")
    textual = {isinstance(value, str) for value in present}
    if len(textual) > 1:
        raise DataError(f"The labels of {where} are partly numbers and partly text. Use one of the two.")
    if names is None:
        ordered: list[Value] = sorted(present, key=lambda value: value)  # type: ignore[arg-type, return-value]
        names = [str(value) for value in ordered]
    else:
        ordered = list(names) if textual == {True} else list(range(len(names)))
    index: dict[Value, int] = {value: k for k, value in enumerate(ordered)}
    index |= {None: UNLABELLED, "": UNLABELLED, UNLABELLED: UNLABELLED}
    indices = {}
    for part, values in parts.items():
        for row, value in enumerate(values):
            if value not in index:
                raise DamagedFile(
                    f"{where}: image {row} of the {part} part has the label {value!r}, but the {len(names)} "
                    f"classes are {_short(names)}."
                )
        indices[part] = np.array([index[value] for value in values], dtype=np.int64)
    return tuple(names), indices


def _short(names: Sequence[str]) -> str:
    few = 12
    shown = ", ".join(names[:few])
    return shown if len(names) <= few else f"{shown}, ..."


def usual_augmentation(images: Arrays, classes: Sequence[str]) -> tuple[Choice, ...]:
    """What `auto` means for images nobody described: shifts by up to an eighth, and mirroring.

    No mirroring if all classes are called by numbers or single letters: it makes another sign of a 2 (S1.3).
    """
    # 4 pixels for 32 x 32, as usual there; 64 is the most `crop` takes.
    shift = Choice(name="crop", options={"padding": min(64, min(images.images.shape[2:]) // 8)})
    if all(name.isdecimal() or len(name) == 1 for name in classes):
        return (shift,)
    return (shift, Choice(name="flip"))
