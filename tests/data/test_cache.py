"""What was decoded once is found again, and nothing that was damaged is believed."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from convscope.core import files
from convscope.core.errors import BadImages, DamagedFile, DataError
from convscope.data import cache
from convscope.data.builder import Builder, Decoded, content_hash
from convscope.data.cache import decoded, deliver
from convscope.data.images import Arrays

PIXELS = np.arange(6 * 3 * 4 * 5, dtype=np.uint8).reshape(6, 3, 4, 5)
LABELS = np.array([0, 1, 0, 1, 0, 1])


class Source:
    """A file whose decoding is counted."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "source.bin"
        self.calls = 0
        self.put(b"content")

    def put(self, content: bytes, modified: float = 1_000_000_000) -> None:
        self.path.write_bytes(content)
        os.utime(self.path, (modified, modified))

    def decode(self, builder: Builder) -> None:
        self.calls += 1
        builder.classes = ("cat", "dog")
        builder.note("Read with care.")
        builder.add("train", PIXELS[:3], LABELS[:3], ["a", "b", "c"])
        builder.add("train", PIXELS[3:4], LABELS[3:4], ["d"])
        builder.add("test", PIXELS[4:], LABELS[4:])
        builder.add("unlabelled", PIXELS[:0], LABELS[:0])

    def load(self, folder: Path, **parameters: object) -> Decoded:
        return decoded(folder, "set", [self.path], parameters, self.decode)


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Power loss is tests/core/test_files.py's; here fsync only costs time (18 of 22 s)."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path)


def entry(folder: Path) -> Path:
    (only,) = (folder / "decoded").iterdir()
    return only


def check(found: Decoded) -> None:
    train, test = found.part("train"), found.part("test")
    assert train.images.tolist() == PIXELS[:4].tolist()
    assert train.labels.tolist() == [0, 1, 0, 1]
    assert train.files == ("a", "b", "c", "d")
    assert test.images.tolist() == PIXELS[4:].tolist()
    assert test.labels.tolist() == [0, 1]
    assert found.classes == ("cat", "dog")
    assert found.counts == {"train": 4, "test": 2}


def test_decoded_once_and_mapped_after_that(source: Source, tmp_path: Path) -> None:
    first, second = source.load(tmp_path / "c"), source.load(tmp_path / "c")
    check(first)
    check(second)
    assert source.calls == 1
    assert first.hash == second.hash
    assert second.notes == ("Read with care.",)
    images = second.part("train").images
    assert isinstance(images, np.memmap)
    assert images.mode == "c"
    tensor = torch.from_numpy(images)
    tensor[0] = 0  # a writer gets a page of its own
    check(source.load(tmp_path / "c"))


def test_the_hash_is_that_of_the_content_however_it_is_kept(source: Source, tmp_path: Path) -> None:
    by_hand = content_hash(
        ("cat", "dog"),
        {"test": Arrays(PIXELS[4:], LABELS[4:]), "train": Arrays(PIXELS[:4], LABELS[:4].astype(np.int32))},
    )
    assert source.load(tmp_path / "c").hash == by_hand
    (tmp_path / "file").write_text("")
    assert source.load(tmp_path / "file").hash == by_hand


@pytest.mark.parametrize("change", ["pixels", "labels", "classes", "order", "parts"])
def test_whatever_can_reach_a_number_changes_the_hash(change: str) -> None:
    arrays, names = Arrays(PIXELS, LABELS), ("cat", "dog")
    before = content_hash(names, {"train": arrays})
    flipped = PIXELS.copy()
    flipped[5, 2, 3, 4] ^= 1
    after = {
        "pixels": content_hash(names, {"train": Arrays(flipped, LABELS)}),
        "labels": content_hash(names, {"train": Arrays(PIXELS, 1 - LABELS)}),
        "classes": content_hash(("dog", "cat"), {"train": arrays}),
        "order": content_hash(names, {"train": Arrays(PIXELS[::-1], LABELS)}),
        "parts": content_hash(names, {"test": arrays}),
    }[change]
    assert before != after


def test_changed_content_or_parameters_are_decoded_again(source: Source, tmp_path: Path) -> None:
    source.load(tmp_path / "c", size=32)
    source.load(tmp_path / "c", size=64)
    assert source.calls == 2
    source.put(b"CONTENT", modified=1_000_000_001)
    source.load(tmp_path / "c", size=32)
    assert source.calls == 3


def test_an_untouched_file_is_hashed_once_and_a_touched_one_again(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    real = files.sha256
    monkeypatch.setattr(cache.files, "sha256", lambda path: hashed.append(path.name) or real(path))

    def count() -> int:
        hashed.clear()
        source.load(tmp_path / "c")
        return hashed.count("source.bin")

    assert [count(), count()] == [1, 0]
    source.put(b"content", modified=1_000_000_001)
    assert [count(), count()] == [1, 0]
    source.path.touch()  # now: the clock may tick only later, so nothing is remembered
    assert [count(), count()] == [1, 1]
    assert source.calls == 1


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def swap(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


@pytest.mark.parametrize("harm", [flip, truncate, swap, Path.unlink])
@pytest.mark.parametrize(
    "name",
    ["manifest.json", "train-images.npy", "train-labels.npy", "train-files.json", "test-images.npy"],
)
def test_a_damaged_entry_is_decoded_again(
    source: Source, tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    check(source.load(tmp_path / "c"))
    harm(entry(tmp_path / "c") / name)
    check(source.load(tmp_path / "c"))
    assert source.calls == 2
    check(source.load(tmp_path / "c"))
    assert source.calls == 2


def test_pixels_of_large_parts_are_compared_by_size_only(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "HASHED_UP_TO", 0)
    source.load(tmp_path / "c")
    flip(entry(tmp_path / "c") / "train-images.npy")
    assert source.load(tmp_path / "c").part("train").images[3, 2, 3, 4] == PIXELS[3, 2, 3, 4] ^ 1
    truncate(entry(tmp_path / "c") / "train-images.npy")
    check(source.load(tmp_path / "c"))


def test_a_test_split_damaged_after_the_load_is_decoded_again_or_refused(
    source: Source, tmp_path: Path
) -> None:
    found = source.load(tmp_path / "c")
    flip(entry(tmp_path / "c") / "test-images.npy")
    check(found)
    assert source.calls == 2
    flip(entry(tmp_path / "c") / "test-images.npy")

    def other(builder: Builder) -> None:
        builder.classes = ("dog", "cat")
        source.decode(builder)
        builder.classes = ("dog", "cat")

    changed = decoded(tmp_path / "c", "set", [source.path], {}, other)
    with pytest.raises(DamagedFile) as caught:
        changed.part("test")
    assert str(caught.value) == (
        f"The decoded images in {entry(tmp_path / 'c')} are damaged, and the files they came from have "
        f"changed since. Give the same command again to start from the files as they are now."
    )


def test_every_death_while_building_leaves_an_entry_that_is_right_or_absent(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operations: list[str] = []
    monkeypatch.setattr(files, "on_operation", lambda operation, path: operations.append(operation))
    source.load(tmp_path / "whole")
    assert len(operations) > 30
    for death in range(len(operations)):
        folder, seen = tmp_path / f"c{death}", []

        def die(operation: str, path: Path, seen: list[str] = seen, death: int = death) -> None:
            seen.append(operation)
            if len(seen) == death + 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(files, "on_operation", die)
        with pytest.raises(KeyboardInterrupt):
            source.load(folder)
        monkeypatch.setattr(files, "on_operation", lambda operation, path: None)
        check(source.load(folder))
        check(source.load(folder))
        assert not list(folder.rglob("*.part"))


def test_an_unwritable_cache_is_done_without_and_said(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(operation: str, path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(files, "on_operation", read_only)
    found = source.load(tmp_path / "c")
    check(found)
    assert found.notes[0] == "Read with care."
    assert found.notes[1] == (
        f"Decoded images could not be kept in {tmp_path / 'c' / 'decoded'} (Read-only file system), so every "
        f"start decodes them again."
    )
    assert not (tmp_path / "c").exists()


def test_a_read_only_cache_is_read(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.load(tmp_path / "c")
    (tmp_path / "c" / "stamps").rename(tmp_path / "gone")

    def read_only(operation: str, path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(files, "on_operation", read_only)
    check(source.load(tmp_path / "c"))
    assert source.calls == 1


def test_what_the_source_refuses_is_refused_and_leaves_nothing(source: Source, tmp_path: Path) -> None:
    def refuse(builder: Builder) -> None:
        source.decode(builder)
        raise BadImages({"row 3": "empty"}, "Repair it.")

    with pytest.raises(BadImages):
        decoded(tmp_path / "c", "set", [source.path], {}, refuse)
    assert [path.name for path in entry(tmp_path / "c").iterdir()] == [".lock"]
    check(source.load(tmp_path / "c"))


def test_starts_at_the_same_time_decode_once(source: Source, tmp_path: Path) -> None:
    found: list[Decoded] = []
    threads = [threading.Thread(target=lambda: found.append(source.load(tmp_path / "c"))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for one in found:
        check(one)
    assert source.calls == 1


def test_a_missing_source_is_named(source: Source, tmp_path: Path) -> None:
    source.path.unlink()
    with pytest.raises(DamagedFile) as caught:
        source.load(tmp_path / "c")
    assert str(caught.value) == (
        f"{source.path} cannot be read as a file: [Errno 2] No such file or directory: '{source.path}'. "
        f"Get the file again."
    )


def test_a_source_that_decodes_differently_after_all_starts_over(tmp_path: Path) -> None:
    def decode(builder: Builder) -> None:
        builder.classes = ("a",)
        builder.add("train", PIXELS[:, :1], LABELS * 0)
        builder.note("forgotten")
        builder.restart()
        builder.add("train", PIXELS, LABELS * 0)

    found = decoded(tmp_path / "c", "set", [], {}, decode)
    assert found.part("train").images.tolist() == PIXELS.tolist()
    assert found.notes == ()


def test_a_raw_reads_its_test_split_only_when_asked(source: Source, tmp_path: Path) -> None:
    found = source.load(tmp_path / "c")
    read = []
    watched = Decoded(
        found.classes,
        found.notes,
        found.hash,
        found.counts,
        lambda part: read.append(part) or found.part(part),  # type: ignore[func-returns-value]
    )
    raw = deliver("set", watched, notes=["One more."])
    assert read == ["train"]
    assert (raw.test_images, raw.unlabelled, raw.val) == (2, None, None)
    assert raw.notes == ("Read with care.", "One more.")
    assert raw.test is not None
    assert raw.test().labels.tolist() == [0, 1]
    assert read == ["train", "test"]


def test_a_set_without_training_images_is_refused(tmp_path: Path) -> None:
    def decode(builder: Builder) -> None:
        builder.classes = ("a",)
        builder.add("unlabelled", PIXELS, LABELS * 0 - 1)

    with pytest.raises(DataError) as caught:
        deliver("set", decoded(tmp_path / "c", "set", [], {}, decode))
    assert str(caught.value) == "The data set 'set' has no labelled training images."
