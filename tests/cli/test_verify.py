"""`convscope verify`: what is printed of a finding, and what it answers when one is not as it must be."""

import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import convscope
from convscope.cli.completion import candidates
from convscope.cli.verify import lines, total
from convscope.core import catalog
from convscope.plots import topics as pictures
from convscope.verify import Finding

HOLDS = Finding(
    "One and one are two.", "S9.1", "The sum is 2, off by 0.0e+00 and not by 1.0e+00.", holds=True
)
ERRATUM = Finding("One and one are three.", "S9.1 as printed, E9.1", "The sum is 2.", holds=False, true=False)
BROKEN = Finding("Two and two are four.", "S9.2", "The sum is 5.", holds=False)
REVIVED = Finding("Two and two are five.", "E9.2", "The sum is 5.", holds=True, true=False)


def right() -> Iterator[Finding]:
    yield HOLDS
    yield ERRATUM


def wrong() -> Iterator[Finding]:
    yield BROKEN
    yield REVIVED


@pytest.fixture(autouse=True)
def fake_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two topics of this file in place of all."""
    made = {
        name: catalog.Item("topics", name, f"{__name__}:{name}", f"sums that are {name}")
        for name in ("right", "wrong")
    }
    monkeypatch.setitem(catalog._CATALOG, "topics", made)
    # This file is imported from its path, so by its name it cannot be found again.
    functions: dict[str, Callable[[], Iterator[Finding]]] = {"right": right, "wrong": wrong}
    monkeypatch.setattr(catalog.Item, "load", lambda item: functions[item.name])
    monkeypatch.setenv("COLUMNS", "60")


def test_what_is_printed_when_all_is_as_known(command) -> None:
    code, told, complained = command("verify", "right")
    assert (code, complained) == (0, "")
    *first, last = told.splitlines()
    assert first == [
        "right: sums that are right",
        "",
        "ok   [S9.1] One and one are two.",
        "         The sum is 2, off by 0 and not by 1.0e+00.",
        "ok   [S9.1 as printed, E9.1] false, as known: One and one",
        "     are three.",
        "         The sum is 2.",
        "",
    ]
    assert re.fullmatch(r"2 statements: 1 hold, 1 do not, as is known; \d\.\d s", last)


def test_what_is_not_as_known_is_said_and_is_exit_code_1(command) -> None:
    code, told, complained = command("verify")
    assert code == 1
    assert complained == (
        "convscope: 2 statements were not found to be as known: wrong, S9.2: Two and two are four.; wrong, E9.2: Two and "
        "two are five. That is a fault of convscope or of this machine; `convscope doctor` looks at the machine.\n"
    )
    found = told.splitlines()
    assert found[8:15] == [
        "wrong: sums that are wrong",
        "",
        "NOT  [S9.2] does not hold: Two and two are four.",
        "         The sum is 5.",
        "NOT  [E9.2] holds, though known to be false: Two and two are",
        "     five.",
        "         The sum is 5.",
    ]
    assert found[-1].startswith("4 statements: 1 hold, 1 do not, as is known, 2 not as expected; ")


def test_one_statement_is_one(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog.Item, "load", lambda item: lambda: iter([BROKEN]))
    code, _, complained = command("verify", "wrong")
    assert code == 1
    assert complained.startswith(
        "convscope: 1 statement was not found to be as known: wrong, S9.2: Two and two are four. "
    )


def test_an_unknown_topic_is_refused_before_anything_is_computed(command) -> None:
    assert command("verify", "right", "wrnog") == (
        2,
        "",
        "convscope: No topic is called 'wrnog'. Did you mean 'wrong'? Known: right, wrong.\n",
    )


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    long = Finding("A statement of many words. " * 9, "S9.3", "Evidence of many words. " * 12, holds=True)
    made = lines(long, width)
    assert max(map(len, made)) <= width
    assert " ".join(" ".join(made).split()).endswith("Evidence of many words.")


def test_the_last_line_by_hand() -> None:
    assert total([HOLDS, HOLDS, ERRATUM]) == "3 statements: 2 hold, 1 do not, as is known"
    assert total([HOLDS, BROKEN, REVIVED]) == "3 statements: 1 hold, 0 do not, as is known, 2 not as expected"


def test_topics_are_completed_once_each() -> None:
    assert candidates(["verify"]) == ["right", "wrong"]
    assert candidates(["verify", "right"]) == ["wrong"]


# Figures -----------------------------------------------------------------------------------------------------------


def drawn_of(monkeypatch: pytest.MonkeyPatch, *topics: str) -> None:
    """Figures of these topics in place of all; one inch wide for each letter of the name."""
    made = {name: partial(Figure, (len(name), 1), dpi=10) for name in topics}
    monkeypatch.setattr(pictures, "FIGURES", made)


def width(file: Path) -> int:
    """Of a PNG, in pixels, from its header."""
    content = file.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(content[16:20], "big")


def test_the_figures_of_the_topics_are_written_and_named(
    command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn_of(monkeypatch, "right", "wrong")
    folder = tmp_path / "new" / "figures"
    code, told, complained = command("verify", "right", "right", "--figures", folder)
    assert (code, complained) == (0, "")
    assert told.splitlines()[-1] == f"in {folder}: right.png"
    assert {file.name: width(file) for file in folder.iterdir()} == {"right.png": 50}


def test_a_topic_without_a_figure_has_none_and_figures_come_before_the_complaint(
    command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn_of(monkeypatch, "wrong")
    code, told, complained = command("verify", "--figures", tmp_path)
    assert code == 1
    assert told.splitlines()[-1] == f"in {tmp_path}: wrong.png"
    assert complained.startswith("convscope: 2 statements were not found to be as known: wrong, S9.2")
    assert [file.name for file in tmp_path.iterdir()] == ["wrong.png"]


def test_figures_that_cannot_be_are_refused_before_anything_is_computed(
    command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    drawn_of(monkeypatch, "wrong")
    assert command("verify", "right", "--figures", tmp_path / "new") == (
        2,
        "",
        "convscope: --figures: none of these topics has one: right. Those that do: wrong.\n",
    )
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "file"
    file.write_bytes(b"mine")
    assert command("verify", "wrong", "--figures", file) == (
        2,
        "",
        f"convscope: --figures: {file} cannot be made a folder: File exists. Name a folder that is there, or a new one.\n",
    )
    assert file.read_bytes() == b"mine"


def test_nothing_that_draws_is_imported_without_figures(
    command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delattr(convscope, "plots")
    for name in ("convscope.plots", "convscope.plots.topics", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    assert command("verify", "right")[0] == 0
    with pytest.raises(ImportError):
        command("verify", "right", "--figures", tmp_path)
