"""The published results are what the journal says: no number was written by hand, and none is left from before."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from convscope.core import records
from convscope.studies import tables

ROOT = Path(__file__).parent.parent
STUDIES = ROOT / "results" / "studies"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """scripts/results_page.py."""
    spec = importlib.util.spec_from_file_location("results_page", ROOT / "scripts" / "results_page.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_from_the_journal(script: ModuleType) -> None:
    assert (ROOT / "results" / "README.md").read_text() == script.page()


def test_the_tables_of_every_measured_study_are_those_of_the_journal(
    script: ModuleType, tmp_path: Path
) -> None:
    """And studies without tables are not complete."""
    for told in script.found():
        name = told.study.name
        folder = STUDIES / name
        assert told.is_complete == folder.exists(), name
        if not told.is_complete:
            continue
        drawn = re.findall(r"!\[.+\]\((.+)\)", (folder / "study.md").read_text())
        assert {*drawn} == {path.name for path in folder.glob("*.png")} != set()
        tables.write(told, tmp_path, f"convscope study {name}", drawn)
        for file in ("study.md", "table.csv", "runs.csv", "provenance.csv", "study.json"):
            assert (folder / file).read_bytes() == (tmp_path / file).read_bytes(), f"{name}/{file}"


def test_every_run_is_of_a_commit_of_this_history() -> None:
    """A line made from changed files (`+dirty`), or from a commit that is gone, cannot be made again by anybody."""
    commits = {
        line["provenance"]["commit"] for line in records.read(STUDIES / "journal.jsonl") if line["provenance"]
    }
    shallow = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--is-shallow-repository"],
        check=False,
        capture_output=True,
        text=True,
    )
    if shallow.stdout.strip() != "false":
        pytest.skip("no history here")
    for commit in commits:
        command = ["git", "-C", str(ROOT), "merge-base", "--is-ancestor", commit, "HEAD"]
        assert subprocess.run(command, check=False).returncode == 0, commit
