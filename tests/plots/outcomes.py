"""Studies that nobody ran, for the tests of their figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from convscope.studies import design
from convscope.studies.conduct import Cell, Outcome
from convscope.studies.design import Arm, Study
from convscope.studies.journal import Line

DIVERGED = Line("k", "words", "diverged", "the loss is not finite")
FAILED = Line("k", "words", "failed", "no space")


def study_of(arms: Sequence[Arm], seeds: int = 3, **options: Any) -> Study:
    """SimpleNN on digits, in these arms; the first is the baseline."""
    base = {"model": {"name": "simplenn"}, "data": {"source": "digits"}, "recipe": {"lr": 0.01}}
    given = {
        "name": "demo",
        "title": "A demonstration",
        "baseline": arms[0].name,
        "measure": "final_accuracy",
    }
    return design.made(
        arms, question="Which?", expectation="None.", base=base, seeds=seeds, why_many="they are drawn",
        **given | options,
    )  # fmt: skip


def line(value: float = 0.5, measure: str = "final_accuracy", **curve: list[float | None]) -> Line:
    """A run that finished."""
    if curve:
        curve["epoch"] = [float(n + 1) for n in range(len(next(iter(curve.values()))))]
    return Line("k", "words", "finished", numbers={measure: value}, curve=curve)


def outcome_of(study: Study, lines: Mapping[str, Sequence[Line | None]], **more: Any) -> Outcome:
    """What came of each arm, seed by seed; a run that is not there has not been made."""
    cells = [
        Cell(arm.name, seed, found)
        for arm in study.arms
        for seed, found in zip(range(study.seeds), [*lines[arm.name], *[None] * study.seeds], strict=False)
    ]
    return Outcome(study, tuple(cells), **more)
