"""A snapshot that was changed in any way is refused, and nothing in it is ever run: rows B1, B2 and B3."""

import hashlib
import io
import json
import os
import pickle
import random
import shutil
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from convscope.core import snapshot
from convscope.core.errors import DamagedFile

TENSORS = {
    "model/weight": torch.arange(12, dtype=torch.float32).reshape(3, 4),
    "model/count": torch.tensor(7),
    "model/half": torch.tensor([1.5, -0.0, float("inf")], dtype=torch.bfloat16),
    "optimizer/weight/v": torch.full((2, 3, 1, 1), 0.1).to(memory_format=torch.channels_last),
}
STATE = {"best": None, "seconds": 1.5, "name": "ü", "list": [1, 2.5, "x"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with snapshots of steps 5 and 10."""
    for step in (5, 10):
        snapshot.save(tmp_path / "s", step, TENSORS, {**STATE, "at": step})
    return tmp_path / "s"


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[k].dtype == right[k].dtype and left[k].shape == right[k].shape and torch.equal(left[k], right[k])
        for k in left
    )


def test_what_is_saved_is_what_is_loaded(folder: Path) -> None:
    found, refused = snapshot.newest(folder)
    assert found is not None and refused == []
    assert (found.step, found.path.name) == (10, "step-00000010.json")
    assert found.state == {**STATE, "at": 10}
    assert same(found.tensors, TENSORS)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("step-00000005.json", "step-00000005.safetensors"),
        *("step-00000010.json", "step-00000010.safetensors"),
    ]


def test_the_manifest_names_the_hash_of_the_tensors(folder: Path) -> None:
    """Computed here without the package."""
    manifest = json.loads((folder / "step-00000010.json").read_text())
    data = (folder / "step-00000010.safetensors").read_bytes()
    assert manifest["tensors"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert manifest["tensors"]["bytes"] == len(data)
    body = {key: manifest[key] for key in ("format", "step", "tensors", "state")}
    text = json.dumps(body, sort_keys=True).encode()
    assert manifest["seal"] == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize("flips", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_noticed(folder: Path, flips: int, capsys: pytest.CaptureFixture[str]) -> None:
    """B1: half of them in each of the two files; safetensors alone notices few, which is the point."""
    from safetensors import SafetensorError
    from safetensors.torch import load as plain_load

    dice = random.Random(flips)
    noticed_by_safetensors = 0
    for number in range(flips):
        path = folder / ("step-00000010.safetensors" if number % 2 else "step-00000010.json")
        good = path.read_bytes()
        bad = bytearray(good)
        bad[dice.randrange(len(bad))] ^= 1 << dice.randrange(8)
        path.write_bytes(bad)
        if _is_same_json(good, bytes(bad), path):
            path.write_bytes(good)
            continue
        with pytest.raises(DamagedFile):
            snapshot.load(folder / "step-00000010.json")
        found, refused = snapshot.newest(folder)
        assert found is not None and found.step == 5 and len(refused) == 1
        if number % 2:
            try:
                plain_load(bytes(bad))
            except (SafetensorError, ValueError, KeyError, TypeError, UnicodeDecodeError):
                noticed_by_safetensors += 1
        path.write_bytes(good)
    # Most of this small file is its header; of a real one nearly all is payload, which nobody checks.
    assert noticed_by_safetensors < flips / 2


def _is_same_json(good: bytes, bad: bytes, path: Path) -> bool:
    """Whether the flip changed nothing that is read, such as one kind of white space into another."""
    if path.suffix != ".json":
        return False
    try:
        return bool(json.loads(good) == json.loads(bad))
    except ValueError:
        return False


@pytest.mark.parametrize("cuts", [30, pytest.param(100, marks=pytest.mark.slow)])
def test_every_cut_is_noticed(folder: Path, cuts: int) -> None:
    """B2: any length, none, and a manifest that is gone."""
    dice = random.Random(cuts)
    for number in range(cuts):
        path = folder / ("step-00000010.safetensors" if number % 2 else "step-00000010.json")
        good = path.read_bytes()
        path.write_bytes(good[: dice.randrange(len(good)) if number > 1 else 0])
        found, refused = snapshot.newest(folder)
        assert found is not None and found.step == 5 and len(refused) == 1
        path.write_bytes(good)
    assert snapshot.newest(folder)[1] == []


def test_the_sentences(folder: Path) -> None:
    manifest, tensors = folder / "step-00000010.json", folder / "step-00000010.safetensors"
    content = json.loads(manifest.read_text())
    cases: list[tuple[Callable[[], object], str]] = [
        (tensors.unlink, f"{tensors} cannot be read: No such file or directory."),
        (lambda: manifest.write_text("[]"), f"{manifest} is not a snapshot's manifest (TypeError)."),
        (lambda: manifest.write_text("{"), f"{manifest} is not a snapshot's manifest (JSONDecodeError)."),
        (lambda: manifest.write_text("{}"), f"{manifest} is not a snapshot's manifest (KeyError)."),
        (
            lambda: manifest.write_text(json.dumps({**content, "step": 11})),
            f"{manifest} does not agree with its own checksum.",
        ),
        (
            lambda: tensors.write_bytes(tensors.read_bytes() + b" "),
            f"{tensors} does not agree with the SHA-256 in its manifest.",
        ),
    ]
    backup = folder.parent / "backup"
    shutil.copytree(folder, backup)
    for damage, sentence in cases:
        damage()
        with pytest.raises(DamagedFile) as error:
            snapshot.load(manifest)
        assert str(error.value) == sentence
        shutil.rmtree(folder)
        shutil.copytree(backup, folder)
    assert snapshot.load(manifest).step == 10


def test_a_format_of_the_future_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "FORMAT", 2)
    snapshot.save(folder, 11, TENSORS, {})
    monkeypatch.undo()
    found, refused = snapshot.newest(folder)
    assert found is not None and found.step == 10 and len(refused) == 1


# A program where weights should be ---------------------------------------------------------------------------


class Program:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.canary),)


def payloads(canary: Path) -> dict[str, bytes]:
    """Twelve files that would do something if anybody ran them."""
    plain = {f"pickle, protocol {n}": pickle.dumps(Program(canary), protocol=n) for n in range(6)}
    path = str(canary).encode()
    written = {
        "GLOBAL": b"cos\nmkdir\n(V" + path + b"\ntR.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c" + bytes([len(path)]) + path + b"\x85R.",
        "INST": b"(V" + path + b"\nios\nmkdir\n.",
        "builtins eval": b"cbuiltins\neval\n(V__import__('os').mkdir('" + path + b"')\ntR.",
    }
    legacy = io.BytesIO()
    torch.save({"state": Program(canary)}, legacy, _use_new_zipfile_serialization=False)
    modern = io.BytesIO()
    with zipfile.ZipFile(modern, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Program(canary)))
        archive.writestr("archive/version", "3")
        archive.writestr("archive/inner.zip", modern.getvalue())
    return {**plain, **written, "torch, legacy": legacy.getvalue(), "torch, zip in zip": modern.getvalue()}


@pytest.mark.parametrize("kind", list(payloads(Path("canary"))))
def test_a_program_in_place_of_a_file_is_not_run(folder: Path, tmp_path: Path, kind: str) -> None:
    """B3: refused within a second, and the canary is not there."""
    canary = tmp_path / "canary"
    data = payloads(canary)[kind]
    assert len(payloads(canary)) == 12
    for name in ("step-00000010.safetensors", "step-00000010.json"):
        good = (folder / name).read_bytes()
        (folder / name).write_bytes(data)
        started = time.perf_counter()
        with pytest.raises(DamagedFile):
            snapshot.load(folder / "step-00000010.json")
        assert time.perf_counter() - started < 1
        (folder / name).write_bytes(good)
    assert not canary.exists()


def test_the_programs_would_have_run(tmp_path: Path) -> None:
    """Else the test above shows nothing."""
    ran = 0
    for number, (kind, data) in enumerate(payloads(Path("canary")).items()):
        if kind.startswith("torch"):
            continue
        canary = tmp_path / f"{number}"
        pickle.loads(payloads(canary)[kind])
        ran += canary.is_dir()
        assert data
    assert ran == 10


def test_a_program_with_the_right_hash_is_not_run_either(folder: Path, tmp_path: Path) -> None:
    """Somebody who writes manifests too: the reader of tensors refuses what is not safetensors."""
    data = pickle.dumps(Program(tmp_path / "canary"))
    path = folder / "step-00000010.safetensors"
    path.write_bytes(data)
    manifest = json.loads((folder / "step-00000010.json").read_text())
    body = {key: manifest[key] for key in ("format", "step", "tensors", "state")}
    body["tensors"]["sha256"] = hashlib.sha256(data).hexdigest()
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    (folder / "step-00000010.json").write_text(json.dumps({**body, "seal": seal}))
    with pytest.raises(DamagedFile) as error:
        snapshot.load(folder / "step-00000010.json")
    assert str(error.value).startswith(f"{path} is not a safetensors file: ")
    assert not (tmp_path / "canary").exists()


# Keeping -----------------------------------------------------------------------------------------------------


@given(steps=st.sets(st.integers(0, 99_999_999), max_size=6), count=st.integers(1, 3), data=st.data())
@settings(max_examples=30, deadline=None, database=None)
def test_the_newest_are_kept_and_orphans_go(
    tmp_path_factory: pytest.TempPathFactory, steps: set[int], count: int, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    orphans = data.draw(st.sets(st.integers(0, 99_999_999), max_size=3)) - steps
    for step in steps | orphans:
        (folder / f"step-{step:08d}.safetensors").touch()
        if step in steps:
            (folder / f"step-{step:08d}.json").touch()
    (folder / "step-00000001.json.part").touch()
    (folder / "notes.txt").touch()
    snapshot.keep_newest(folder, count)
    left = sorted(steps, reverse=True)[:count]
    expected = {f"step-{step:08d}{end}" for step in left for end in (".json", ".safetensors")}
    if 1 in left:
        expected.add("step-00000001.json.part")
    assert {path.name for path in folder.iterdir()} == {"notes.txt", *expected}


def test_a_manifest_goes_before_its_tensors(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a death in between leaves no manifest whose tensors are gone."""
    removed: list[str] = []
    monkeypatch.setattr(snapshot.files, "on_operation", lambda operation, path: removed.append(path.suffix))
    snapshot.keep(folder, lambda step: step == 10)
    assert removed == [".json", ".safetensors"]


def test_no_folder_is_no_snapshot(tmp_path: Path) -> None:
    assert snapshot.newest(tmp_path / "nothing") == (None, [])


def test_the_order_is_by_step_not_by_text(tmp_path: Path) -> None:
    for step in (9, 10, 100_000_000, 99_999_999):
        snapshot.save(tmp_path, step, {"a": torch.ones(1)}, {})
    assert [snapshot.step_of(path) for path in snapshot.manifests(tmp_path)] == [
        100_000_000,
        99_999_999,
        10,
        9,
    ]


assert sys.byteorder == "little"  # what safetensors stores, and the hashes above are of


# Headers written to do harm: row B5 -------------------------------------------------------------------------


def hostile(dice: random.Random) -> bytes:
    """A file in which the header is not what its format says, or says what cannot be."""
    shape = [dice.choice([0, 1, 4, -1, 2**31, 2**62, 2**64, 10**30, 1.5]) for _ in range(dice.randint(0, 40))]
    offsets = dice.choice([[0, 16], [0, 2**63], [16, 0], [8, 24], [-8, 8], [0], [0, 16, 32], "x", None])
    dtype = dice.choice(["F32", "F64", "BOOL", "X9", "", 7, None, "F8_E4M3", "I64"])
    entry: object = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    entries = {f"model/{i}": entry for i in range(dice.choice([1, 2, 300]))}
    match dice.randint(0, 6):
        case 0:
            header = json.dumps(entries).encode()
        case 1:
            header = b'{"a":' * dice.randint(1, 100_000)
        case 2:
            header = b"[" * 100_000
        case 3:
            header = json.dumps({"__metadata__": {"format": 3}, **entries}).encode()
        case 4:
            header = dice.randbytes(dice.randint(0, 500))
        case 5:
            header = json.dumps(entries).encode() + b" " * dice.randint(0, 5000)
        case _:
            header = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}).encode()
    said = dice.choice([len(header)] * 4 + [0, 1, len(header) + 1, 2**27, 2**40, 2**63, 2**64 - 1])
    return said.to_bytes(8, "little") + header + dice.randbytes(dice.choice([0, 8, 15, 18, 400]))


def test_a_thousand_hostile_headers(tmp_path: Path) -> None:
    """B5: sealed by someone who can compute hashes, so the parser meets them; every one is refused cheaply."""
    import resource

    snapshot.save(tmp_path, 5, TENSORS, STATE)
    manifest = tmp_path / "step-00000005.json"
    good = json.loads(manifest.read_bytes())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(1000):
        data = hostile(random.Random(seed))
        (tmp_path / "step-00000005.safetensors").write_bytes(data)
        described = {**good["tensors"], "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        body = {**{key: good[key] for key in ("format", "step", "state")}, "tensors": described}
        manifest.write_text(json.dumps({**body, "seal": snapshot._seal(body)}))
        with pytest.raises(DamagedFile) as error:
            snapshot.load(manifest)
        assert "is not a safetensors file: " in str(error.value), seed
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200 * 1024, f"{grown} KiB"
