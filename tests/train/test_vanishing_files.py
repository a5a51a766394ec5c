"""Images that are deleted or overwritten while a run trains on them: row D2 of the fault matrix."""

import random
from pathlib import Path

import numpy as np
import pytest
import tiny
from PIL import Image

CLASSES = ("cat", "dog")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    dice = np.random.default_rng(0)
    for number in range(80):
        folder = tmp_path / "photos" / CLASSES[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = dice.integers(0, 128, (16, 16, 3), dtype=np.uint8) + 100 * (number % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.usefixtures("cheap")
def test_files_that_vanish_after_the_scan_change_nothing(photos: Path, tmp_path: Path) -> None:
    """Ten deletions and ten overwritten files, one of each at ten random steps."""
    data = {"source": f"folder:{photos}", "size": 16}
    wanted = tiny.go(tmp_path / "whole", "resnet", data=data, epochs=8)
    assert wanted.result is not None
    files, dice = sorted(photos.rglob("*.png")), random.Random(1)
    dice.shuffle(files)
    moments = dice.sample(range(wanted.result["steps"]), 10)

    def disturb(record: dict[str, object]) -> None:
        if record["step"] in moments:
            files.pop().unlink()
            files.pop().write_bytes(b"no image any more")

    with tiny.traced(disturb):
        tiny.go(tmp_path / "disturbed", "resnet", data=data, epochs=8)
    assert len(list(photos.rglob("*.png"))) == 70
    assert tiny.digest(tmp_path / "disturbed") == tiny.digest(tmp_path / "whole")
