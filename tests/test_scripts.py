"""What lies in scripts/ does what it says: foreign weights become safetensors, and programs are not run."""

import hashlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pth_to_safetensors", SCRIPTS / "pth_to_safetensors.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


STATE = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.tensor([1.0, 2.0])}


@pytest.mark.parametrize(
    "found",
    [
        STATE,
        {"state_dict": STATE, "epoch": 3},
        {"model": STATE, "args": {"lr": 0.1}},
        {"state_dict": {f"module.{name}": tensor for name, tensor in STATE.items()}},
    ],
)
def test_every_usual_form_gives_the_same_tensors(
    script: ModuleType, found: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(found, tmp_path / "a.pth")
    assert script.main([str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors")]) == 0
    made = load_file(tmp_path / "a.safetensors")
    assert made.keys() == STATE.keys()
    assert all(torch.equal(made[name], tensor) for name, tensor in STATE.items())
    digest = hashlib.sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    assert capsys.readouterr().out == (
        f"{tmp_path / 'a.safetensors'}: 2 tensors, 8 numbers\nSHA-256 {digest}\n"
    )
    assert not list(tmp_path.glob("*.part"))


def test_tensors_that_share_memory_or_are_no_rows_of_it(script: ModuleType, tmp_path: Path) -> None:
    """safetensors refuses both."""
    weight = torch.arange(6.0).view(2, 3)
    filters = torch.arange(24.0).view(2, 3, 2, 2).to(memory_format=torch.channels_last)
    torch.save({"a": weight, "b": weight, "c": weight.T, "d": filters}, tmp_path / "a.pth")
    assert script.main([str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors")]) == 0
    made = load_file(tmp_path / "a.safetensors")
    assert torch.equal(made["a"], weight) and torch.equal(made["b"], weight)
    assert torch.equal(made["c"], weight.T) and torch.equal(made["d"], filters)


class Program:
    """Unpickled without care, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_a_program_is_not_run(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"weight": torch.zeros(1), "program": Program(tmp_path / "ran")}, tmp_path / "a.pth")
    # The trap works.
    torch.load(tmp_path / "a.pth", weights_only=False)
    (tmp_path / "ran").unlink()
    assert script.main([str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors")]) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["a.pth"]
    assert capsys.readouterr().err.startswith(
        f"{tmp_path / 'a.pth'} was not opened: it is no file of torch.save, or it holds more than tensors, which could "
        f"run programs ("
    )


WANTED = "Save it as one, or as a dict with one under `state_dict` or `model`: torch.save(model.state_dict(), ...)."


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        ([torch.zeros(1)], "holds no state dict but a list. " + WANTED),
        ({}, "holds no state dict but a dict. " + WANTED),
        (
            {"weight": torch.zeros(1), "epoch": 3, 4: torch.zeros(1)},
            "holds no state dict: epoch, 4 are not tensors by name. " + WANTED,
        ),
    ],
)
def test_what_is_no_state_dict_is_refused(
    script: ModuleType, found: Any, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(found, tmp_path / "a.pth")
    assert script.main([str(tmp_path / "a.pth"), str(tmp_path / "a.safetensors")]) == 3
    assert capsys.readouterr().err == f"{tmp_path / 'a.pth'} {sentence}\n"
    assert not (tmp_path / "a.safetensors").exists()


def test_words_that_are_not_understood(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main(["a.pth"]) == script.main(["a.pth", "b.pth"]) == 2
    assert "usage: python scripts/pth_to_safetensors.py" in capsys.readouterr().err
    assert script.main([str(tmp_path / "none.pth"), str(tmp_path / "a.safetensors")]) == 3
    assert capsys.readouterr().err == f"{tmp_path / 'none.pth'} cannot be read: No such file or directory.\n"
    (tmp_path / "text.pth").write_text("hello")
    assert script.main([str(tmp_path / "text.pth"), str(tmp_path / "a.safetensors")]) == 3
    assert f"{tmp_path / 'text.pth'} was not opened: " in capsys.readouterr().err
