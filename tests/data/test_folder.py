"""Colours tell the class, so that every label can be checked against its image; sentences are read whole."""

import errno
import hashlib
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convscope.core.catalog import resolve
from convscope.core.errors import BadImages, ClassMismatch, DataError, DataMissing
from convscope.data import folder as module
from convscope.data import read
from convscope.data.folder import folder
from convscope.data.images import Arrays, Raw, Request


def picture(path: Path, level: int = 0, size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, level if mode == "L" else (level,) * 3).save(path, "PNG")
    return path


def grow(root: Path, **classes: int) -> Path:
    """So many images in each folder."""
    for name, count in classes.items():
        for i in range(count):
            picture(root / name / f"{i}.png", i)
    return root


def load(root: Path, **options: object) -> Raw:
    return folder(Request(place=str(root), **options))  # type: ignore[arg-type]


def refusal(root: Path, kind: type[DataError] = DataError, **options: object) -> str:
    with pytest.raises(kind) as caught:
        load(root, **options)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 3
    return str(caught.value)


def labelled(arrays: Arrays | None, classes: Sequence[str]) -> dict[str, str]:
    """File -> name of its class."""
    assert arrays is not None
    assert len(arrays.images) == len(arrays.labels) == len(arrays.files)
    return {
        file: classes[label] if label >= 0 else "-"
        for file, label in zip(arrays.files, arrays.labels, strict=True)
    }


def opened(raw: Raw) -> Arrays:
    assert raw.test is not None
    return raw.test()


def tree_hash(root: Path) -> str:
    """Names, kinds, times and contents of all that is below."""
    content = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content.update(f"{path!r} {status.st_mode} {status.st_mtime_ns} {status.st_size}".encode())
        if path.is_file():
            content.update(path.read_bytes())
    return content.hexdigest()


# ---- layouts ---------------------------------------------------------------------------------------


def test_a_folder_of_classes(tmp_path: Path) -> None:
    picture(tmp_path / "pets" / "dog" / "b.png", 3)
    picture(tmp_path / "pets" / "cat" / "old" / "a.png", 2)
    picture(tmp_path / "pets" / "cat" / "z.png", 1)
    raw = load(tmp_path / "pets")
    assert raw.name == "pets"
    assert raw.classes == ("cat", "dog")
    assert raw.train.files == ("cat/old/a.png", "cat/z.png", "dog/b.png")
    assert raw.train.labels.tolist() == [0, 0, 1]
    assert raw.train.labels.dtype == np.int64
    assert raw.train.images.shape == (3, 1, 8, 8)
    assert raw.train.images.dtype == np.uint8
    assert raw.train.images[:, 0, 0, 0].tolist() == [2, 1, 3]
    assert (raw.test, raw.test_images, raw.val, raw.unlabelled, raw.notes) == (None, 0, None, None, ())
    assert (raw.validation, raw.test_share) == (0.2, 0.2)


@pytest.mark.parametrize("train, val, test", [("train", "val", "test"), ("Training", "valid", "Testing")])
def test_given_splits(tmp_path: Path, train: str, val: str, test: str) -> None:
    for level, part in enumerate((train, val, test)):
        picture(tmp_path / part / "cat" / "1.png", level)
        picture(tmp_path / part / "dog" / "1.png", 10 + level)
    picture(tmp_path / "unlabelled" / "deep" / "x.png", 99)
    raw = load(tmp_path)
    assert labelled(raw.train, raw.classes) == {f"{train}/cat/1.png": "cat", f"{train}/dog/1.png": "dog"}
    assert labelled(raw.val, raw.classes) == {f"{val}/cat/1.png": "cat", f"{val}/dog/1.png": "dog"}
    assert labelled(opened(raw), raw.classes) == {f"{test}/cat/1.png": "cat", f"{test}/dog/1.png": "dog"}
    assert labelled(raw.unlabelled, raw.classes) == {"unlabelled/deep/x.png": "-"}
    assert raw.test_images == 2
    assert raw.val is not None
    assert raw.unlabelled is not None
    levels = [part.images[:, 0, 0, 0].tolist() for part in (raw.train, raw.val, opened(raw), raw.unlabelled)]
    assert levels == [[0, 10], [1, 11], [2, 12], [99]]


def test_images_outside_class_folders_have_no_label(tmp_path: Path) -> None:
    grow(tmp_path / "flat", cat=1, dog=1)
    picture(tmp_path / "flat" / "loose.png")
    assert labelled(load(tmp_path / "flat").unlabelled, ()) == {"loose.png": "-"}
    grow(tmp_path / "split" / "train", cat=1, dog=1)
    for name in ("loose.png", "train/loose.png", "test/1.png"):
        picture(tmp_path / "split" / name)
    raw = load(tmp_path / "split")
    assert labelled(raw.unlabelled, ()) == {"loose.png": "-", "train/loose.png": "-", "test/1.png": "-"}
    assert raw.test is None


def test_train_may_be_a_class_of_vehicles(tmp_path: Path) -> None:
    assert load(grow(tmp_path, car=1, train=2)).classes == ("car", "train")


def test_numbers_are_classes_by_name(tmp_path: Path) -> None:
    raw = load(grow(tmp_path, **{"10": 1, "9": 1, "1": 1}))
    assert raw.classes == ("1", "10", "9")
    assert labelled(raw.train, raw.classes) == {"1/0.png": "1", "10/0.png": "10", "9/0.png": "9"}


def test_there_must_be_a_folder(tmp_path: Path) -> None:
    for place in (str(tmp_path / "nowhere"), ""):
        with pytest.raises(DataMissing) as caught:
            folder(Request(place=place))
        assert str(caught.value) == (
            f"There is no folder {place!r}. Give one that holds a folder of images for each class, as folder:PATH."
        )


def test_a_folder_without_classes_is_refused(tmp_path: Path) -> None:
    expected = (
        f"{tmp_path} has no class folders. Put each image into a folder named after its class, "
        f"such as {tmp_path}/cat/1.png."
    )
    assert refusal(tmp_path) == expected
    picture(tmp_path / "1.png")
    assert refusal(tmp_path) == expected


def test_test_without_train_is_refused(tmp_path: Path) -> None:
    grow(tmp_path / "test", cat=1, dog=1)
    assert refusal(tmp_path) == (
        f"{tmp_path} has the folder 'test', but no train folder with a folder for each class. Put the "
        f"training images there, such as {tmp_path}/train/cat/1.png."
    )


def test_a_stranger_beside_train_is_refused(tmp_path: Path) -> None:
    grow(tmp_path / "train", cat=1, dog=1)
    grow(tmp_path, fish=1)
    assert refusal(tmp_path) == (
        f"{tmp_path} has a train folder with classes and, beside it, 'fish'. Only val, test and unlabelled "
        f"can stand beside train; move or rename the others."
    )


def test_two_validation_folders_are_refused(tmp_path: Path) -> None:
    for part in ("train", "val", "valid"):
        grow(tmp_path / part, cat=1, dog=1)
    assert refusal(tmp_path) == f"{tmp_path} has more than one folder for val: 'val', 'valid'. Keep one."


# ---- classes (D4, D11) -----------------------------------------------------------------------------


def check_mapping(root: Path, rng: np.random.Generator) -> None:
    """Random class names in train, a random subset in test: each label must name its image's folder."""
    names = [str(name) for name in rng.permutation([f"c{i}" for i in range(12)])[: rng.integers(2, 12)]]
    subset = [name for name in names if rng.random() < 0.6] or names[:1]
    for part, present in (("train", names), ("test", subset)):
        for name in rng.permutation(present):
            for i in range(rng.integers(1, 4)):
                picture(root / part / str(name) / f"{i}.png", int(name[1:]), (4, 4))
    raw = load(root)
    assert set(raw.classes) == set(names)
    for arrays in (raw.train, opened(raw)):
        called = [int(raw.classes[label][1:]) for label in arrays.labels]
        assert called == arrays.images[:, 0, 0, 0].tolist()
    absent = sorted(set(names) - set(subset))
    listed = ", ".join(map(repr, absent))
    assert raw.notes == ((f"The test images have none (n = 0) of the class {listed}.",) if absent else ())


@pytest.mark.parametrize("seed", range(20))
def test_classes_go_by_name_in_every_subset_and_order(tmp_path: Path, seed: int) -> None:
    check_mapping(tmp_path, np.random.default_rng(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 220))
def test_classes_go_by_name_in_200_subsets_and_orders(tmp_path: Path, seed: int) -> None:
    check_mapping(tmp_path, np.random.default_rng(seed))


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_class_that_training_does_not_know_is_refused(tmp_path: Path, part: str) -> None:
    grow(tmp_path / "train", cat=1, dog=1)
    grow(tmp_path / part, cat=1, bird=1)
    assert refusal(tmp_path, ClassMismatch) == (
        f"'{part}/bird' is a class that the training images do not have. Classes go by the name of their "
        f"folder: rename it, or add training images of 'bird'. Known: 'cat', 'dog'."
    )


def test_a_class_in_another_case_is_another_class(tmp_path: Path) -> None:
    grow(tmp_path / "train", CAT=1, dog=1)
    grow(tmp_path / "test", cat=1)
    assert refusal(tmp_path, ClassMismatch) == (
        "'test/cat' is a class that the training images do not have. Did you mean 'CAT'? Classes go by the "
        "name of their folder: rename it, or add training images of 'cat'. Known: 'CAT', 'dog'."
    )


def test_of_a_thousand_classes_ten_are_listed(tmp_path: Path) -> None:
    for k in range(1_000):
        (tmp_path / "train" / f"{k:04}").mkdir(parents=True)
    (tmp_path / "test" / "unheard of").mkdir(parents=True)
    assert refusal(tmp_path, ClassMismatch).endswith("'0008', '0009' and 990 more.")


def test_one_class_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, cat=2)
    assert refusal(tmp_path) == (
        f"{tmp_path} has only one class, 'cat'. Add a folder of a second class to tell it from."
    )


def test_a_folder_too_many_is_recognised(tmp_path: Path) -> None:
    grow(tmp_path / "pets", cat=2, dog=2)
    assert refusal(tmp_path) == (
        f"{tmp_path} has only one class, 'pets'. Add a folder of a second class to tell it from. "
        f"If its folders 'cat', 'dog' are the classes, give folder:{tmp_path}/pets."
    )


def test_an_empty_class_is_refused(tmp_path: Path) -> None:
    grow(tmp_path, cat=1, dog=1)
    (tmp_path / "fish").mkdir()
    expected = "No usable image is in the class folder 'fish'. Add images, or remove the folder if there is no such class."
    assert refusal(tmp_path) == expected
    (tmp_path / "fish" / "bad.png").touch()
    assert refusal(tmp_path, skip_bad=True) == expected


def test_a_test_split_of_empty_classes_is_refused(tmp_path: Path) -> None:
    grow(tmp_path / "train", cat=1, dog=1)
    (tmp_path / "test" / "cat").mkdir(parents=True)
    assert refusal(tmp_path) == (
        "No usable image is in the class folder 'test/cat'. Add images, or remove the folder to have the "
        "split drawn from the training images."
    )


# ---- bad images (D1) -------------------------------------------------------------------------------


def spoil(root: Path) -> dict[str, str]:
    """Plant one bad file of every kind among the cats; returns what must be said of each."""
    cats = root / "cat"
    whole = picture(cats / "good.png", 5).read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(b"IDAT") + 6] ^= 1
    header = bytearray(whole)
    header[16:24] = (40_000).to_bytes(4, "big") * 2
    contents = {
        "cut.png": whole[:-20],
        "empty.jpg": b"",
        "text.jpg": b"not an image\n",
        "page.jpg": b"<!DOCTYPE html><title>404</title>",
        "crc.png": bytes(flipped),
        "bomb.bmp": b"BM"
        + bytes(12)
        + b"\x28\0\0\0"
        + (9_000).to_bytes(4, "little") * 2
        + b"\1\0\x18\0"
        + bytes(24),
    }
    for name, content in contents.items():
        (cats / name).write_bytes(content)
    (cats / "directory.jpg").mkdir()
    (cats / "dangling.png").symlink_to("nowhere")
    os.mkfifo(cats / "pipe.png")
    (cats / "circle").symlink_to(root)
    picture(cats / "forbidden.png")
    return {
        "cat/bomb.bmp": "9,000 x 9,000 pixels, more than the 64,000,000 that are decoded",
        "cat/circle": "a link to a folder that holds it",
        "cat/crc.png": "damaged PNG: wrong checksum (CRC) of the part 'IDAT'",
        "cat/cut.png": "truncated PNG",
        "cat/dangling.png": "a link to nothing",
        "cat/directory.jpg": "a directory, not a file",
        "cat/empty.jpg": "empty, 0 bytes",
        "cat/forbidden.png": "permission denied",
        "cat/page.jpg": "a web page (HTML), not an image",
        "cat/pipe.png": "a named pipe, not a file",
        "cat/text.jpg": "text, not an image",
    }


@pytest.fixture
def forbidding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files called forbidden.* cannot be read, even by root."""
    original = read.read_file

    def refuse(path: Path) -> bytes:
        if path.stem == "forbidden":
            raise PermissionError(errno.EACCES, "injected", str(path))
        return original(path)

    monkeypatch.setattr(read, "read_file", refuse)


@pytest.mark.usefixtures("forbidding")
def test_every_bad_file_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    grow(tmp_path, cat=10, dog=10)
    expected = spoil(tmp_path)
    before = tree_hash(tmp_path)
    with pytest.raises(BadImages) as caught:
        load(tmp_path)
    assert caught.value.problems == expected
    assert caught.value.exit_code == 3
    lines = "".join(f"\n  {name}: {reason}" for name, reason in expected.items())
    assert str(caught.value) == (
        f"11 files are not usable. Nothing was changed.{lines}\n"
        f"Repair or remove them, or give --skip-bad to leave them out; which were left out is recorded."
    )
    assert tree_hash(tmp_path) == before


@pytest.mark.usefixtures("forbidding")
def test_bad_files_can_be_left_out_and_are_recorded(tmp_path: Path) -> None:
    grow(tmp_path, cat=10, dog=10)
    clean = load(tmp_path)
    expected = spoil(tmp_path)
    before = tree_hash(tmp_path)
    raw = load(tmp_path, skip_bad=True)
    assert set(raw.train.files) == {*clean.train.files, "cat/good.png"}
    for file, label, image in zip(raw.train.files, raw.train.labels, raw.train.images, strict=True):
        level = 5 if file == "cat/good.png" else int(Path(file).stem)
        assert (image == level).all()
        assert raw.classes[label] == file.split("/")[0]
    lines = "".join(f"\n  {name}: {reason}" for name, reason in expected.items())
    assert raw.notes == (f"Left out 11 files not usable:{lines}",)
    assert tree_hash(tmp_path) == before


def test_bad_files_of_the_test_split_are_found_although_it_is_sealed(tmp_path: Path) -> None:
    grow(tmp_path / "train", cat=1, dog=1)
    grow(tmp_path / "test", cat=1)
    (tmp_path / "test" / "cat" / "empty.png").touch()
    with pytest.raises(BadImages) as caught:
        load(tmp_path)
    assert caught.value.problems == {"test/cat/empty.png": "empty, 0 bytes"}


def test_bad_files_are_named_before_differing_sizes(tmp_path: Path) -> None:
    grow(tmp_path, cat=2, dog=2)
    picture(tmp_path / "cat" / "large.png", size=(9, 9))
    (tmp_path / "dog" / "zero.png").touch()
    with pytest.raises(BadImages):
        load(tmp_path)


def test_a_link_to_a_folder_elsewhere_is_followed(tmp_path: Path) -> None:
    grow(tmp_path / "elsewhere", cat=3)
    grow(tmp_path / "set", dog=1)
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "elsewhere" / "cat")
    assert load(tmp_path / "set").train.files == ("cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png")


def check_ten_thousand(root: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    good = picture(root / "cat" / "0.png").read_bytes()
    kinds: list[Callable[[Path], object]] = [
        lambda path: path.write_bytes(good[: rng.integers(9, len(good))]),
        lambda path: path.touch(),
        lambda path: path.write_bytes(b"text"),
        lambda path: path.write_bytes(b"<html>"),
        lambda path: path.write_bytes(good[:-6] + b"\0" + good[-5:]),
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,
    ]
    bad = {int(i) for i in rng.choice(np.arange(1, count), count // 100, replace=False)}
    (root / "dog").mkdir()
    for i in range(1, count):
        path = root / ("cat", "dog")[i % 2] / f"{i}.png"
        kinds[i % len(kinds)](path) if i in bad else path.write_bytes(good)
    with pytest.raises(BadImages) as caught:
        load(root)
    assert {int(Path(name).stem) for name in caught.value.problems} == bad


def test_one_percent_of_bad_files_is_found_without_false_alarm(tmp_path: Path) -> None:
    check_ten_thousand(tmp_path, 1_000)


@pytest.mark.slow
def test_one_percent_of_10000_files_is_found_without_false_alarm(tmp_path: Path) -> None:
    check_ten_thousand(tmp_path, 10_000)


# ---- what is ignored (D3) --------------------------------------------------------------------------


def test_what_tools_leave_behind_is_ignored_and_said_once(tmp_path: Path) -> None:
    grow(tmp_path, cat=2, dog=2)
    clean = load(tmp_path)
    for name in (".ipynb_checkpoints", "__MACOSX", "@eaDir", ".git"):
        picture(tmp_path / name / "cat" / "1.png")
    picture(tmp_path / "cat" / ".ipynb_checkpoints" / "1.png")
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "cat/._0.png", "dog/Thumbs.db", "dog/.DS_Store"):
        (tmp_path / name).touch()
    for name in ("README.md", "labels.csv", "LICENSE", "cat/notes.TXT"):
        (tmp_path / name).touch()
    raw = load(tmp_path)
    assert raw.hash == clean.hash
    junk, other = raw.notes
    assert junk == (
        "Ignored 11 entries left behind by systems and tools: '.DS_Store', '._0.png', '.git', "
        "'.ipynb_checkpoints', '@eaDir', 'Thumbs.db', '__MACOSX', 'desktop.ini'."
    )
    assert other == (
        "Ignored 4 entries not named like images: 'LICENSE', 'README.md', 'labels.csv', 'notes.TXT'."
    )


# ---- sizes and channels ----------------------------------------------------------------------------


def test_differing_sizes_are_refused_with_a_proposal(tmp_path: Path) -> None:
    grow(tmp_path, cat=3, dog=2)
    for i, size in enumerate([(40, 30), (40, 30), (50, 61), (70, 33), (35, 90)]):
        picture(tmp_path / "cat" / f"large {i}.png", size=size)
    assert refusal(tmp_path) == (
        "The images have 5 different sizes (width x height): 8 x 8 (5 images), 40 x 30 (2 images), 50 x 61 "
        "(1 image) and 2 more. Say to which they should be brought, such as --size 8; the median of their "
        "shorter sides is 8."
    )
    raw = load(tmp_path, size=16)
    assert raw.train.images.shape == (10, 1, 16, 16)


def test_photographs_are_not_proposed_at_their_full_size(tmp_path: Path) -> None:
    picture(tmp_path / "cat" / "1.png", size=(1200, 900))
    picture(tmp_path / "dog" / "1.png", size=(900, 1201))
    assert "such as --size 224; the median of their shorter sides is 900." in refusal(tmp_path)


def test_the_fit_is_passed_on(tmp_path: Path) -> None:
    for cls in ("cat", "dog"):
        picture(tmp_path / cls / "1.png", 255, size=(16, 8))
    assert load(tmp_path, size=8, fit="pad").train.images[0, 0, :, 0].tolist() == [0, 0, *[255] * 4, 0, 0]
    assert load(tmp_path, size=8, fit="crop").train.images.min() == 255


def test_grey_among_colour_gets_three_equal_channels(tmp_path: Path) -> None:
    grow(tmp_path, cat=2)
    picture(tmp_path / "dog" / "1.png", 50, mode="RGB")
    raw = load(tmp_path)
    assert raw.train.images.shape == (3, 3, 8, 8)
    assert raw.train.images[:, :, 0, 0].tolist() == [[0] * 3, [1] * 3, [50] * 3]
    assert raw.notes == (
        "2 of 3 images are grey, the others in colour: the grey ones were given three equal channels.",
    )


def test_the_default_augmentation_suits_the_size(tmp_path: Path) -> None:
    assert [str(choice) for choice in load(grow(tmp_path, cat=1, dog=1)).augment] == [
        "crop(padding=1)",
        "flip",
    ]
    for size, padding in ((32, 4), (224, 28), (1024, 64)):
        crop, flip = load(tmp_path, size=size).augment
        assert crop.options == {"padding": padding}
        for choice in (crop, flip):
            resolve("augmentations", choice.name, choice.options)


# ---- names (D12) -----------------------------------------------------------------------------------

ODD_NAMES = [
    unicodedata.normalize("NFC", "café.png"),
    unicodedata.normalize("NFD", "café.png"),
    "🐈.png",
    "two\nlines.png",
    "n" * 251 + ".png",
    "\udcff\udcfe.png",
    "Case.png",
    "case.png",
    " spaces , and \"quotes'.png",
    "no ending",
    "lying.jpg",
    "-rf.png",
]


def test_odd_file_names_work(tmp_path: Path) -> None:
    grow(tmp_path, dog=1)
    for level, name in enumerate(ODD_NAMES):
        picture(tmp_path / "cat" / name, 10 * level)
    raw = load(tmp_path)
    levels = dict(zip(raw.train.files, raw.train.images[:, 0, 0, 0].tolist(), strict=True))
    assert levels == {"dog/0.png": 0} | {f"cat/{name}": 10 * i for i, name in enumerate(ODD_NAMES)}
    assert list(raw.train.files) == sorted(raw.train.files)


def test_odd_names_of_bad_files_can_be_printed(tmp_path: Path) -> None:
    grow(tmp_path, cat=1, dog=1)
    for name in ("\udcff.png", "two\nlines.png", "🐈.png"):
        (tmp_path / "cat" / name).touch()
    message = refusal(tmp_path, BadImages)
    assert message.encode()
    assert [line.rpartition(":")[0] for line in message.splitlines()[1:-1]] == [
        r"  'cat/two\nlines.png'",
        r"  'cat/\udcff.png'",
        "  cat/🐈.png",
    ]


def test_a_class_is_the_same_however_its_accent_is_stored(tmp_path: Path) -> None:
    composed, separate = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    grow(tmp_path / "train", **{composed: 1, "dog": 1})
    grow(tmp_path / "test", **{separate: 1})
    raw = load(tmp_path)
    assert labelled(opened(raw), raw.classes) == {f"test/{separate}/0.png": composed}
    grow(tmp_path / "train", **{separate: 1})
    assert refusal(tmp_path) == (
        "Two class folders have the same name and differ only in how its accents are stored: "
        r"'train/cafe\u0301' and 'train/caf\xe9'. Put their images into one."
    )


def test_a_class_must_have_a_printable_encoding(tmp_path: Path) -> None:
    grow(tmp_path, **{"cat": 1, "\udcff": 1})
    assert refusal(tmp_path) == r"The name of the class folder '\udcff' is not UTF-8. Rename it."


def test_the_name_of_the_set_can_be_part_of_a_path(tmp_path: Path) -> None:
    assert load(grow(tmp_path / "my pets (new)", cat=1, dog=1)).name == "my-pets-new-"


# ---- content hash ----------------------------------------------------------------------------------


def hashes(base: Path, changes: Mapping[str, Callable[[Path], object]]) -> dict[str, str]:
    found = {}
    for name, change in changes.items():
        root = grow(base / name / "train", cat=2, dog=2).parent
        grow(root / "test", cat=1)
        change(root)
        found[name] = load(root).hash
    return found


def test_the_hash_changes_with_whatever_can_reach_a_number_and_with_nothing_else(tmp_path: Path) -> None:
    found = hashes(
        tmp_path,
        {
            "same": lambda root: None,
            "touched": lambda root: os.utime(root / "train" / "cat" / "0.png", (0, 0)),
            "recompressed": lambda root: Image.new("L", (8, 8), 1).save(
                root / "train/cat/1.png", compress_level=0
            ),
            "junk": lambda root: (root / ".DS_Store").touch(),
            "pixel": lambda root: picture(root / "train" / "cat" / "1.png", 99),
            "test pixel": lambda root: picture(root / "test" / "cat" / "0.png", 99),
            "label": lambda root: (root / "train/cat/1.png").rename(root / "train/dog/1.png"),
            "class": lambda root: (root / "train" / "dog").rename(root / "train" / "fox"),
            "file name": lambda root: (root / "train/cat/1.png").rename(root / "train/cat/2.png"),
            "unlabelled": lambda root: picture(root / "unlabelled" / "1.png"),
            "part": lambda root: (root / "test").rename(root / "val"),
        },
    )
    same = {found.pop(name) for name in ("same", "touched", "recompressed", "junk")}
    assert len(same) == 1
    assert len(same | set(found.values())) == 1 + len(found)
    assert load(tmp_path / "same", size=4).hash not in same
    train = load(tmp_path / "same").train
    assert module._hash("ab", {"train": train}) != module._hash("ab", {"val": train})
