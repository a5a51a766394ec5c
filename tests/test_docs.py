"""What the documents name exists: tests, files, modules, commands; no item is left out; the README's lines run."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from convscope.cli.main import VERBS
from convscope.core import catalog
from convscope.studies import Arm, Comparison, Confused, Published, Study, file

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src/convscope"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples/README.md"])


def named(document: Path) -> list[str]:
    """Everything in backticks that looks like a path of this repository, with the test if there is one."""
    places = (
        "tests|docs|results|src|scripts|benchmarks|examples|core|compute|models|data|evaluate|train|diagnostics|"
        "export|verify|plots|cli"
    )
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


def test_every_key_of_a_study_file_is_explained() -> None:
    table = (ROOT / "docs/studies.md").read_text().partition("| key | what |")[2].partition("\n\n")[0]
    study = {field.name for field in fields(Study)} - file.OWN
    kinds = {field.name for kind in (Arm, Comparison, Published, Confused) for field in fields(kind)}
    known = study | {"model", "data"} | kinds - {"changes", "levels", "value"}
    assert known - set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", table)))) == set()


# Commands ---------------------------------------------------------------------------------------------------

WORDS = {
    "train": ("models", "sources"),
    "summary": ("models",),
    "inspect": ("", "diagnostics"),
    "verify": ("topics",),
    "study": ("studies",),
    "tune": ("models", "sources"),
}
"""What the words behind a verb are names of; the last kind is that of all further words, and "" of none."""


def commands(text: str) -> Iterator[list[str]]:
    """Words of each command in backticks or in a block of code, up to its first flag."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    for line in [*lines, *re.findall(r"`(convscope [^`]+)`", text)]:
        found = re.search(r"\bconvscope ([a-z][^#]*)", line)
        if found and not line.startswith(("from ", "import ")):
            yield re.split(r" -| {2,}", found[1])[0].split()


def unknown(text: str) -> list[str]:
    """What the commands of a text say that is not there; NAME, ... and the like stand for anything."""
    missing = []
    for verb, *words in commands(text):
        if verb not in VERBS:
            missing.append(f"convscope {verb}")
            continue
        kinds = WORDS.get(verb, ("",))
        for place, word in enumerate(words):
            kind, name = kinds[min(place, len(kinds) - 1)], word.partition(":")[0]
            pattern = not re.search("[a-z]", name) or name.endswith(".toml")
            if kind and not pattern and name not in catalog.names(kind):
                missing.append(f"convscope {verb} {name}")
    return missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_of_a_document_are_there(document: Path) -> None:
    assert unknown(document.read_text()) == []


def test_commands_that_are_not_there_would_be_found() -> None:
    text = (
        "`convscope trian` and `convscope verify batch-norm batch-nrom`\n```\nconvscope inspect runs/a confusoin "
        "--out b  # convscope none\nconvscope train lenet5 minst --seed 1\nconvscope train lenet5 folder:x\n```\n"
        "convscope is a name; `convscope verify TOPIC`, `convscope inspect RUN NAME` and `convscope train ... --grow` "
        "are patterns."
    )
    assert unknown(text) == [
        "convscope inspect confusoin", "convscope train minst", "convscope trian", "convscope verify batch-nrom",
    ]  # fmt: skip


# Items ------------------------------------------------------------------------------------------------------

COVERAGE = ROOT / "docs/coverage.md"
LAST = {
    "S1": 60,
    "S2": 37,
    "S3": 94,
    "S4": 28,
    "E1": 12,
    "E2": 11,
    "E3": 16,
    "E4": 10,
    "X1": 6,
    "X2": 2,
    "X3": 7,
}
"""How many items, errata and recovered facts each source document has."""
ITEMS = [f"{document}.{number}" for document, last in LAST.items() for number in range(1, last + 1)]


def items(text: str) -> set[str]:
    """S3.27-28 is S3.27 and S3.28."""
    return {
        f"{document}.{number}"
        for document, first, last in re.findall(r"\b([SEX]\d)\.(\d+)(?:-(\d+))?\b", text)
        for number in range(int(first), int(last or first) + 1)
    }


def rows(text: str) -> Iterator[list[str]]:
    """Cells of the tables' rows."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith("| id |"):
            yield [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def wrong_items(text: str) -> list[str]:
    """Items that no first cell of a row names, then those that do not exist."""
    covered = set().union(*(items(first) for first, *_ in rows(text)))
    return [*(item for item in ITEMS if item not in covered), *sorted(covered - set(ITEMS))]


def test_every_item_of_the_source_documents_is_covered_or_planned() -> None:
    assert len(ITEMS) == 219 + 49 + 15
    assert wrong_items(COVERAGE.read_text()) == []


def test_items_that_are_left_out_or_invented_would_be_found() -> None:
    text = COVERAGE.read_text()
    assert wrong_items(text.replace("S1.11-15", "S1.11-14").replace("X3.7", "X3.8")) == [
        "S1.15",
        "X3.7",
        "X3.8",
    ]


def test_what_is_said_to_be_there_names_a_test_or_a_result() -> None:
    there = COVERAGE.read_text().partition("\n## Planned\n")[0]
    assert [cells for cells in rows(there) if not re.search(r"`(tests|results)/|`convscope", cells[-1])] == []


def about(topic: str) -> set[str]:
    """The items that a topic names."""
    return items((SOURCE / f"verify/{topic.replace('-', '_')}.py").read_text())


def test_topics_are_about_the_items_beside_them_and_about_no_others() -> None:
    listed: dict[str, set[str]] = {topic: set() for topic in catalog.names("topics")}
    for first, *others in rows(COVERAGE.read_text()):
        for topic in re.findall(r"`convscope verify ([\w-]+)`", " ".join(others)):
            listed[topic] |= items(first)
    assert listed == {topic: about(topic) for topic in listed}


def test_the_architecture_lists_every_module() -> None:
    tree = (ROOT / "ARCHITECTURE.md").read_text().partition("src/convscope/\n")[2].partition("```")[0]
    listed: set[str] = set()
    part = ""
    for line in tree.splitlines():
        head = re.match(r"  (\w+)/$", line)
        part = f"{head[1]}/" if head else part
        listed |= {f"{part}{name}" for name in re.findall(r"\b([\w/]+\.py)\b", line)}
    modules = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py")}
    # An __init__.py that holds nothing but a docstring has nothing to be listed for.
    empty = {name for name in modules if name.endswith("__init__.py") and is_empty(SOURCE / name)}
    assert modules - listed - empty == set()
    assert listed - modules == set()


def is_empty(path: Path) -> bool:
    return len(ast.parse(path.read_text()).body) <= 1


@pytest.mark.slow
def test_the_lines_of_the_readme_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    said = (
        r"\d+ of 360 interval \(.*\)\n\('\d', .*\) \[.*\]\nlenet5 on digits: .*\.\n",
        r"norm: Batch norm on digits\n[\s\S]*\nbatch norm > without: supported: \+.* points \[.*\], p = .*\n\n[\s\S]*",
    )
    for code, expected in zip(blocks, said, strict=True):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(expected, done.stdout)
