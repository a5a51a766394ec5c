"""What is not a regular, readable file is named, and never waited for."""

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.data import read
from convscope.data.read import each_image, read_images, shown


def picture(path: Path, level: int = 0) -> Path:
    Image.new("L", (4, 4), level).save(path, "PNG")
    return path


@pytest.mark.parametrize("workers", [1, 3])
def test_images_come_in_the_order_of_the_paths(tmp_path: Path, workers: int) -> None:
    paths = [picture(tmp_path / f"{level}.png", level) for level in range(100)]
    paths = [paths[i] for i in np.random.default_rng(0).permutation(100)]
    images, problems = read_images(paths, None, None, "crop", workers)
    assert problems == {}
    assert [int(image[0, 0, 0]) for image in images if image is not None] == [int(p.stem) for p in paths]


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    good = picture(tmp_path / "good.png", 7)
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "dangling.png").symlink_to("nowhere.png")
    (tmp_path / "circle.png").symlink_to("circle.png")
    (tmp_path / "link.png").symlink_to("good.png")
    os.mkfifo(tmp_path / "pipe.png")
    names = ["empty.png", "folder.png", "dangling.png", "circle.png", "pipe.png", "gone.png", "link.png"]
    images, problems = read_images([good, *(tmp_path / name for name in names)], None, None, "crop")
    assert problems == {
        str(tmp_path / "empty.png"): "empty, 0 bytes",
        str(tmp_path / "folder.png"): "a directory, not a file",
        str(tmp_path / "dangling.png"): "a link to nothing",
        str(tmp_path / "circle.png"): "too many levels of symbolic links",
        str(tmp_path / "pipe.png"): "a named pipe, not a file",
        str(tmp_path / "gone.png"): "not there any more",
    }
    assert [image is None for image in images] == [False, *[True] * 6, False]


def test_a_device_is_not_read() -> None:
    assert read_images([Path(os.devnull)], None, None, "crop")[1] == {
        os.devnull: "a device or socket, not a file"
    }


def test_forbidden_and_failing_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests may run as root, who may read anything; so the refusal is injected.
    def refuse(path: Path) -> bytes:
        code = {"forbidden": errno.EACCES, "scratched": errno.EIO}[path.stem]
        raise OSError(code, "injected", str(path))

    monkeypatch.setattr(read, "read_file", refuse)
    paths = [tmp_path / "forbidden.png", tmp_path / "scratched.png"]
    assert read_images(paths, None, None, "crop")[1] == {
        str(paths[0]): "permission denied",
        str(paths[1]): "input/output error",
    }


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read anything")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = picture(tmp_path / "1.png")
    path.chmod(stat.S_IWUSR)
    assert read_images([path], None, None, "crop")[1] == {str(path): "permission denied"}


def test_a_file_of_many_bytes_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_BYTES", 1_000)
    (tmp_path / "film.png").write_bytes(bytes(1_001))
    assert read_images([tmp_path / "film.png"], None, None, "crop")[1] == {
        str(tmp_path / "film.png"): "1,001 bytes, more than the 1,000 that are read"
    }


def test_reading_goes_only_a_little_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    original = read.read_file
    monkeypatch.setattr(read, "read_file", lambda path: opened.append(path) or original(path))
    paths = [picture(tmp_path / f"{i}.png") for i in range(100)]
    next(each_image(paths, None, None, "crop", workers=2))
    assert len(opened) == 32


def test_names_are_shown_on_one_line() -> None:
    assert shown("é 🐈.png") == "é 🐈.png"
    assert shown("a\nb.png") == r"'a\nb.png'"
    assert shown("\udcff.png") == r"'\udcff.png'"
