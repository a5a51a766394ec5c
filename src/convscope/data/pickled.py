"""What numbers are in a pickled CIFAR batch, without running what else may be in it?

A pickle is a program.  This reader gives it nothing to run: each instruction
is compared with a list before the first is obeyed, and the three names that a
batch may mention stand for classes of ours which only remember what they were
given.  No code of numpy or of anybody else is reachable.  The caller has
compared the file's MD5 with the published one before; this is the second
fence, for the day somebody finds a collision.

    N  images      3072 = 3 x 32 x 32, channels first
"""

import io
import pickle
import pickletools
import struct
import warnings
from typing import Any

import numpy as np

from convscope.core.errors import DamagedFile

VALUES = 3 * 32 * 32

# What protocol 2 needs for dictionaries, lists, tuples, numbers, strings and an array.  Missing on purpose:
# INST, OBJ, NEWOBJ (other ways to call), EXT* and PERSID (names from elsewhere), STACK_GLOBAL (a name put
# together while running), FRAME and BYTEARRAY8 (memory before data).
_NEEDED = (
    "PROTO STOP MARK POP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 SHORT_BINSTRING BINSTRING "
    "BINUNICODE EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 "
    "TUPLE3 BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD "
)
_INSTRUCTIONS = frozenset(_NEEDED.split())
# What the unpickler raises on programs that make no sense; found by 10,000 mutations of a batch.
_NONSENSE = (
    *(pickle.PickleError, ValueError, TypeError, AttributeError, LookupError),
    *(EOFError, ArithmeticError, MemoryError, RecursionError, struct.error),
)


class _Array:
    """Stands for numpy.ndarray: remembers (version, shape, type, column order, bytes)."""

    __slots__ = ("state",)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Type:
    """Stands for numpy.dtype: remembers its name."""

    __slots__ = ("name",)

    def __init__(self, name: Any = None, *_: Any) -> None:
        self.name = name

    def __setstate__(self, state: Any) -> None:
        """Byte order and fields mean nothing for single bytes."""


class _Reconstruct:
    """Stands for numpy's function that makes an empty array; an instance, so that BUILD cannot change it."""

    __slots__ = ()

    def __call__(self, *_: Any) -> _Array:
        return _Array()


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        known = _NAMES.get((module_name, global_name))
        if known is None:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return known


def read_batch(data: bytes, label_key: bytes, classes: int, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one batch.

    Args:
        data: the pickle.
        label_key: `labels` in CIFAR-10, `fine_labels` in CIFAR-100.
        classes: labels must be below.
        where: what to call the file in messages.

    Returns:
        uint8 (N, 3, 32, 32) and int64 (N,).

    Raises:
        DamagedFile: anything else than such a batch, in any respect.
    """
    try:
        _refuse_unknown_instructions(data)
        content = _Reader(io.BytesIO(data), encoding="bytes").load()
        labels = _labels(content[label_key], classes)
        images = _pixels(content[b"data"])
        if len(labels) != len(images):
            raise ValueError(f"it has {len(images)} images and {len(labels)} labels")
    except _NONSENSE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DamagedFile(
            f"{where} is not a batch of CIFAR images, and nothing in it was run: {reason}. Get it again from "
            f"its authors."
        ) from None
    return images, labels


def _refuse_unknown_instructions(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # names with backslashes, in damaged files
        for instruction, argument, _ in pickletools.genops(data):
            if instruction.name not in _INSTRUCTIONS:
                raise pickle.UnpicklingError(f"it contains the instruction {instruction.name}")
            # The unpickler makes room for every slot up to the largest; four bytes can ask for 64 GB.
            if instruction.name == "LONG_BINPUT" and int(argument or 0) > len(data):
                raise pickle.UnpicklingError(f"it asks for {argument:,} slots")


def _labels(values: Any, classes: int) -> np.ndarray:
    if type(values) is not list or not values:
        raise ValueError("its labels are no list")
    if not all(type(value) is int and 0 <= value < classes for value in values):
        raise ValueError(f"its labels are not all whole numbers from 0 to {classes - 1}")
    return np.array(values, dtype=np.int64)


def _pixels(array: Any) -> np.ndarray:
    """uint8 (N, 3, 32, 32) from what an array left behind."""
    _, shape, kind, by_column, values = array.state
    count, width = shape
    if type(kind) is not _Type or kind.name != b"u1" or type(values) is not bytes:
        raise ValueError("its pixels are no array of bytes")
    if type(count) is not int or width != VALUES or len(values) != count * VALUES:
        raise ValueError(f"its pixels are not N x {VALUES} bytes")
    flat = np.frombuffer(values, np.uint8).reshape(count, VALUES, order="F" if by_column else "C")
    return np.ascontiguousarray(flat).reshape(count, 3, 32, 32)
