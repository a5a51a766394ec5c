"""Studies and outcomes made by hand: numbers small enough to be worked out on paper."""

from typing import Any

from convscope.studies.conduct import Cell, Outcome
from convscope.studies.design import Arm, Comparison, Study, made
from convscope.studies.journal import Line


def study(*parts: Arm | Comparison, **options: Any) -> Study:
    """A study of LeNet-5 on digits; the first arm is the baseline."""
    arms = [part for part in parts if isinstance(part, Arm)]
    settings: dict[str, Any] = {
        "name": "tiny", "title": "A tiny study", "question": "Does it help?", "expectation": "A little.",
        "base": {"model": {"name": "lenet5"}, "data": {"source": "digits"}, "recipe": {"epochs": 1}},
        "baseline": arms[0].name, "measure": "final_accuracy", "seeds": 3,
    }  # fmt: skip
    return made(parts, **{**settings, **options})


def line(key: str, value: float | None = None, *, status: str = "finished", **more: Any) -> Line:
    """A run with this final accuracy, of 200 images and three classes."""
    given: dict[str, Any] = {
        "key": key, "config": "a run", "status": status, "images": 200, "classes": ["a", "b", "c"],
        "numbers": {"final_accuracy": value},
        "environment": {"data": "d", "dtypes": {}, "code": "c"},
        "provenance": {"seconds": 10.0, "steps": 100, "commit": "0a1b", "device": "cpu", "processor": "p",
                       "threads": 1, "ended": "t"},
    }  # fmt: skip
    return Line(**{**given, **more})


def diverged(key: str) -> Line:
    """A run without a number."""
    return line(key, None, status="diverged", message="Step 3: the loss is nan.", numbers={})


def outcome(study: Study, values: dict[str, list[Any]], **options: Any) -> Outcome:
    """The study with these values by arm and seed: a number, a `Line`, or None for a run that is missing."""
    cells = []
    for arm in study.arms:
        for seed, value in enumerate(values[arm.name]):
            known = value if value is None or isinstance(value, Line) else line(f"{arm.name}/{seed}", value)
            cells.append(Cell(arm.name, seed, known))
    return Outcome(study, tuple(cells), **options)
