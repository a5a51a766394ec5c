"""How are recipes compared?

Arms x seeds on shared seeds: designed (design.py), planned (plan.py), run
(conduct.py), judged (report.py) and written down (tables.py).  A study is one
function, see `convscope.study`; `run_study` does all the rest of it but the figures.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from convscope.core.errors import UsageError

from .design import (
    Arm,
    Comparison,
    Confused,
    Curve,
    Published,
    Study,
    arm,
    different,
    equal,
    factorial,
    greater,
    less,
    study,
)

if TYPE_CHECKING:
    from .report import Report

__all__ = [
    "Arm",
    "Comparison",
    "Confused",
    "Curve",
    "Published",
    "Study",
    "arm",
    "different",
    "equal",
    "factorial",
    "greater",
    "less",
    "run_study",
    "study",
]


def run_study(
    what: Study | Callable[[], Study] | str | Path,
    *,
    seeds: int = 0,
    executor: Literal["serial", "processes", "ray"] = "serial",
    workers: int = 0,
    address: str = "",
    threads: int = 1,
    root: str | Path = "runs",
    into: str | Path | None = None,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    allow_mixed: bool = False,
    watch: Callable[[Any, Any], None] | None = None,
) -> Report:
    """Run what is missing of a study, write its tables, and say what was found.

    Args:
        what: what a function decorated with `study` gives, that function, a name of the catalog, or a file with one
            study, in TOML or Python.
        seeds: how many; 0 is the study's own number.
        executor: `processes` is as fast as there are cores, and in a script needs the usual guard,
            `if __name__ == "__main__":`, because each worker imports the script; `ray` takes a cluster.
        workers: of `processes`; 0 is one per core.
        address: of the Ray cluster; absent: one on this machine.
        threads: CPU threads of every run, on which its result depends.
        root: where runs are kept.
        into: folder of the journal and the tables; absent: studies/ in the root.
        data_dir: where named data sets are looked for first.
        cache_dir: where decoded pixels and self-test results are kept.
        allow_mixed: pool runs made under other conditions.
        watch: called with each task and the share of its steps that is made, and with its line at its end.

    Returns:
        The report: arms with intervals, comparisons with verdicts, effects. Its tables and page are in `into`/NAME;
        `convscope.plots.study.figures(report)` draws it.

    Raises:
        UsageError: names, options, or runs that must not be pooled; before anything runs.
        RunBusy: another study is being run in this folder.
    """
    from convscope.train.prepare import Place
    from convscope.train.run import command_line

    from . import tables
    from .conduct import conduct, unwatched
    from .executors import executor as executor_of
    from .report import report

    asked = _study_of(what)
    if seeds:
        asked = asked.with_seeds(seeds)
    if threads < 1:
        raise UsageError(
            f"threads cannot be {threads}: results depend on their number, so it is given: 1 or more."
        )
    folder = Path(into) if into else Path(root) / "studies"
    tables.refuse_another(asked, folder / asked.name)
    place = Place(
        Path(root),
        Path(data_dir) if data_dir else None,
        Path(cache_dir) if cache_dir else None,
        command=command_line(),
    )
    outcome = conduct(
        asked,
        folder,
        place,
        executor=executor_of(executor, workers, address),
        threads=threads,
        allow_mixed=allow_mixed,
        watch=watch or unwatched,
    )
    told = report(outcome)
    tables.write(told, folder / asked.name, place.command)
    return told


def _study_of(what: Study | Callable[[], Study] | str | Path) -> Study:
    """What `run_study` was given, as a study."""
    from convscope.core import catalog

    from .file import read

    if isinstance(what, str | Path) and Path(what).suffix in (".toml", ".py"):
        found = read(Path(what))
        if len(found) > 1:
            raise UsageError(
                f"{what} holds {len(found)} studies, {', '.join(study.name for study in found)}; run_study takes one. "
                f"Import the function."
            )
        what = found[0]
    elif isinstance(what, str):
        what = catalog.find("studies", what).load()
    asked = what() if callable(what) else what
    if not isinstance(asked, Study):
        raise UsageError(
            f"run_study takes a function decorated with `study`, a name of `convscope list studies` or a file, not "
            f"{type(asked).__name__}."
        )
    return asked
