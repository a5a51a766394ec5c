"""B4: a CIFAR batch is read without running anything; whatever else is in the file is refused."""

import builtins
import io
import pickle
import struct
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convscope.core.errors import DamagedFile
from convscope.data import pickled
from convscope.data.pickled import VALUES, read_batch

WHERE = "data_batch_1"


def short(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def array(values: bytes, rows: int, *, by_column: bool = False) -> bytes:
    """An array of bytes (rows, 3072) as Python 2's pickle wrote it in the published files."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07"
        b"cnumpy\nndarray\nq\x08K\x00\x85q\x09" + short(b"b") + b"\x87R"
        b"(K\x01M" + struct.pack("<H", rows) + b"M\x00\x0c\x86"
        b"cnumpy\ndtype\nq\x0a" + short(b"u1") + b"K\x00K\x01\x87R"
        b"(K\x03" + short(b"|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        + (b"\x88" if by_column else b"\x89") + b"T" + struct.pack("<I", len(values)) + values + b"tb"
    )  # fmt: skip


def batch(pixels: np.ndarray, labels: list[int], key: bytes = b"labels", *, by_column: bool = False) -> bytes:
    """A whole batch in the published layout."""
    flat = pixels.reshape(len(pixels), -1)
    values = flat.tobytes(order="F" if by_column else "C")
    numbers = b"".join(b"K" + bytes([label]) for label in labels)
    return (
        b"\x80\x02}q\x01(" + short(b"batch_label") + b"q\x02" + short(b"training batch 1 of 5") + b"q\x03"
        + short(key) + b"q\x04]q\x05(" + numbers + b"e"
        + short(b"data") + b"q\x06" + array(values, len(flat), by_column=by_column)
        + short(b"filenames") + b"q\x0b]q\x0c(" + short(b"auto_s_000001.png") * 2 + b"eu."
    )  # fmt: skip


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
GOOD = batch(PIXELS, [6, 9, 0])


@pytest.mark.parametrize("by_column", [False, True])
def test_a_batch_as_published(by_column: bool) -> None:
    images, labels = read_batch(batch(PIXELS, [6, 9, 0], by_column=by_column), b"labels", 10, WHERE)
    assert images.tolist() == PIXELS.tolist()
    assert labels.tolist() == [6, 9, 0]
    assert (images.dtype, labels.dtype) == (np.uint8, np.int64)


def test_our_batch_is_what_numpy_reads() -> None:
    """Against somebody else: the bytes above are a batch for the real unpickler too."""

    class Theirs(pickle.Unpickler):
        def find_class(self, module_name: str, global_name: str) -> Any:
            return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)

    content = Theirs(io.BytesIO(GOOD), encoding="bytes").load()
    assert content[b"data"].tolist() == PIXELS.reshape(3, VALUES).tolist()
    assert content[b"labels"] == [6, 9, 0]


def test_the_fine_labels_of_cifar100() -> None:
    data = batch(PIXELS, [99, 0, 50], b"fine_labels")
    assert read_batch(data, b"fine_labels", 100, WHERE)[1].tolist() == [99, 0, 50]


def refusal(data: bytes) -> str:
    with pytest.raises(DamagedFile) as caught:
        read_batch(data, b"labels", 10, WHERE)
    text = str(caught.value)
    start, end = f"{WHERE} is not a batch of CIFAR images, and nothing in it was run: ", ". Get it again from"
    assert text.startswith(start) and text.endswith(". Get it again from its authors.")
    return text.removeprefix(start).partition(end)[0]


def test_every_disagreement_has_a_reason() -> None:
    assert refusal(batch(PIXELS, [6, 9])) == "it has 3 images and 2 labels"
    assert refusal(batch(PIXELS, [6, 9, 10])) == "its labels are not all whole numbers from 0 to 9"
    assert refusal(batch(PIXELS, [6, 9, 0], b"names")) == "b'labels'"
    assert refusal(GOOD.replace(b"u1", b"f8")) == "its pixels are no array of bytes"
    assert (
        refusal(GOOD.replace(b"M\x03\x00M\x00\x0c", b"M\x03\x00M\x00\x0b"))
        == "its pixels are not N x 3072 bytes"
    )
    assert refusal(GOOD[:-1]) == "pickle exhausted before seeing STOP"
    assert refusal(b"") == "pickle exhausted before seeing STOP"
    assert refusal(pickle.dumps(3, protocol=2)) == "'int' object is not subscriptable"


class Reduced:
    """Pickles as a call of any function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def payloads(canary: Path) -> dict[str, bytes]:
    """Twelve ways to create a file while being read; each is checked to work in the ordinary unpickler."""
    touch = f"touch {canary}"
    code = f"__import__('pathlib').Path({str(canary)!r}).touch()"
    quoted = code.encode()
    system = b"cos\nsystem\n"
    command = b"X" + struct.pack("<I", len(touch)) + touch.encode()
    program = b"X" + struct.pack("<I", len(quoted)) + quoted
    chain = (
        b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n"
        + short_unicode("os")
        + b"\x85R"
        + short_unicode("system")
    )
    return {
        "os.system": b"\x80\x02" + system + command + b"\x85R.",
        "posix.system": b"\x80\x02cposix\nsystem\n" + command + b"\x85R.",
        "eval": b"\x80\x02cbuiltins\neval\n" + program + b"\x85R.",
        "exec": b"\x80\x02c__builtin__\nexec\n" + program + b"\x85R.",
        "getattr chain": b"\x80\x02" + chain + b"tR" + command + b"\x85R.",
        "protocol 0": b"cos\nsystem\n(S'" + touch.encode() + b"'\ntR.",
        "INST": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "OBJ": b"\x80\x02(" + system + command + b"o.",
        "NEWOBJ": b"\x80\x02cpathlib\nPath\n)\x81.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + command + b"\x85R.",
        "BUILD": pickle.dumps(Reduced(subprocess_run(), ["touch", str(canary)]), protocol=4),
        "inside a batch": GOOD[:-2] + short(b"x") + system + command + b"\x85Ru.",
    }  # fmt: skip


def short_unicode(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def subprocess_run() -> Callable[..., Any]:
    import subprocess

    return subprocess.check_call


NAMES = list(payloads(Path("x")))


@pytest.mark.parametrize("name", NAMES)
def test_hostile_payloads_run_nothing(name: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data = payloads(canary)[name]
    if name != "NEWOBJ":  # makes an object and no file
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pickle.loads(data, encoding="bytes")  # the payload is a real one
        assert canary.exists()
        canary.unlink()
    refusal(data)
    assert not canary.exists()


@pytest.mark.parametrize("name", NAMES)
def test_the_second_fence_holds_alone(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the list of instructions, the list of names still stops all of them."""
    monkeypatch.setattr(pickled, "_refuse_unknown_instructions", lambda data: None)
    canary = tmp_path / "canary"
    refusal(payloads(canary)[name])
    assert not canary.exists()


def test_the_reasons_name_what_was_asked_for(tmp_path: Path) -> None:
    data = payloads(tmp_path / "canary")
    assert refusal(data["os.system"]) == "it asks for os.system"
    assert refusal(data["getattr chain"]) == "it asks for builtins.getattr"
    assert refusal(data["STACK_GLOBAL"]) == "it contains the instruction SHORT_BINUNICODE"
    assert refusal(data["INST"]) == "it contains the instruction STRING"


def test_the_stand_ins_cannot_be_changed_from_within(tmp_path: Path) -> None:
    """BUILD sets attributes on whatever it is given; on our classes and functions it must not stick."""
    slots = b"(N}" + short_unicode("__call__") + b"K\x01st"
    for target in (b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n"):
        for state in (slots, b"}" + short_unicode("__setstate__") + b"K\x01s"):
            refusal(b"\x80\x02" + target + state + b"b.")
    assert not hasattr(pickled._NAMES["numpy.core.multiarray", "_reconstruct"], "__setstate__")
    assert read_batch(GOOD, b"labels", 10, WHERE)[1].tolist() == [6, 9, 0]


def test_four_bytes_cannot_ask_for_64_gigabytes() -> None:
    assert refusal(b"\x80\x02}r\xff\xff\xff\xff.") == "it asks for 4,294,967,295 slots"


def mutated(generator: np.random.Generator, seed: bytes) -> bytes:
    """The batch with bytes changed, cut and inserted, but not among its pixels: there, anything goes."""
    data = bytearray(seed)
    pixels_at = seed.index(PIXELS.tobytes())
    for _ in range(generator.integers(1, 4)):
        at = int(generator.integers(0, len(data)))
        if pixels_at <= at < pixels_at + PIXELS.nbytes:
            at = int(generator.integers(0, pixels_at))
        match int(generator.integers(0, 4)):
            case 0:
                data[at] = int(generator.integers(0, 256))
            case 1:
                del data[at : at + int(generator.integers(1, 9))]
            case 2:
                data[at:at] = generator.bytes(int(generator.integers(1, 9)))
            case 3:
                opcodes = (
                    b"(.0FIJKLMNPQRSTUVXabcdeghijlopqrstu\x80\x81\x82\x85\x86\x87\x88\x8a\x8c\x8e\x93\x95\x96"
                )
                data[at] = opcodes[int(generator.integers(0, len(opcodes)))]
    return bytes(data)


def test_10000_mutated_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: set[str] = set()
    real = builtins.__import__

    def watched(name: str, *rest: Any, **options: Any) -> Any:
        imported.add(name)
        return real(name, *rest, **options)

    generator = np.random.default_rng(4)
    files = [mutated(generator, GOOD) for _ in range(10_000)]
    modules = set(sys.modules)
    refused = 0
    monkeypatch.setattr(builtins, "__import__", watched)
    for data in files:
        try:
            images, labels = read_batch(data, b"labels", 10, WHERE)
        except DamagedFile:
            refused += 1
        else:  # the change was in a file name, a label or a memo number
            assert images.shape == (3, 3, 32, 32)
            assert len(labels) == 3
    monkeypatch.undo()
    # What Python's text codecs and pickletools import for themselves.
    assert {name for name in imported if not name.startswith("encodings.")} <= {
        "io",
        "_io",
        "codecs",
        "_codecs",
    }
    assert not {name for name in set(sys.modules) - modules if not name.startswith("encodings.")}
    assert 5_000 < refused < 10_000


def test_no_memory_is_taken_by_lies_about_lengths() -> None:
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for opcode in (b"T", b"X", b"\x8b", b"r", b"j", b"\x96", b"\x8e", b"\x8d"):
        for length in (0x7FFFFFFF, 0xFFFFFFFF, 0x3FFFFFFF):
            refusal(b"\x80\x02}" + opcode + struct.pack("<I", length) + b"\0\0\0\0abc.")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 50_000, f"{grown} kB"
