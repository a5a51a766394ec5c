"""A line that is on the disk is never lost: row F3."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from made import line

from convscope.core import records
from convscope.core.errors import DamagedFile
from convscope.studies.journal import Journal, Line, decisive

THREE = [
    line("a/0", 0.5),
    line("a/1", status="diverged", message="Step 3."),
    Line("b/0", "a run", "failed", "No."),
]


def written(folder: Path) -> bytes:
    journal = Journal(folder)
    for each in THREE:
        journal.append(each)
    return journal.path.read_bytes()


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that dies leaves all it wrote to the system: fsync is for the power failing."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.mark.usefixtures("cheap")
def test_a_journal_cut_at_any_byte_of_its_last_line(tmp_path: Path) -> None:
    whole = written(tmp_path)
    begins = whole[:-1].rfind(b"\n") + 1
    assert len(whole) - begins > 150
    for length in range(begins, len(whole)):
        (tmp_path / "journal.jsonl").write_bytes(whole[:length])
        journal = Journal(tmp_path)
        assert [journal.find(each.key) for each in THREE] == [*THREE[:2], None]
        journal.append(THREE[2])
        assert journal.path.read_bytes() == whole


def test_a_line_changed_in_the_middle_is_refused(tmp_path: Path) -> None:
    whole = written(tmp_path)
    path = tmp_path / "journal.jsonl"
    path.write_bytes(whole.replace(b"Step 3.", b"Step 4."))
    with pytest.raises(DamagedFile) as error:
        Journal(tmp_path)
    assert str(error.value) == (
        f"{path}, line 2: the content does not agree with its checksum. The lines before it, 1 in all, are intact. "
        f"Remove the line that is not: its run is then made again, or found in its directory."
    )


@pytest.mark.usefixtures("cheap")
def test_a_last_line_of_zeros_is_not_buried(tmp_path: Path) -> None:
    """The power failed: the file has its length and the end of its last line, whose middle never reached the disk."""
    whole = written(tmp_path)
    path, begins = tmp_path / "journal.jsonl", whole[:-1].rfind(b"\n") + 1
    path.write_bytes(whole[: begins + 9] + bytes(90) + whole[begins + 99 :])
    journal = Journal(tmp_path)
    assert journal.find("b/0") is None
    journal.append(THREE[2])
    journal.append(line("c/0", 0.1))
    assert path.read_bytes().startswith(whole)
    assert Journal(tmp_path).find("c/0") == line("c/0", 0.1)


def test_a_line_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.append(THREE[0])
    records.append(journal.path, {**vars(THREE[1]), "colour": "red"})
    with pytest.raises(DamagedFile) as error:
        Journal(tmp_path)
    assert str(error.value) == (
        f"{journal.path}, line 2 is no run that this version knows: got an unexpected keyword argument 'colour'."
    )


@pytest.mark.usefixtures("cheap")
def test_a_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    stop, counts = threading.Event(), [0]

    def read() -> None:
        while not stop.is_set():
            counts.append(len(Journal(tmp_path)._ended))

    reader = threading.Thread(target=read)
    reader.start()
    journal = Journal(tmp_path)
    for number in range(100):
        journal.append(line(f"a/{number}", 0.5))
        seen = len(counts)
        while number % 25 == 0 and len(counts) < seen + 2:  # on a busy machine the reader waits for its turn
            time.sleep(0.001)
    stop.set()
    reader.join()
    counts.append(len(Journal(tmp_path)._ended))
    assert counts == sorted(counts) and counts[-1] == 100 and len(set(counts)) > 2


def test_a_run_that_failed_is_known_until_it_ends(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    lost = line("a/0", status="failed", message="No.")
    journal.append(lost)
    assert journal.find("a/0") == lost and not lost.is_final
    journal.append(THREE[0])
    assert journal.find("a/0") == Journal(tmp_path).find("a/0") == THREE[0]
    assert journal.find("a/0", ["other"]) is None


def test_numbers_by_other_diagnostics_are_not_put_beside_older_ones(tmp_path: Path) -> None:
    """Else a number would stand under the hash of code that never made it."""

    def measured(name: str, beside: dict[str, str]) -> Line:
        return line("a/0", 0.5, numbers={name: 1.0}, environment={"data": "d", "beside": beside})

    journal = Journal(tmp_path)
    journal.append(measured("weights/total_l2", {"convscope.diagnostics": "1"}))
    journal.append(measured("activations/dead", {"convscope.diagnostics": "1", "of_a_user": "1"}))
    found = journal.find("a/0")
    assert found is not None and set(found.numbers) == {"weights/total_l2", "activations/dead"}
    journal.append(measured("gap", {"convscope.diagnostics": "2"}))
    assert journal.find("a/0", ["gap"]) == measured("gap", {"convscope.diagnostics": "2"})
    assert journal.find("a/0", ["gap", "weights/total_l2"]) is None


def test_who_asks_for_more_and_fails_takes_nothing_away(tmp_path: Path) -> None:
    """Another study wants another measure of the same run, which cannot be had."""
    journal = Journal(tmp_path)
    lost = line("a/0", status="failed", message="No.")
    for each in (THREE[0], lost):
        journal.append(each)
    for seen in (journal, Journal(tmp_path)):
        assert seen.find("a/0", ["final_accuracy"]) == THREE[0]
        assert seen.find("a/0", ["final_accuracy", "other"]) == lost
    assert Journal(tmp_path).find("a/1", ["other"]) is None


def test_measures_of_one_run_are_put_together(tmp_path: Path) -> None:
    more = replace(THREE[0], numbers={"other": 1.0})
    journal = Journal(tmp_path)
    for each in (THREE[0], more):
        journal.append(each)
    found = Journal(tmp_path).find("a/0", ["other", "final_accuracy"])
    assert found is not None and found.numbers == {"final_accuracy": 0.5, "other": 1.0}


def test_measures_of_two_runs_are_not(tmp_path: Path) -> None:
    """Another study had the run made again with other code, and the tables of the first stay what they were."""
    again = replace(THREE[0], numbers={"other": 1.0, "final_accuracy": 0.9}, environment={"code": "new"})
    journal = Journal(tmp_path)
    for each in (THREE[0], again, replace(again, numbers={"more": 2.0})):
        journal.append(each)
    for seen in (journal, Journal(tmp_path)):
        assert seen.find("a/0", ["final_accuracy"]) == seen.find("a/0") == THREE[0]
        found = seen.find("a/0", ["final_accuracy", "other", "more"])
        assert found is not None and found.numbers == {"other": 1.0, "final_accuracy": 0.9, "more": 2.0}


def test_what_diverged_tells_why_there_are_no_measures(tmp_path: Path) -> None:
    written(tmp_path)
    assert Journal(tmp_path).find("a/1", ["final_accuracy", "other"]) == THREE[1]


def test_what_decides_is_kept() -> None:
    record = {
        "versions": {"torch": "2"},
        "platform": "x",
        "commit": "c",
        "code": "h",
        "changes": [],
        "data": "d",
    }
    assert decisive(record) == {"versions": {"torch": "2"}, "code": "h", "data": "d"}
    assert decisive({"data": "d", "changes": ["The data differ."]}) == {
        "data": "d",
        "changes": ["The data differ."],
    }
