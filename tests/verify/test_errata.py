"""docs/errata.md lists all errata, and what it names exists and is about them."""

import re
from collections.abc import Iterator
from pathlib import Path

from convscope.core import catalog

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/errata.md").read_text(encoding="utf-8")
TOPICS = ROOT / "src/convscope/verify"

ALL = [
    f"E{document}.{number}"
    for document, last in ((1, 12), (2, 11), (3, 16), (4, 10))
    for number in range(1, last + 1)
]


def rows(text: str) -> Iterator[tuple[str, list[str], str]]:
    """(id, what is printed and what is right, what shows it) of every line of the tables."""
    for line in text.splitlines():
        if re.match(r"\| E\d", line):
            first, *middle, last = (cell.strip() for cell in line.strip("|").split(" | "))
            yield first, middle, last


def shown(text: str) -> dict[str, set[str]]:
    """Erratum -> the topics that show it."""
    return {name: set(re.findall(r"`convscope verify ([\w-]+)`", last)) for name, _, last in rows(text)}


def unfounded(text: str) -> list[str]:
    """Rows that name nothing that is there: no topic, no test and no reason."""
    wrong = []
    for name, middle, last in rows(text):
        files = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", last)
        there = [
            (ROOT / path).is_file()
            and (not test or f"def {test}(" in (ROOT / path).read_text(encoding="utf-8"))
            for path, test in files
        ]
        topics = [is_about(topic, name) for topic in re.findall(r"`convscope verify ([\w-]+)`", last)]
        reason = re.match(r"stated only: \w+", last)
        if len(middle) != 2 or not all(middle) or not all(there + topics) or not (there or topics or reason):
            wrong.append(name)
    return wrong


def is_about(topic: str, erratum: str) -> bool:
    """Whether there is such a topic and it names the erratum."""
    module = TOPICS / f"{topic.replace('-', '_')}.py"
    known = topic in catalog.names("topics")
    return known and module.is_file() and erratum in errata_of(module)


def errata_of(module: Path) -> set[str]:
    return set(re.findall(r"\bE\d\.\d+\b", module.read_text(encoding="utf-8")))


def test_all_49_are_listed_once_and_in_order() -> None:
    assert len(ALL) == 49
    assert [name for name, _, _ in rows(TEXT)] == ALL


def test_what_shows_them_is_there_and_names_them() -> None:
    assert unfounded(TEXT) == []


def test_every_erratum_that_a_topic_computes_is_listed_with_it() -> None:
    computed = {(erratum, path.stem) for path in TOPICS.glob("[!_]*.py") for erratum in errata_of(path)}
    listed = {
        (erratum, topic.replace("-", "_")) for erratum, topics in shown(TEXT).items() for topic in topics
    }
    assert computed - listed == set()


def test_what_is_not_there_would_be_found() -> None:
    lines = [
        "| E1.1 | a | b | `convscope verify no-such-topic` |",
        "| E1.2 | a | b | `tests/verify/test_errata.py::test_none` |",
        "| E1.3 | a | b | `tests/verify/none.py` |",
        "| E1.4 | a | b | stated only: |",
        "| E1.5 | a |  | stated only: why not |",
        "| E1.6 | a | b | nothing |",
        "| E1.7 | a | b | `tests/verify/test_errata.py::test_what_is_not_there_would_be_found` |",
        "| E1.8 | a | b | stated only: why not |",
    ]
    assert unfounded("\n".join(lines)) == ["E1.1", "E1.2", "E1.3", "E1.4", "E1.5", "E1.6"]
