"""`convscope audit`: what it prints, what it writes, and what it leaves alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.cli.audit import Flags
from convscope.data.duplicates import ALIKE

SMALL = ["synthetic", "--data.images", "160", "--data.size", "16"]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def photos(root: Path) -> Path:
    """Ten cats and ten dogs; dog 0 is cat 0 again, and one file is no image."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    pixels[10] = pixels[0]
    for k, image in enumerate(pixels):
        save(root / ("cat" if k < 10 else "dog") / f"{k % 10}.png", image)
    (root / "cat" / "broken.png").write_bytes(b"no image")
    return root


def test_a_folder_with_a_bad_file_and_a_picture_in_two_classes(command, tmp_path) -> None:
    root = photos(tmp_path / "photos")
    before = sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))
    out = tmp_path / "found" / "audit.json"
    code, told, watched = command("audit", f"folder:{root}", "--out", out)
    assert (code, watched) == (0, "")
    lines = told.splitlines()
    assert lines[0] == "photos: 13 training, 3 validation, 4 test images (labels sealed)"
    assert "Left out 1 file not usable:" in told and "cat/broken.png: " in told
    assert "2 images are exact copies of one another" not in told  # the audit says it in its own words
    assert "2 images in 1 group are equal in every pixel; " in told
    assert lines[-1] == f"Everything is in {out}."
    table = json.loads(out.read_text())
    assert len(table["exact"]) == 1
    assert {image["part"] for image in table["exact"][0]} in ({"train"}, {"val"}, {"test"})
    assert table["notes"][0].startswith("Left out 1 file")
    assert before == sorted((path, path.stat().st_mtime_ns) for path in root.rglob("*"))


def test_a_clean_set_by_name(command) -> None:
    code, told, _ = command("audit", *SMALL)
    lines = told.splitlines()
    assert code == 0
    assert lines[0] == "synthetic: 144 training, 16 validation, 40 test images (labels sealed)"
    assert lines[2:7] == [
        "class         train     val",
        "0 degrees        36       4",
        "45 degrees       36       4",
        "90 degrees       36       4",
        "135 degrees      36       4",
    ]
    assert "No two images are equal in every pixel." in lines
    assert lines[-1] == (
        "The test images were compared by their pixels; their labels were neither used nor shown, so this is no "
        "opening of the test split."
    )


def test_without_looking_for_images_that_look_alike(command) -> None:
    code, told, _ = command("audit", *SMALL, "--no-near")
    assert code == 0
    assert "Images that look alike were not looked for." in told
    assert "look like another" not in told


def test_suspicious_labels_come_from_networks_that_are_kept_as_runs(command, tmp_path) -> None:
    out = tmp_path / "audit.json"
    code, told, watched = command(
        "audit",
        *SMALL,
        "--no-near",
        "--folds",
        "2",
        "--epochs",
        "1",
        "--root",
        tmp_path / "runs",
        "--out",
        out,
    )
    assert code == 0
    assert watched.count("val accuracy") == 2
    assert "Mean validation accuracy of the final weights: " in told
    assert "labels (" in told and "are contradicted by a network that never saw the image." in told
    labels = json.loads(out.read_text())["labels"]
    assert labels["images"] == 160
    assert sum(map(sum, labels["joint"])) <= 160
    runs = sorted((tmp_path / "runs").glob("*/seed-0"))
    assert len(runs) == 2
    # `train --folds` finds the same runs finished.
    code, told, watched = command(
        *("train", "lenet5", *SMALL, "--epochs", "1", "--folds", "2", "--root", tmp_path / "runs")
    )
    assert (code, watched) == (0, "")
    assert sorted((tmp_path / "runs").glob("*/seed-0")) == runs


def test_a_single_fold_is_refused_before_anything_is_read(command) -> None:
    assert command("audit", "folder:nowhere", "--folds", "1") == (
        2,
        "",
        "convscope: folds is 1, but cross-validation needs at least 2 parts: one is held out and the rest trained "
        "on.\n",
    )


def test_the_threshold_is_the_one_that_was_chosen() -> None:
    """Written out there, because importing it would import torch for `--help`."""
    assert Flags(data="digits").alike == ALIKE


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--alike", "2"], "--alike cannot be '2': Input should be less than 1."),
        (
            ["--model.norm", "batch"],
            "audit has no options --model.KEY, only --data.KEY. Options of the network for suspicious labels follow its "
            "name, such as --model resnet20:width=8.",
        ),
    ],
)
def test_what_audit_does_not_understand(words, sentence, command) -> None:
    assert command("audit", "digits", *words) == (2, "", f"convscope: {sentence}\n")
