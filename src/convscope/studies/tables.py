"""How is what a study found written down?

table.csv        an arm and measure per row: published, mean, interval, runs
runs.csv         a run per row, finished or not
study.json       everything: design, verdicts, effects, every number of every run
provenance.csv   seconds, commit and device of each run
study.md         for people: tables with seconds beside accuracy, verdicts in words

Of these the last two differ when the same runs are made again.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from convscope.core import files, records
from convscope.core.errors import DamagedFile, UsageError

from . import measures, verdict
from .conduct import Outcome
from .design import Study
from .journal import Line
from .notes import notes
from .report import ArmRow, ComparisonRow, PairRow, Report, level, unit
from .stats import Summary

CURVE = "final_accuracy"
"""What curves by epoch are measured in: validation accuracy."""
CURVE_HEAD = ("arm", "epoch", "published", "sd", "source", "accuracy", "95 % interval", "sd over seeds")
PROVENANCE = ("seconds", "steps", "commit", "device", "processor", "threads", "ended")


@dataclass(frozen=True)
class Table:
    """Text in rows and columns."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> list[str]:
        """Lines with columns side by side, numbers to the right."""
        cells = [self.head, *self.rows]
        widths = [max(len(row[column]) for row in cells) for column in range(len(self.head))]
        right = self._numeric()
        return [
            "  ".join(
                cell.rjust(width) if numeric else cell.ljust(width)
                for cell, width, numeric in zip(row, widths, right, strict=True)
            ).rstrip()
            for row in cells
        ]

    def markdown(self) -> list[str]:
        """The same for a page."""
        rule = ["---:" if numeric else "---" for numeric in self._numeric()]
        return [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
            for row in (self.head, rule, *self.rows)
        ]

    def _numeric(self) -> list[bool]:
        """Which columns hold numbers: none of its cells begins with anything else. The first names the row."""
        columns = [[row[column] for row in self.rows] for column in range(len(self.head))]
        return [
            place > 0 and all(re.match(r"[<+\-\[]?\s?\d|$", cell) for cell in cells)
            for place, cells in enumerate(columns)
        ]


def arms(report: Report) -> Table:
    """Each arm: published, measured, how many runs, further measures, seconds."""
    study, published = report.study, any(row.arm.published for row in report.arms)
    shown = level(study.measure)
    also = [name for name in study.also if any(name in row.also for row in report.arms)]
    head = [
        "arm",
        *(["published"] if published else []),
        measures.label(study.measure),
        "95 % interval",
        "sd",
        "runs",
    ]
    rows = []
    for row in report.arms:
        cells = [row.arm.name]
        if published:
            cells.append(
                f"{shown(row.arm.published.value)} ({row.arm.published.source})" if row.arm.published else ""
            )
        cells += [*_summarised(row.summary, study.measure), row.runs]
        cells += [level(name)(row.also[name].mean) if name in row.also else "" for name in also]
        cells.append("" if row.seconds is None else f"{row.seconds:,.{int(row.seconds < 9.95)}f} s")
        rows.append(tuple(cells))
    return Table((*head, *map(measures.label, also), "time"), tuple(rows))


def _summarised(summary: Summary | None, measure: str) -> list[str]:
    if summary is None:
        return ["", "", ""]
    shown = level(measure)
    if summary.low is None or summary.high is None or summary.sd is None:
        return [shown(summary.mean), "", ""]
    spread = _spread(summary.sd, measure)
    return [shown(summary.mean), f"[{shown(summary.low)}, {shown(summary.high)}]", spread]


def of(row: ComparisonRow, report: Report) -> str:
    """Of which measure, where it is not the study's own."""
    return "" if row.measure == report.study.measure else f" ({measures.label(row.measure)})"


def comparisons(report: Report) -> Table:
    """Each comparison: published difference, and the measured one with its verdict."""
    rows = tuple(
        (
            f"{row.comparison}{of(row, report)}",
            row.comparison.source,
            "" if row.comparison.by is None else unit(row.measure)(row.comparison.by),
            judged(row),
        )
        for row in report.comparisons
    )
    return Table(("claim", "source", "published", "measured on shared seeds; p after Holm"), rows)


def judged(row: ComparisonRow) -> str:
    """The verdict with its numbers, and the exact test of a difference beside it where there are seeds enough."""
    flip = row.paired.p_flip if row.paired else None
    if flip is None or row.p is None or row.comparison.form == "equal":
        return row.judgement.sentence
    return f"{row.judgement.sentence}; sign-flip {verdict.in_words(flip)} before Holm"


def effects(report: Report) -> Table:
    """Each effect of a factorial: the mean over the other factors, per seed."""
    said = unit(report.study.measure)
    rows = []
    for row in report.effects:
        named = [
            (factor, f"{level} against {report.study.factors[factor][0]}")
            for factor, level in zip(row.effect.factors, row.effect.levels, strict=True)
        ]
        paired = row.effect.paired
        p = "" if row.p is None else verdict.in_words(row.p).removeprefix("p ").removeprefix("= ")
        interval = verdict.interval(paired, said)
        rows.append((" x ".join(map(" ".join, named)), said(paired.mean), interval, str(paired.n), p))
    return Table(
        ("effect", measures.label(report.study.measure), "95 % interval", "seeds", "p (Holm)"), tuple(rows)
    )


def pairs(report: Report) -> Table:
    """What each arm confuses, truth first, beside what was published."""
    return Table(
        ("arm", "published", "most often confused (images; seeds in which it is among the first three)"),
        tuple((row.arm, _published_pairs(row), _pairs(row)) for row in report.pairs),
    )


def curves(report: Report) -> Table:
    """Accuracy by epoch beside what was printed, and the best of all runs and epochs."""
    rows = []
    for row in report.curves:
        means, sds = row.published.means, row.published.sds or (None,) * len(row.published.means)
        for number, (mean, sd, found) in enumerate(zip(means, sds, row.epochs, strict=True), 1):
            measured = _summarised(found, CURVE)
            printed = [level(CURVE)(mean), "" if sd is None else _spread(sd, CURVE), row.published.source]
            rows.append((row.arm, str(number), *printed, *measured))
        if row.published.best is not None:
            printed = [level(CURVE)(row.published.best), "", row.published.source]
            best = "" if row.best is None else level(CURVE)(row.best)
            rows.append((row.arm, "best of all", *printed, best, "", ""))
    return Table(CURVE_HEAD, tuple(rows))


def _spread(sd: float, measure: str) -> str:
    return unit(measure)(sd).lstrip("+")


def _published_pairs(row: PairRow) -> str:
    return f"{', '.join(row.published.pairs)} ({row.published.source})" if row.published else ""


def _pairs(row: PairRow) -> str:
    return ", ".join(f"{pair} ({count}; {seeds} of {row.seeds})" for pair, count, seeds in row.pairs)


def origin(lines: Iterable[Line]) -> str:
    """Where runs were made, from which commits, and what they cost: what stands beside every printed number."""
    ran = [line for line in lines if line.provenance]
    known = [line.provenance for line in ran]
    places = (
        (*(line.provenance[key] for key in ("processor", "device", "threads")), line.precision)
        for line in ran
    )
    # Ten digits, and `+dirty` where files had been changed since.
    commits = sorted({re.sub(r"^(\w{10})\w+", r"\1", str(found["commit"])) for found in known} - {""})
    hours = sum(found["seconds"] or 0 for found in known) / 3600
    machines = "; ".join(
        f"{count} run{'s' * (count != 1)} on {processor}, {device}, {threads} thread{'s' * (threads != 1)} each"
        + f", {precision}" * bool(precision)
        for (processor, device, threads, precision), count in sorted(Counter(places).items(), key=str)
    )
    said = f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}; " if commits else ""
    return f"{machines}; {said}{hours:.2f} hours of training in all. Validation split." if known else ""


def text(report: Report, width: int = 0) -> str:
    """What a study found, for a terminal of so many columns; 0: each sentence on a line of its own."""
    study, since = report.study, report.outcome.since
    parts = [
        introduction(study, width),
        arms(report).text(),
        filled((f"{row.comparison}{of(row, report)}: {judged(row)}" for row in report.comparisons), width),
        effects(report).text() if report.effects else [],
        pairs(report).text() if report.pairs else [],
        curves(report).text() if report.curves else [],
        filled([*notes(report), origin(_lines(report))], width),
        filled([f"Nothing was run, and since the runs were made: {' '.join(since)}"] if since else [], width),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def introduction(study: Study, width: int = 0) -> list[str]:
    """Which study, what it asks and what was expected."""
    return filled([headline(study), f"Question: {study.question}", f"Expected: {study.expectation}"], width)


def filled(lines: Iterable[str], width: int) -> list[str]:
    """Prose in lines of at most this width, what belongs to one sentence indented; 0: as it is."""
    fill = partial(textwrap.fill, width=width, subsequent_indent="  ", break_on_hyphens=False)
    return [fill(line) if width else line for line in lines]


def headline(study: Study) -> str:
    """Its name, and its title where that says more."""
    return study.name if study.title == study.name else f"{study.name}: {study.title}"


def _lines(report: Report) -> list[Line]:
    return [cell.line for cell in report.outcome.cells if cell.line]


def markdown(report: Report, command: str, figures: Sequence[str] = ()) -> str:
    """A page for people."""
    study = report.study
    explained = measures.EXPLAINED.get(study.measure, measures.label(study.measure))
    parts = [
        f"# {study.title}",
        f"**Question.** {study.question}",
        f"**Expected before running.** {study.expectation}",
        f"Measured: {explained}. Seeds 0 to {study.seeds - 1}, shared by all arms. What an arm does not change: "
        f"{_base(study)}.",
        "\n".join(f"- {arm.name}: {_changes(arm.changes)}" for arm in study.arms if arm.changes),
        f"```\n{command}\n```",
        *_section("", arms(report)),
        *_section("Comparisons", comparisons(report)),
        *_section("Effects", effects(report)),
        *_section("Confusions", pairs(report)),
        *_section("By epoch", curves(report)),
        "\n".join(f"- {note}" for note in [*notes(report), origin(_lines(report))] if note),
        *(f"![{Path(name).stem}]({name})" for name in figures),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _base(study: Study) -> str:
    """What all arms share, in a line."""
    shared = {part: table for part in ("model", "data", "recipe") if (table := study.base.get(part))}
    return "; ".join(f"{part}: {_changes(table)}" for part, table in shared.items())


def _changes(table: Mapping[str, Any]) -> str:
    """`lr 0.05, model.norm batch`."""
    return ", ".join(f"{key} {_word(value)}" for key, value in table.items())


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_changes(value)})"
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _section(title: str, table: Table) -> list[str]:
    if not table.rows:
        return []
    return [*([f"## {title}"] if title else []), "\n".join(table.markdown())]


def write(report: Report, folder: Path, command: str, figures: Sequence[str] = ()) -> None:
    """Write all files of a study into its folder."""
    files.write(folder / "table.csv", _csv(_table_rows(report)))
    files.write(folder / "runs.csv", _csv(_run_rows(report.outcome)))
    files.write(folder / "provenance.csv", _csv(_provenance_rows(report.outcome)))
    files.write(
        folder / "study.json",
        (json.dumps(as_json(report), indent=1, allow_nan=False) + "\n").encode(),
    )
    files.write(folder / "study.md", markdown(report, command, figures).encode())


def refuse_another(study: Study, folder: Path) -> None:
    """What has another question and other arms is no later version of the same study, and would be overwritten.

    Raises:
        UsageError: such a study's results are in the folder.
    """
    try:
        there = records.read_json(folder / "study.json")["study"]
        same = there["question"] == study.question or {arm["name"] for arm in there["arms"]} & {
            arm.name for arm in study.arms
        }
    except (OSError, DamagedFile, KeyError, TypeError):
        return
    if not same:
        raise UsageError(
            f"{folder} holds another study of this name, {there['question']!r}. Give one of the two another name, or "
            f"another folder with --into; or remove that folder, whose runs stay in the journal."
        )


def _table_rows(report: Report) -> Iterable[Sequence[Any]]:
    lost = ("diverged", "failed", "numberless", "missing")
    yield "arm", "measure", "published", "source", "n", "mean", "sd", "low", "high", *lost
    for row in report.arms:
        for measure in report.study.measures:
            yield (
                row.arm.name,
                measure,
                *_published(row, measure, report),
                *_numbers(row, measure, report),
                *(getattr(row, what) for what in lost),
            )


def _published(row: ArmRow, measure: str, report: Report) -> tuple[Any, ...]:
    of_this = row.arm.published if measure == report.study.measure else None
    return (of_this.value, of_this.source) if of_this else ("", "")


def _numbers(row: ArmRow, measure: str, report: Report) -> tuple[Any, ...]:
    found = row.summary if measure == report.study.measure else row.also.get(measure)
    return (found.n, found.mean, found.sd, found.low, found.high) if found else (0, "", "", "", "")


def _run_rows(outcome: Outcome) -> Iterable[Sequence[Any]]:
    names = outcome.study.measures
    yield "arm", "seed", "status", *names, "message"
    for cell in outcome.cells:
        line = cell.line
        if line is None:
            yield cell.arm, cell.seed, "not run", *[""] * len(names), ""
        else:
            yield cell.arm, cell.seed, line.status, *(line.numbers.get(name) for name in names), line.message


def _provenance_rows(outcome: Outcome) -> Iterable[Sequence[Any]]:
    yield "arm", "seed", *PROVENANCE, "precision"
    for cell in outcome.cells:
        if cell.line:
            told = (cell.line.provenance.get(name) for name in PROVENANCE)
            yield cell.arm, cell.seed, *told, cell.line.precision


def _csv(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def as_json(report: Report) -> dict[str, Any]:
    """Everything as plain values, without what differs when runs are repeated."""
    # Without the lines, which are not needed twice.
    brief = dataclasses.replace(report, outcome=dataclasses.replace(report.outcome, cells=()))
    plain: dict[str, Any] = dataclasses.asdict(brief)
    outcome = plain.pop("outcome")
    for row in plain["arms"]:
        del row["seconds"]
    runs = [
        {"arm": cell.arm, "seed": cell.seed, **_without_origin(cell.line)}
        for cell in report.outcome.cells
        if cell.line
    ]
    told = {key: outcome[key] for key in ("study", "trials", "mixed")}
    return {"study": told.pop("study"), **plain, **told, "runs": runs}


def _without_origin(line: Any) -> dict[str, Any]:
    left_out = ("environment", "provenance", "config")
    return {key: value for key, value in vars(line).items() if key not in left_out}
