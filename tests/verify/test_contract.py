"""What every topic promises: its findings are as expected, carry a number, and name their source."""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import ModuleType

import pytest

from convscope import verify
from convscope.core import catalog
from convscope.verify import Finding


def topic_of(module: ModuleType) -> Callable[[], Iterator[Finding]] | None:
    """The function that is called like its module; modules that help topics have none."""
    return getattr(module, module.__name__.rpartition(".")[2], None)


MODULES = [
    importlib.import_module(f"{verify.__name__}.{each.name}")
    for each in pkgutil.iter_modules(verify.__path__)
]
TOPICS = {f"{topic.__module__}:{topic.__name__}": topic for topic in map(topic_of, MODULES) if topic}


@cache
def findings(topic: str) -> tuple[Finding, ...]:
    """Of one topic, which is worked through once for all tests."""
    return tuple(TOPICS[topic]())


def test_every_topic_can_be_picked() -> None:
    assert {item.target for item in catalog.items("topics")} == TOPICS.keys()


@pytest.mark.parametrize("topic", TOPICS)
def test_every_finding_is_as_expected(topic: str) -> None:
    assert findings(topic)
    assert [finding for finding in findings(topic) if not finding.as_expected] == []


@pytest.mark.parametrize("topic", TOPICS)
def test_every_finding_names_an_item_of_the_source_documents_or_a_paper(topic: str) -> None:
    """Such as S3.41, E3.8; a paper where the documents do not say it, since convscope has more than they do."""
    for finding in findings(topic):
        assert re.search(r"\b[SXE]\d+(\.\d+)?\b|\((19|20)\d\d\)", finding.source), finding


@pytest.mark.parametrize("topic", TOPICS)
def test_every_finding_has_a_number_for_evidence(topic: str) -> None:
    """One of its own: not that of its statement's formula, and not the absence of one."""
    for finding in findings(topic):
        assert re.search(r"\d", finding.evidence), finding
        assert not re.search(r"\b(nan|inf)\b", finding.evidence), finding


@pytest.mark.parametrize("topic", TOPICS)
def test_statements_and_evidence_are_sentences(topic: str) -> None:
    for finding in findings(topic):
        for text in (finding.statement, finding.evidence):
            assert text == text.strip(), finding
            assert text.endswith("."), finding
            assert "\n" not in text, finding
            assert "  " not in text, finding


def test_no_statement_is_made_twice() -> None:
    statements = [finding.statement for topic in TOPICS for finding in findings(topic)]
    assert sorted({each for each in statements if statements.count(each) > 1}) == []
