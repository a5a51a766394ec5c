"""The weights of a run as a plain file; that a run starts from it is in tests/train/test_weights.py."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors.torch import load_file

from convscope.core.errors import ConfigError
from convscope.evaluate.runs import Run
from convscope.export.weights import weights
from convscope.models import build


class Trained:
    """Stands for a run with two sets of weights."""

    def model(self, which: str) -> torch.nn.Module:
        return build("resnet20", classes=3, width=4, seed={"best": 1, "last": 2}[which])


RUN = cast(Run, Trained())


@pytest.mark.parametrize(("which", "seed"), [("best", 1), ("last", 2)])
def test_the_file_holds_every_tensor_by_its_name(which: Any, seed: int, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_text("what was there before")
    wanted = build("resnet20", classes=3, width=4, seed=seed).state_dict()
    assert weights(RUN, path, which) == len(wanted)
    found = load_file(path)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        weights(RUN, tmp_path / "a.pth")
    assert (
        str(error.value)
        == f"Weights are written as safetensors: {tmp_path / 'a.pth'} must end with .safetensors."
    )
    assert not list(tmp_path.iterdir())
