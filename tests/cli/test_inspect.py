"""`convscope inspect`: what it says, and where it puts what it found."""

from pathlib import Path

from convscope.core import catalog


def test_it_says_one_sentence_and_where_the_rest_is(command, trained: Path) -> None:
    code, told, _ = command(
        "inspect", trained, "confusion", "--out", trained.parent / "seen", "--format", "svg"
    )
    assert code == 0
    first, second = told.splitlines()
    assert first.startswith("confusion: ") and first.endswith(".")
    assert f"in {trained.parent / 'seen'}: confusion.json" in second
    assert (trained.parent / "seen" / "confusion.svg").read_text().lstrip().startswith("<?xml")


def test_by_default_it_stays_in_the_directory_of_the_run(command, trained: Path) -> None:
    code, _, _ = command("inspect", trained, "calibration", "--format", "none")
    assert code == 0
    assert [path.suffix for path in sorted((trained / "inspect").glob("calibration.*"))] == [".json", ".npz"]


def test_without_a_name_all_names_are_told(command, trained: Path) -> None:
    code, _, error = command("inspect", trained)
    known = ", ".join(catalog.names("diagnostics"))
    assert code == 2
    assert known in error


def test_a_typo_is_answered_before_anything_is_loaded(command) -> None:
    code, _, error = command("inspect", "nowhere", "confusions")
    assert code == 2
    assert error.startswith("convscope: No diagnostic is called 'confusions'. Did you mean 'confusion'?")


def test_a_file_is_no_folder(command, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    code, told, error = command("inspect", trained, "weights", "--out", tmp_path / "taken")
    assert (code, told) == (2, "")
    assert error == (
        f"convscope: --out: {tmp_path / 'taken'} cannot be made a folder: File exists. Name a folder that is there, or a "
        "new one.\n"
    )
