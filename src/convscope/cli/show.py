"""How does a run look in a terminal?

Text in, text out where possible: `facts`, `curve` and `duration` return
strings.  `Display` watches a run: a progress bar in a terminal, one line per
validation elsewhere.
"""

import math
import sys
from collections.abc import Sequence
from textwrap import indent
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from convscope.core.config import Choice, switched_on
from convscope.core.records import Record
from convscope.train.events import Event, Prepared, Progressed, Saved, Validated

HEIGHT = 8
"""Lines of a curve."""


def duration(seconds: float) -> str:
    """'45 s', '12 min 5 s', '3 h 4 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def facts(prepared: Prepared) -> str:
    """What is known before the first step, a line per fact."""
    config, check = prepared.config, prepared.preflight
    train, val, test = prepared.images
    steps = f"{prepared.total:,} steps in {config.recipe.epochs:g} epochs, batch {config.recipe.batch_size}"
    pairs = [
        ("network", f"{config.model}: {prepared.parameters:,} parameters"),
        (
            "data",
            f"{config.data.source}: {train:,} training, {val:,} validation, {test:,} test images (sealed)",
        ),
        ("run", f"{prepared.root}"),
        ("recipe", f"{config.recipe.optimizer}, {config.recipe.schedule}, lr {config.recipe.lr:g}; {steps}"),
        ("augment", ", ".join(map(str, config.recipe.augment)) or "none"),
        *(
            ("option", f"{key} {_value(value)}")
            for part in (config.recipe, config.data)
            for key, value in switched_on(part)
        ),
        *(("decay", text) for text in prepared.decay),
        ("input", f"mean {check.input_mean:.2f}, deviation {check.input_std:.2f}"),
        (
            "loss",
            f"{check.first_loss:.3f} on the next batch; {_chance(config.recipe.loss.name, check.chance_loss)}",
        ),
        ("memory", f"{check.placement} {check.memory}"),
        ("precision", check.precision),
        (
            "time",
            f"about {duration(check.remaining_s)}, {check.step_s * 1000:.0f} ms a step, without validation",
        ),
    ]
    if prepared.start:
        pairs.append(("resumed", f"at step {prepared.start:,} of {prepared.total:,}"))
    pairs += [("note", text) for text in prepared.notes]
    pairs += [("WARNING", text) for text in check.warnings]
    return "\n".join(f"{name:<10} {indent(text, ' ' * 11).strip()}" for name, text in pairs)


def _chance(name: str, loss: float | None) -> str:
    """'ln 10 = 2.303', what a network that knows nothing gets; of other losses, their name."""
    return name if loss is None else f"ln {round(math.exp(loss))} = {loss:.3f}"


def _value(value: Any) -> str:
    """Of an option that is on, as it would be typed; of noise, without the numbers of its matrix."""
    match value:
        case Choice():
            return value.brief()
        case tuple():
            return " ".join(map(str, value))
    return str(value)


def curve(values: Sequence[float], label: str, width: int = 60) -> str:
    """A curve of accuracies in text, oldest on the left, with its lowest and highest value on the axis."""
    if not values:
        return ""
    columns = [values[i * len(values) // min(width, len(values))] for i in range(min(width, len(values)))]
    columns[-1] = values[-1]
    low, high = min(columns), max(columns)
    span = (high - low) or 1.0
    blocks = " ▁▂▃▄▅▆▇█"
    rows = []
    for row in range(HEIGHT - 1, -1, -1):
        cells = "".join(
            blocks[max(0, min(8, round((value - low) / span * (8 * HEIGHT - 1) + 1 - 8 * row)))]
            for value in columns
        )
        edge = f"{high:7.1%}" if row == HEIGHT - 1 else f"{low:7.1%}" if row == 0 else " " * 7
        rows.append(f"{edge} |{cells}")
    return "\n".join([*rows, f"{' ' * 8}+{'-' * len(columns)} {label}"])


def validation_line(record: Record, best: bool, loss: str = "cross-entropy") -> str:
    """One validation in one line; what is minimised and what is measured are named where they differ."""
    trained, measured = ("loss", "loss") if loss == "cross-entropy" else (loss, "cross-entropy")
    train = f"train {trained} {record['train_loss']:.3f}  " if record["train_loss"] is not None else ""
    val = ""
    if "val_loss" in record:
        val = f"val {measured} {record['val_loss']:.3f}  val accuracy {record['val_accuracy']:.2%}  "
    for key, name in (("val_balanced_accuracy", "val balanced accuracy"), ("val_top5", "val top-5")):
        if key in record:  # what --select names
            val += f"{name} {record[key]:.2%}  "
    return (
        f"epoch {record['epoch']:6.2f}  {train}{val}{duration(record['seconds'])}{'  best' if best else ''}"
    )


class Display:
    """Watches a run and shows it on stderr, so that stdout holds results alone."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr, highlight=False)
        self._bar: Progress | None = None
        self._task: Any = None
        self._loss = "cross-entropy"

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Prepared():
                print(facts(event), file=sys.stderr, flush=True)
                self._loss = event.config.recipe.loss.name
                self._begin(event)
            case Progressed():
                self._advance(event)
            case Validated():
                self._line(validation_line(event.record, event.is_best, self._loss))
            case Saved():
                pass

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar:
            self._bar.stop()

    def _begin(self, prepared: Prepared) -> None:
        self.close()  # of the run before, where several are watched
        if not self.console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[text]}"),
            console=self.console,
            transient=True,
        )
        self._task = self._bar.add_task("training", total=prepared.total, completed=prepared.start, text="")
        self._bar.start()

    def _advance(self, event: Progressed) -> None:
        if self._bar:
            speed = f"{event.images_per_s:,.0f} images/s"
            text = f"{event.epoch:.2f} epochs  {speed}  {duration(event.remaining_s)} left"
            self._bar.update(self._task, completed=event.step, text=text)

    def _line(self, text: str) -> None:
        if self._bar:
            self._bar.console.print(text)
        else:
            print(text, file=sys.stderr, flush=True)
