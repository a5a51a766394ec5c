"""Every error has its exit code and its sentence."""

import ast
import signal
from pathlib import Path

import pytest

from convscope.core import errors
from convscope.core.errors import BadImages, ConvscopeError, Interrupted, MissingExtra, RunBusy, UnknownName

CODES = {
    "ConvscopeError": 1,
    "UsageError": 2,
    "UnknownName": 2,
    "ConfigError": 2,
    "ConfigChanged": 2,
    "SealedSplit": 2,
    "RunBusy": 2,
    "MissingExtra": 2,
    "DataError": 3,
    "DataMissing": 3,
    "BadImages": 3,
    "ClassMismatch": 3,
    "DownloadFailed": 3,
    "DamagedFile": 3,
    "Diverged": 4,
    "NoSpace": 5,
    "NoMemory": 5,
}


def classes() -> dict[str, type[ConvscopeError]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, ConvscopeError)
    }


def test_the_exit_codes() -> None:
    found = {name: value.exit_code for name, value in classes().items() if name != "Interrupted"}
    assert found == CODES


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """A user learns from it what to catch; so every class is in it, under its parent."""
    assert errors.__doc__ is not None
    stack: list[tuple[int, str]] = []
    drawn: dict[str, str] = {}
    for line in errors.__doc__.splitlines():
        words = line.replace("|", " ").replace("-", " ").replace("`", " ").split()
        if not words or words[0] not in classes():
            continue
        depth = line.index(words[0])
        while stack and stack[-1][0] >= depth:
            stack.pop()
        drawn[words[0]] = stack[-1][1] if stack else ""
        stack.append((depth, words[0]))
    real = {
        name: ""
        if name == "ConvscopeError"
        else next(b.__name__ for b in value.__mro__[1:] if b.__name__ in classes())
        for name, value in classes().items()
    }
    assert drawn == real


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            UnknownName("model", "resnet2", ["resnet20", "lenet5", "resnet32"]),
            "No model is called 'resnet2'. Did you mean 'resnet32' or 'resnet20'? Known: lenet5, resnet20, resnet32.",
        ),
        (UnknownName("model", "zzz", ["lenet5"]), "No model is called 'zzz'. Known: lenet5."),
        (
            UnknownName("model", "LeNet5", ["lenet5"]),
            "No model is called 'LeNet5'. Did you mean 'lenet5'? Known: lenet5.",
        ),
        (
            RunBusy(Path("runs/a"), "12"),
            "runs/a is being written by process 12. Wait for it, or stop it first.",
        ),
        (
            MissingExtra("exporting to ONNX", "onnx"),
            'exporting to ONNX needs one more package: pip install "convscope[onnx]"',
        ),
        (
            BadImages({"a.png": "it is empty"}, "Mend it."),
            "1 file is not usable. Nothing was changed.\n  a.png: it is empty\nMend it.",
        ),
        (
            BadImages({"a": "x", "b": "y"}, "Mend them."),
            "2 files are not usable. Nothing was changed.\n  a: x\n  b: y\nMend them.",
        ),
    ],
)
def test_the_sentences(error: ConvscopeError, sentence: str) -> None:
    assert str(error) == sentence


def test_python_finds_them_where_it_looks() -> None:
    """Code that catches the built-in kind keeps working."""
    assert issubclass(errors.UnknownName, LookupError)
    assert issubclass(errors.ConfigError, ValueError)
    assert issubclass(errors.MissingExtra, ImportError)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_has_the_code_of_its_signal(number: int, code: int) -> None:
    assert Interrupted("Stopped.", number).exit_code == code
    assert Interrupted("Stopped.").exit_code == 130


def test_every_class_is_raised_somewhere() -> None:
    """An error nobody raises is documentation of something that cannot happen."""
    source = Path(errors.__file__).parent.parent
    used: set[str] = set()
    for path in source.rglob("*.py"):
        if path.name != "errors.py":
            used |= {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
    branches = {"ConvscopeError", "UsageError", "DataError"}
    # Until the first option that needs one, no extra is asked for by this class but by parquet's reader.
    assert set(CODES) - branches - used <= {"MissingExtra"}
