"""A run small enough to be trained in a second, made once per test session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from convscope.cli.main import main

TINY = ["--data.images", "160", "--data.size", "16", "--epochs", "2", "--batch-size", "32", "--threads", "1"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the cache of whoever runs the tests, or finds their data."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("CONVSCOPE_DATA", raising=False)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of LeNet-5 on 160 synthetic images of 4 classes."""
    root = tmp_path_factory.mktemp("trained")
    arguments = ["train", "lenet5", "synthetic", *TINY, "--precision", "float32", "--root", str(root)]
    assert main(arguments) == 0
    return next(root.glob("*/seed-0"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """`command("train", ...)` -> exit code, stdout, stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # tyro ends the process itself
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
