"""evaluate, test and predict on one trained run."""

import csv
import json
import shutil
from pathlib import Path

from PIL import Image

from convscope.data import load
from convscope.evaluate.runs import open_run

OPTIONS = {"images": 160}


def read(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_evaluate_gives_the_accuracy_the_run_recorded(command, trained) -> None:
    result = json.loads((trained / "result.json").read_text())
    code, told, _ = command("evaluate", trained)
    assert code == 0
    assert f"{result['best']['val_correct']:7}  {result['best']['val_accuracy']:8.2%}" in told
    code, told, _ = command("evaluate", trained, "--weights", "last")
    assert f"{result['final']['correct']:7}  {result['final']['accuracy']:8.2%}" in told
    assert "validation split" in told


def test_the_test_split_is_opened_and_counted(command, trained, tmp_path) -> None:
    root = tmp_path / "results" / trained.parent.name / trained.name
    shutil.copytree(trained, root)
    ledger = tmp_path / "results" / "test-openings.jsonl"
    assert not ledger.exists()
    code, told, _ = command("test", root)
    assert code == 0
    assert told.endswith(
        f"The test split of synthetic has been opened once, by this command; {ledger} lists it.\n"
    )
    code, told, _ = command("test", root, "--weights", "last")
    assert told.endswith(f"has been opened 2 times by now; {ledger} lists it.\n")
    assert len(ledger.read_text().splitlines()) == 2


def test_a_run_that_has_not_ended_cannot_open_the_test_split(command, trained, tmp_path) -> None:
    root = tmp_path / "results" / trained.parent.name / trained.name
    shutil.copytree(trained, root)
    (root / "result.json").unlink()
    code, told, watched = command("test", root)
    assert (code, told) == (2, "")
    assert watched == (
        f"convscope: The test split stays sealed: {root} has not ended. It is opened once, when all is decided; "
        "until then `convscope evaluate` scores the validation split.\n"
    )
    assert not (tmp_path / "results" / "test-openings.jsonl").exists()


def test_predictions_of_a_split_are_numbered_from_zero(command, trained, tmp_path) -> None:
    output = tmp_path / "p.csv"
    code, _, _ = command("predict", trained, "--split", "val", "-o", output, "--labels", "index")
    rows = read(output)
    val = open_run(trained).data().val
    right = sum(int(row[1]) == label for row, label in zip(rows[1:], val.labels.tolist(), strict=True))
    assert code == 0
    assert rows[0] == ["Id", "Label"]
    assert [row[0] for row in rows[1:]] == [str(i) for i in range(len(val))]
    assert right == json.loads((trained / "result.json").read_text())["best"]["val_correct"]


def test_predictions_of_a_folder_go_by_file_name_and_equal_those_of_the_split(
    command, trained, tmp_path
) -> None:
    val = open_run(trained).data().val
    folder = tmp_path / "photos"
    folder.mkdir()
    # Written in an order that is not the order of the names.
    for i in reversed(range(len(val))):
        Image.fromarray(val.batch(np_index(i))[0, 0].numpy()).save(folder / f"{i:03d}.png")
    command("predict", trained, "--split", "val", "-o", tmp_path / "split.csv")
    code, _, told = command("predict", trained, folder, "-o", tmp_path / "files.csv")
    by_split = read(tmp_path / "split.csv")
    by_file = read(tmp_path / "files.csv")
    assert code == 0
    assert told == f"{len(val)} predictions in {tmp_path / 'files.csv'}\n"
    assert [row[0] for row in by_file[1:]] == [f"{i:03d}.png" for i in range(len(val))]
    assert [row[1] for row in by_file] == [row[1] for row in by_split]


def np_index(i: int):
    import torch

    return torch.tensor([i])


def test_a_file_that_is_no_image_is_named(command, trained, tmp_path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "b.png").write_text("<html>not here</html>")
    code, told, watched = command("predict", trained, tmp_path / "a.png", tmp_path / "b.png")
    assert (code, told) == (3, "")
    assert watched == (
        "convscope: 2 files are not usable. Nothing was changed.\n"
        f"  {tmp_path / 'a.png'}: empty, 0 bytes\n"
        f"  {tmp_path / 'b.png'}: a web page (HTML), not an image\n"
        "Leave these files out to predict the rest.\n"
    )


def test_predict_needs_images_or_a_split(command, trained) -> None:
    assert command("predict", trained) == (
        2,
        "",
        "convscope: Say what to predict: image files or folders, or --split train|val|unlabelled|test, not both.\n",
    )


def test_another_folder_is_scored_by_class_name(command, trained, tmp_path) -> None:
    """The folder has the classes in another order and lacks one: accuracy is what a hand count gives."""
    run = open_run(trained)
    val, names = run.data().val, run.card().classes
    renamed = {names[0]: "z-last"}
    for i in range(len(val)):
        name = names[int(val.labels[i])]
        if name == names[1]:
            continue
        folder = tmp_path / "more" / renamed.get(name, name)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(val.batch(np_index(i))[0, 0].numpy()).save(folder / f"{i}.png")
    code, told, watched = command("evaluate", trained, "--on", f"folder:{tmp_path / 'more'}")
    assert code == 3
    assert watched.startswith("convscope: The network does not know the class 'z-last' (")
    (tmp_path / "more" / "z-last").rename(tmp_path / "more" / names[0])
    code, told, _ = command("evaluate", trained, "--on", f"folder:{tmp_path / 'more'}")
    predicted = command("predict", trained, "--split", "val", "-o", tmp_path / "v.csv")
    rows = read(tmp_path / "v.csv")[1:]
    truth = [names[label] for label in val.labels.tolist()]
    kept = [(row[1], name) for row, name in zip(rows, truth, strict=True) if name != names[1]]
    right = sum(a == b for a, b in kept)
    assert predicted[0] == code == 0
    assert f"{len(kept):6}  {right:7}  {right / len(kept):8.2%}" in told
    assert f"{names[1]:<{max(5, *map(len, names))}}  {0:6}" in told


def test_the_test_images_cannot_be_read_through_the_api() -> None:
    import pytest

    from convscope.core.errors import SealedSplit

    data = load("synthetic", **OPTIONS)
    for name in ("pixels", "labels", "rows", "batch", "subset", "files"):
        with pytest.raises(SealedSplit) as caught:
            getattr(data.test, name)
        assert str(caught.value) == (
            "The test split is sealed: choose on the validation split. When everything is decided, "
            "`convscope test RUN` opens it once and records that."
        )
