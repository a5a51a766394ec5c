"""The bytes are compared whole, and what was written is read back with the csv module."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from convscope.core import files
from convscope.core.errors import NoSpace
from convscope.export.predictions import write_predictions

ODD = [
    "a,b.png",
    'a"b.png',
    "a\nb.png",
    "a\rb.png",
    " a.png",
    "é.png",
    "é.png",
    "🐈.png",
    "\udcff.png",
    "=1+1",
    "",
]


def test_the_bytes_of_a_kaggle_submission(tmp_path: Path) -> None:
    write_predictions(tmp_path / "predictions.csv", range(3), [7, 0, 9])
    assert (tmp_path / "predictions.csv").read_bytes() == b"Id,Label\n0,7\n1,0\n2,9\n"


def test_the_bytes_of_names_and_probabilities(tmp_path: Path) -> None:
    chances = np.array([[0.25, 0.75], [1.0, 1e-9]], np.float32)
    write_predictions(tmp_path / "p.csv", ["b.png", "a\udcff.png"], ["a, b", "cat"], chances, ["cat", "a, b"])
    assert (tmp_path / "p.csv").read_bytes() == (
        b'Id,Label,cat,"a, b"\nb.png,"a, b",0.25,0.75\na\xff.png,cat,1.0,1e-09\n'
    )


def test_odd_names_come_back_from_a_csv_reader(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", ODD, ODD[::-1])
    text = (tmp_path / "p.csv").read_bytes().decode("utf-8", "surrogateescape")
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    assert header == ["Id", "Label"]
    assert rows == [list(pair) for pair in zip(ODD, ODD[::-1], strict=True)]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_probabilities_come_back_exactly(tmp_path: Path, kind: type) -> None:
    chances = np.random.default_rng(0).random((50, 4)).astype(kind)
    write_predictions(tmp_path / "p.csv", range(50), [0] * 50, chances, "abcd")
    read = np.loadtxt(tmp_path / "p.csv", kind, delimiter=",", skiprows=1)
    assert (read[:, 2:] == chances).all()


def test_no_images_give_a_header(tmp_path: Path) -> None:
    write_predictions(tmp_path / "p.csv", [], [], np.empty((0, 2)), "ab")
    assert (tmp_path / "p.csv").read_bytes() == b"Id,Label,a,b\n"


def test_lengths_that_do_not_agree_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as caught:
        write_predictions(tmp_path / "p.csv", [1, 2], [1])
    assert str(caught.value) == "there are 2 ids but 1 labels"
    with pytest.raises(ValueError) as caught:
        write_predictions(tmp_path / "p.csv", [1, 2], [1, 2], np.ones((2, 3)), "ab")
    assert str(caught.value) == "probabilities must be of shape (2, 2), got (2, 3)"
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_predictions(tmp_path / "p.csv", [1], [1])

    def full(operation: str, path: Path) -> None:
        if operation == "fsync":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "on_operation", full)
    with pytest.raises(NoSpace):
        write_predictions(tmp_path / "p.csv", [2], [2])
    assert (tmp_path / "p.csv").read_bytes() == b"Id,Label\n1,1\n"
