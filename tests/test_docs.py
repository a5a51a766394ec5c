"""What the documents name exists: tests, files, modules; and the lines of the README run."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src/convscope"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples/README.md"])


def named(document: Path) -> list[str]:
    """Everything in backticks that looks like a path of this repository, with the test if there is one."""
    places = "tests|docs|results|src|benchmarks|examples|core|compute|models|data|evaluate|train|export|cli"
    found = re.findall(rf"`((?:{places})/[\w./-]*\w/?(?:::\w+)?)`", document.read_text())
    files = re.findall(r"`([A-Z]+\.md|Makefile|constraints\.txt|\.ci/run)`", document.read_text())
    return [*found, *files]


def exists(name: str) -> bool:
    path, _, test = name.partition("::")
    file = next((place for place in (ROOT / path, SOURCE / path) if place.exists()), None)
    return file is not None and (not test or f"def {test}(" in file.read_text())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_a_document_names_is_there(document: Path) -> None:
    assert [name for name in named(document) if not exists(name)] == []


def test_names_that_are_not_there_would_be_found(tmp_path: Path) -> None:
    document = tmp_path / "a.md"
    document.write_text("`tests/none.py` `core/files.py` `tests/test_docs.py::test_none` `docs/data.md`")
    missing = [name for name in named(document) if not exists(name)]
    assert missing == ["tests/none.py", "tests/test_docs.py::test_none"]


def test_the_architecture_lists_every_module() -> None:
    tree = (ROOT / "ARCHITECTURE.md").read_text().partition("src/convscope/\n")[2].partition("```")[0]
    listed: set[str] = set()
    part = ""
    for line in tree.splitlines():
        head = re.match(r"  (\w+)/$", line)
        part = f"{head[1]}/" if head else part
        listed |= {f"{part}{name}" for name in re.findall(r"\b(\w+\.py)\b", line)}
    modules = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    # An __init__.py that holds nothing but a docstring has nothing to be listed for.
    empty = {name for name in modules if name.endswith("__init__.py") and is_empty(SOURCE / name)}
    assert modules - listed - empty == set()
    assert listed - modules == set()


def is_empty(path: Path) -> bool:
    return len(ast.parse(path.read_text()).body) <= 1


@pytest.mark.slow
def test_the_lines_of_the_readme_run(tmp_path: Path) -> None:
    code = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(code) == 1
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code[0]],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"\d+ of 360 interval \(.*\)\n\('\d', .*\) \[.*\]\n", done.stdout)
