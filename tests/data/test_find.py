"""Where a set is looked for, in which order, and what is said when it is nowhere."""

import os
import tempfile
from pathlib import Path

import pytest

from convscope.core import files
from convscope.core.errors import DataError, DataMissing
from convscope.data import download, find
from convscope.data.download import Remote
from convscope.data.find import Form, complete_shards, locate, only_native_size, user_cache
from convscope.data.images import Request

FORMS = (
    Form("two", "two files (a.bin ...)", ("a.bin", "b.bin")),
    Form("shards", "shards (s-1.bin ...)", ("s-*.bin",), ("", "inner")),
)


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    found = {name: tmp_path / name for name in ("given", "environment", "cache")}
    for folder in found.values():
        folder.mkdir()
    monkeypatch.setenv("CONVSCOPE_DATA", str(found["environment"]))
    return found


def ask(places: dict[str, Path], **options: bool) -> Request:
    return Request(data_dir=places["given"], cache_dir=places["cache"], **options)  # type: ignore[arg-type]


def put(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text(name)


def look(places: dict[str, Path]) -> find.Found | None:
    return find.find(ask(places), FORMS, ("toy", "TOY/raw"))


def test_the_order_of_places_then_folders_then_forms(places: dict[str, Path]) -> None:
    candidates = [
        places[where] / sub for where in ("given", "environment", "cache") for sub in ("toy", "TOY/raw", "")
    ]
    for folder in reversed(candidates):
        put(folder / "inner", "s-1.bin")
        found = look(places)
        assert found is not None and (found.folder, found.form.kind) == (folder / "inner", "shards")
        put(folder, "a.bin", "b.bin")
        found = look(places)
        assert found is not None and (found.folder, found.form.kind) == (folder, "two")


def test_a_form_needs_all_its_files(places: dict[str, Path]) -> None:
    put(places["given"], "a.bin")
    (places["given"] / "b.bin").mkdir()
    assert look(places) is None


def test_what_a_pattern_matches_is_sorted(places: dict[str, Path]) -> None:
    put(places["given"], "s-2.bin", "s-10.bin", "s-1.bin")
    found = look(places)
    assert found is not None
    assert [path.name for path in found.all_files()] == ["s-1.bin", "s-10.bin", "s-2.bin"]


REMOTE = Remote("a.bin", "0" * 64, 12_000_000, ("http://127.0.0.1:1/a.bin",))


def test_not_found_says_where_it_looked_and_how_to_get_it(places: dict[str, Path]) -> None:
    with pytest.raises(DataMissing) as caught:
        locate("toy", ask(places, download=False), FORMS, ("toy", "TOY/raw"), [REMOTE])
    assert str(caught.value) == (
        f"The data set 'toy' was not found. Looked in: --data-dir ({places['given']}); $CONVSCOPE_DATA "
        f"({places['environment']}); the cache ({places['cache']}); in each of them also in toy, TOY/raw. "
        f"Forms it may have: two files (a.bin ...); shards (s-1.bin ...). Allow the download (12 MB), or "
        f"give its folder with --data-dir or $CONVSCOPE_DATA."
    )


def test_without_a_published_hash_nothing_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CONVSCOPE_DATA", raising=False)
    with pytest.raises(DataMissing) as caught:
        locate("toy", Request(cache_dir=tmp_path), FORMS[:1], ("toy",), [])
    assert str(caught.value) == (
        f"The data set 'toy' was not found. Looked in: --data-dir (not given); $CONVSCOPE_DATA (not given); "
        f"the cache ({tmp_path}); in each of them also in toy. Forms it may have: two files (a.bin ...). It "
        f"is not downloaded, because no SHA-256 of it is published that we could confirm. Get it from its "
        f"authors and give its folder with --data-dir or $CONVSCOPE_DATA."
    )


def test_a_download_lands_in_the_cache_and_is_found_there(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fetch(name: str, urls: tuple[str, ...], sha256: str, destination: Path) -> None:
        asked.append((name, urls, sha256))
        put(destination.parent, destination.name)

    monkeypatch.setattr(download, "fetch", fetch)
    remotes = [REMOTE, Remote("b.bin", "1" * 64, 1, ("http://127.0.0.1:1/b.bin",))]
    found = locate("toy", ask(places), FORMS, ("toy",), remotes)
    assert found.folder == places["cache"] / "toy"
    assert asked == [
        ("toy: a.bin", ("http://127.0.0.1:1/a.bin",), "0" * 64),
        ("toy: b.bin", ("http://127.0.0.1:1/b.bin",), "1" * 64),
    ]
    locate("toy", ask(places), FORMS, ("toy",), remotes)
    assert len(asked) == 2  # no network for what is there


def test_a_cache_that_cannot_be_written_is_said(
    places: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(operation: str, path: Path) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(files, "on_operation", read_only)
    with pytest.raises(DataMissing) as caught:
        locate("toy", ask(places), FORMS, ("toy",), [REMOTE])
    assert str(caught.value) == (
        f"The data set 'toy' was not found, and {places['cache'] / 'toy'} cannot be written (Read-only file "
        f"system). Set XDG_CACHE_HOME to a folder you may write."
    )


def test_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert user_cache() == tmp_path / "xdg" / "convscope"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_cache() == tmp_path / "home" / ".cache" / "convscope"
    assert find.cache_folder(Request()) == user_cache()


@pytest.mark.parametrize("trouble", ["none", "unwritable"])
def test_without_a_home_the_cache_is_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """E4: an account without a home, or with one that cannot be written."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if trouble == "none":

        def homeless() -> Path:
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(Path, "home", homeless)
    else:
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert user_cache() == tmp_path / f"convscope-{os.getuid()}"


def test_missing_shards_are_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"train-{n:05d}-of-00009.parquet" for n in (0, 4)]
    with pytest.raises(DataMissing) as caught:
        complete_shards(paths)
    missing = ", ".join(f"train-{n:05d}-of-00009.parquet" for n in (1, 2, 3, 5, 6))
    assert str(caught.value) == (
        f"{tmp_path} holds only some of the shards of a Parquet data set. Missing: {missing}, .... Get the "
        f"missing files, or the training would run on part of the data."
    )
    complete_shards([tmp_path / f"train-{n:05d}-of-00002.parquet" for n in (0, 1)])
    complete_shards([tmp_path / "anything.parquet"])


def test_a_size_for_images_of_one_size_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        only_native_size(Request(size=64), "mnist")
    assert str(caught.value) == (
        "The images of mnist have one size already; --size 64 is for folders and Parquet files, whose images "
        "may differ."
    )
