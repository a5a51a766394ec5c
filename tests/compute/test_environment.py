"""What is written down about the machine, and what of it must agree."""

import ast
import copy
import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from convscope.compute import environment
from convscope.compute.environment import code_hash, commit, comparable, fingerprint, machine
from convscope.compute.precision import Table, Verdict


@pytest.fixture
def table() -> Table:
    verdicts = {
        "a": Verdict(dtype="bfloat16", error=0.001, speed=2.0, reason="r"),
        "b": Verdict(dtype="float32", error=0.001, speed=1.0, reason="r"),
    }
    return Table(mode="auto", verdicts=verdicts, layers={"conv": ("a",), "head": ("b",)})


@pytest.fixture
def record(table: Table) -> dict[str, Any]:
    return fingerprint(2, table, "data")


def test_the_record_is_plain_and_complete(record: dict[str, Any], table: Table) -> None:
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["versions"]["torch"] == torch.__version__
    assert (record["threads"], record["data"], record["denormals"]) == (2, "data", "kept")
    assert record["dtypes"] == {"conv": "bfloat16", "head": "float32"}
    assert Table.model_validate_json(json.dumps(record["precision"])) == table
    assert record["code"] == code_hash()


def test_a_record_agrees_with_itself(record: dict[str, Any]) -> None:
    assert comparable(record, json.loads(json.dumps(record))) == []


def put(*path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(record: dict[str, Any]) -> None:
        for key in path[:-1]:
            record = record[key]
        record[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("versions", "python", value="x"), "The Python version differs: {python} then, x now."),
        (put("versions", "torch", value="x"), "The torch version differs: {torch} then, x now."),
        (put("versions", "numpy", value="x"), "The NumPy version differs: {numpy} then, x now."),
        (put("versions", "pillow", value="x"), "The Pillow version differs: {pillow} then, x now."),
        (put("versions", "onednn", value="x"), "The oneDNN version differs: {onednn} then, x now."),
        (put("machine", "device", value="cuda"), "The device differs: cpu then, cuda now."),
        (put("machine", "processor", value="x"), "The processor differs: {processor} then, x now."),
        (put("machine", "flags", value="x"), "The processor's flags differ: {flags} then, x now."),
        (put("machine", "kernels", value="x"), "The choice of kernels differs: {kernels} then, x now."),
        (put("threads", value=1), "The number of threads differs: 2 then, 1 now."),
        (put("denormals", value="flushed"), "The treatment of denormals differs: kept then, flushed now."),
        (put("data", value="other"), "The data differ: data then, other now."),
        (put("code", value="x"), "The code that decides numbers differs: {code} then, x now."),
        (
            put("dtypes", "conv", value="float32"),
            "The precision of 1 layer differs, first of conv: bfloat16 then, float32 now.",
        ),
        (
            put("dtypes", value={}),
            "The precision of 2 layers differs, first of conv: bfloat16 then, not recorded now.",
        ),
        (put("versions", value=None), None),
    ],
)
def test_each_difference_is_a_sentence(
    record: dict[str, Any], change: Callable[[dict[str, Any]], None], sentence: str | None
) -> None:
    new = copy.deepcopy(record)
    change(new)
    found = comparable(record, new)
    if sentence is None:
        assert len(found) == 5  # a record without versions is not taken for an equal one
    else:
        known = {**record["versions"], **record["machine"], "code": record["code"]}
        assert found == [sentence.format(**known)]


@pytest.mark.parametrize(
    "change",
    [
        put("commit", value="x"),
        put("platform", value="x"),
        put("versions", "convscope", value="x"),
        put("precision", "verdicts", "a", "speed", value=9.0),
    ],
)
def test_what_decides_no_number_is_not_compared(
    record: dict[str, Any], change: Callable[[dict[str, Any]], None]
) -> None:
    new = copy.deepcopy(record)
    change(new)
    assert new != record
    assert comparable(record, new) == []


def test_the_code_hash_by_hand(tmp_path: Path) -> None:
    modules = {
        "core/b.py": "x = 1",
        "core/a.py": "",
        "train/in/c.py": "",
        "cli/x.py": "",
        "core/x.txt": "",
        "core/entries.py": "",
    }
    for name, text in modules.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    empty, assigned = ast.dump(ast.parse("")), ast.dump(ast.parse("x = 1"))
    lines = "".join(
        f"{name} {hashlib.sha256(syntax.encode()).hexdigest()}\n"
        for name, syntax in [("core/a.py", empty), ("core/b.py", assigned), ("train/in/c.py", empty)]
    )
    assert fresh_hash(tmp_path) == hashlib.sha256(lines.encode()).hexdigest()


def fresh_hash(package: Path) -> str:
    code_hash.cache_clear()
    return code_hash(package)


def test_the_code_hash_changes_with_code_and_with_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "core" / "a.py"
    path.parent.mkdir()
    code = "def f(x):\n    '''What is it?'''\n    return x + 1  # a reason\n"
    path.write_text(code)
    before = fresh_hash(tmp_path)
    path.write_text(code.replace("What is it?", "It is this.").replace("a reason", "another"))
    assert fresh_hash(tmp_path) == before
    path.write_text(code.replace("x + 1", "x + 2"))
    assert fresh_hash(tmp_path) != before
    path.write_text(code)
    path.rename(tmp_path / "core" / "d.py")
    assert fresh_hash(tmp_path) != before


def test_the_commit_of_a_checkout_and_only_of_its_own(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        named = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b.c", *arguments]
        return subprocess.run(named, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "src" / "package"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    assert commit(package) == ""  # no checkout
    git("init", "-q")
    assert commit(package) == ""  # somebody else's checkout: ours is not in it
    git("add", ".")
    git("commit", "-q", "-m", "one")
    clean = git("rev-parse", "HEAD")
    assert len(clean) == 40
    assert commit(package) == clean
    (tmp_path / "elsewhere.txt").write_text("x")
    assert commit(package) == clean
    (package / "__init__.py").write_text("changed = True\n")
    assert commit(package) == f"{clean}+dirty"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert commit() == ""


def test_the_processor_by_hand(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text(
        "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: EPYC\nstepping\t: 1\n"
        "cpu MHz\t\t: 2600.1\nflags\t\t: sse avx\n\nprocessor\t: 1\nmodel name\t: other\n"
    )
    assert environment._processor(info) == ("EPYC (cpu family 25, model 17, stepping 1)", "avx sse")
    name, flags = environment._processor(tmp_path / "absent")
    assert name and flags == ""


def test_limits_set_by_the_user_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine(torch.device("cpu"))["kernels"]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert machine(torch.device("cpu"))["kernels"] == f"{before} ONEDNN_MAX_CPU_ISA=AVX2"
