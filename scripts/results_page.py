"""Write results/README.md: what the source documents printed beside what was measured here, with verdicts.

    convscope study NAME --into results/studies      as often as it takes
    python scripts/results_page.py            tables and figures of complete studies, and the page, from the journal
    python scripts/results_page.py --plan     first time a few steps of every study that is not complete; minutes

Studies that are not complete stand there with their planned cost (results/studies/planned.csv).
"""

import csv
import io
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from convscope.cli.show import duration
from convscope.compute import environment
from convscope.compute.device import pick
from convscope.core import catalog, files
from convscope.plots.study import draw_into
from convscope.studies import measures, stats, tables, verdict
from convscope.studies.conduct import recorded
from convscope.studies.design import Study
from convscope.studies.plan import plan
from convscope.studies.report import ArmRow, ComparisonRow, Report, level, report, unit
from convscope.studies.tables import Table
from convscope.train.prepare import Place

RESULTS = Path(__file__).parent.parent / "results"
STUDIES = RESULTS / "studies"
PLANNED = STUDIES / "planned.csv"
WORKERS = 2
MARKS = {"supported": "**supported**", "contradicted": "**contradicted**", "not distinguishable": "open"}

HEAD = """\
# Published beside measured

Every number here was measured by a command, on shared seeds, with an interval; question and expectation of every study
were written before its runs, and one rule gives every verdict (`docs/statistics.md`). The published numbers were printed
by others, mostly from one run.
Accuracies are of validation images that no training step saw; no test split was opened.

- **supported**, **contradicted**: the paired difference over seeds is significant at 5 % after Holm's correction within
  its study, with the claimed sign or the other; of the size that was printed they say nothing. An equality is supported
  if two one-sided tests place the difference inside its margin, and contradicted if the 95 % interval lies wholly
  outside. *different*: significant, where nobody claimed which way. *open*: not distinguishable with so many seeds; in
  brackets about how many would be needed. *diverged*: every run of one of the two did. *none*: too few seeds, or some
  runs diverged. Intervals are not adjusted for the family, so an open one may leave zero out. Margins of equalities are
  ours: no source names one.
- Each line is one command, `convscope study NAME`, which makes all its runs; with `--into results/studies --show` it
  shows those that are here. Its page (`studies/NAME/study.md`) has every arm and what it changes, figures, the exact
  test, what was expected beforehand, and in what the runs differ from those of the source: a verdict holds for ours.
  Some statements need several claims together, as S3.18's peak does; their pages say so.
- `studies/journal.jsonl` holds every run, `provenance.csv` its seconds, commit, device and precision.
"""


@cache
def found() -> tuple[Report, ...]:
    """What the journal tells of every study of the catalog, in its order."""
    studies = [item.load()() for item in catalog.items("studies")]
    return tuple(report(recorded(study, STUDIES, allow_mixed=True)) for study in studies)


def page() -> str:
    """The whole page."""
    measured = [told for told in found() if told.is_complete]
    rows = [row for told in measured for row in claims(told)]
    verdicts = Counter(row.judgement.verdict for told in measured for row in told.comparisons)
    words = ", ".join(f"{count} {word}" for word, count in sorted(verdicts.items()))
    parts = [
        HEAD.rstrip(),
        "## Claims",
        f"{len(rows)} claims of {sum(bool(told.comparisons) for told in measured)} studies: {words}.",
        *_table(("source", "claim", "measure: study", "published", "measured", "seeds", "verdict"), rows),
        "## Printed numbers",
        "The published number is one run, and of S4.10-11 the mean of several, how many is not said. It counts other "
        "images than ours. So it is to be held against where one more run would lie on other images, as many as ours; "
        "where it lies outside, that is **bold**. The interval of the mean says how well we know our own, on our images.",
        _together(measured),
        *_table(
            ("source", "arm", "published", "measured", "95 % of the mean", "95 % of one more run, other images", "seeds",
             "study"),
            list(numbers(measured)),
        ),
        "## Printed by epoch",
        "Means and standard deviations over runs of validation accuracy; how many runs the source had is not said.",
        *_table((*tables.CURVE_HEAD, "study"), list(by_epoch(measured))),
        "## Effects of factorials",
        "What a level changes against the first, averaged over the other factors, and what two change together beyond "
        "that; p after Holm within the study.",
        *_table(("source", "effect", "measured", "95 % interval", "seeds", "p", "study"), list(effects(measured))),
        "## What is confused",
        "The pairs we find most often, all runs taken together, with the number of runs in which each is among the first "
        "three. Where a pair has a handful of images a run, as in MNIST, which one comes second is chance.",
        *_table(("source", "published, truth first", "measured: images over all seeds", "arm"), list(confused(measured))),
        "## Not measured",
        f"Shipped with the cost of all their runs on two cores{_planned_on()}, if nothing else runs; one command each, to "
        f"be stopped and carried on at any time.",
        *_table(("study", "what", "source", "runs", "time"), list(missing())),
        "## Where this was measured",
        origin(measured),
        *(f"Pooled in {told.study.name}: {' '.join(told.outcome.mixed)}" for told in measured if told.outcome.mixed),
        "Other measurements: [foundation](foundation.md), [recipes](recipes.md), [networks](zoo.md), "
        "[VGG-A and batch norm](vgg_norm.md), [gallery](gallery/README.md).",
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["\n".join(Table(tuple(head), tuple(map(tuple, rows))).markdown())] if rows else ["None yet."]


def claims(told: Report) -> Iterator[tuple[str, ...]]:
    """A line per comparison."""
    for row in told.comparisons:
        said = unit(row.measure)
        yield (
            row.comparison.source,
            str(
                replace(
                    row.comparison,
                    arm=named(told.study, row.comparison.arm),
                    than=named(told.study, row.comparison.than),
                )
            ),
            f"{measures.label(row.measure)}: {link(told.study)}",
            "" if row.comparison.by is None else said(row.comparison.by),
            difference(row),
            str(row.paired.n if row.paired else 0),
            MARKS.get(row.judgement.verdict, row.judgement.verdict) + needed(row),
        )


def named(study: Study, arm: str) -> str:
    """An arm of a sweep is named by its value alone, which says little without its study: `lr 0.01`."""
    return f"{study.axis} {arm}" if study.axis and re.fullmatch(r"[\d.e-]+", arm) else arm


def difference(row: ComparisonRow) -> str:
    """`+2.31 points [+1.90, +2.72]`."""
    said = unit(row.measure)
    if row.paired is None or row.judgement.verdict in ("none", "diverged"):
        return row.judgement.sentence  # what is left of runs that diverged decides nothing
    return f"{said(row.paired.mean)} {verdict.interval(row.paired, said)}".rstrip()


def needed(row: ComparisonRow) -> str:
    """` (about 40)` seeds, where a verdict is open."""
    return f" ({row.judgement.needed})" if row.judgement.needed else ""


def link(study: Study) -> str:
    """To the page of a study."""
    return f"[{study.name}](studies/{study.name}/study.md)"


def numbers(measured: Sequence[Report]) -> Iterator[tuple[str, ...]]:
    """A line per arm for which a number was printed."""
    for told in measured:
        study, shown = told.study, level(told.study.measure)
        for row in told.arms:
            if not row.arm.published:
                continue
            summary, single = row.summary, one_more(row)
            yield (
                row.arm.published.source,
                f"{named(study, row.arm.name)}, {measures.label(study.measure)}",
                shown(row.arm.published.value),
                shown(summary.mean) if summary else row.runs,
                _between(shown, summary.low, summary.high) if summary else "",
                ("**{}**" if is_outside(row) else "{}").format(_between(shown, *single)) if single else "",
                row.runs,
                link(study),
            )


def one_more(row: ArmRow) -> tuple[float, float] | None:
    """Where one more run of an arm would lie, on other images."""
    return stats.one_more(row.summary, row.counting or 0.0) if row.summary else None


def is_outside(row: ArmRow) -> bool:
    """Whether the number that was printed for an arm lies elsewhere."""
    ends = one_more(row)
    return bool(ends and row.arm.published and not ends[0] <= row.arm.published.value <= ends[1])


def _together(measured: Sequence[Report]) -> str:
    """What the lines say together, which none says alone."""
    rows = [row for told in measured for row in told.arms if row.arm.published and row.summary]
    higher = sum(
        row.arm.published.value > row.summary.mean for row in rows if row.arm.published and row.summary
    )
    outside = sum(is_outside(row) for row in rows)
    return (
        f"Of {len(rows)} such numbers {outside} lie outside, where {0.05 * len(rows):.0f} would by chance, and "
        f"{higher} were printed higher than we measured. They are not independent: all count the same validation images, "
        f"and some lines are the same runs."
    )


def by_epoch(measured: Sequence[Report]) -> Iterator[tuple[str, ...]]:
    """A line per epoch of every curve that was printed."""
    for told in measured:
        for row in tables.curves(told).rows:
            yield *row, link(told.study)


def _between(shown: Callable[[float], str], low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"[{shown(low).removesuffix(' %')}, {shown(high)}]"


def effects(measured: Sequence[Report]) -> Iterator[tuple[str, ...]]:
    """A line per effect of every factorial."""
    for told in measured:
        for row in tables.effects(told).rows:
            yield catalog.find("studies", told.study.name).source, *row, link(told.study)


def confused(measured: Sequence[Report]) -> Iterator[tuple[str, ...]]:
    """A line per arm whose confusions were printed."""
    for told in measured:
        for row in told.pairs:
            if row.published:
                ours = ", ".join(
                    f"{pair} ({images}; in {seeds} of {row.seeds})" for pair, images, seeds in row.pairs
                )
                yield row.published.source, ", ".join(row.published.pairs), ours, row.arm


def _planned() -> dict[str, dict[str, str]]:
    rows = csv.DictReader(io.StringIO(PLANNED.read_text())) if PLANNED.exists() else []
    return {row["study"]: row for row in rows}


def _planned_on() -> str:
    return "".join(f" of an {name}" for name in sorted({row["processor"] for row in _planned().values()}))


def missing() -> Iterator[tuple[str, ...]]:
    """A line per study with runs left, and what all of its runs cost."""
    planned = _planned()
    for told in found():
        if not told.is_complete:
            item = catalog.find("studies", told.study.name)
            row = planned.get(told.study.name, {"runs": "", "seconds": ""})
            timed = duration(float(row["seconds"])) if row["seconds"] else "not timed"
            yield told.study.name, item.line, item.source, row["runs"], timed


def origin(measured: Sequence[Report]) -> str:
    """Machines, commits and hours behind the page; a run that two studies share is one."""
    lines = {cell.line.key: cell.line for told in measured for cell in told.outcome.cells if cell.line}
    return f"{tables.origin(lines.values())} The machine did other work beside, so seconds are upper bounds."


def time_what_is_missing() -> None:
    """Plan every study that is not complete as who begins it anew, and keep what that says."""
    processor = environment.surroundings(1, pick("auto"))["machine"]["processor"]
    rows = [("study", "runs", "seconds", "processor")]
    with TemporaryDirectory() as empty:
        for told in found():
            if not told.is_complete:
                planned = plan(told.study, Path(empty), Place(Path(empty)), workers=WORKERS)
                rows.append((told.study.name, str(planned.runs), f"{planned.seconds:.0f}", processor))
                print(f"{told.study.name}: {planned.runs} runs, {duration(planned.seconds)}")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    files.write(PLANNED, text.getvalue().encode())


def main(arguments: Sequence[str]) -> int:
    """Write the page."""
    if "--plan" in arguments:
        time_what_is_missing()
    for told in found():
        if told.is_complete:
            name = told.study.name
            tables.write(told, STUDIES / name, f"convscope study {name}", draw_into(told, STUDIES / name))
    files.write(RESULTS / "README.md", page().encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
