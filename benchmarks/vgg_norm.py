r"""VGG-A with and without batch norm at four learning rates: three measures over training.

    for lr in 1e-3 2e-3 1e-4 5e-4; do for norm in none batch; do
      convscope train vgg11-cifar:width=0.25,norm=$norm cifar10 --epochs 2 --optimizer adam --lr $lr \
        --schedule constant --weight-decay 0 --augment none --validate-every "40 steps" \
        --inspect smoothness:lr=0.1 --inspect-every "40 steps" --threads 1 --precision float32
    done; done
    python benchmarks/vgg_norm.py runs/vgg11-cifar-cifar10-*/seed-0 results/vgg_norm

writes results/vgg_norm.csv, a line per run and moment, and results/vgg_norm.png.

The band is that of the training loss over the four rates (S2.28), which is no landscape at a point (E2.10); predictiveness
and beta are taken at each moment along the gradient, as in Santurkar et al. (2018), with steps of 0.05 to 0.4 times it.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from convscope.core import records
from convscope.diagnostics.smoothness import band
from convscope.evaluate.runs import Run, open_run
from convscope.plots import save, style

COLUMNS = ("norm", "lr", "step", "train_loss", "val_accuracy", "change_low", "change_high", "beta", "commit")


def lines(run: Run) -> list[dict[str, object]]:
    """What a run's records say at each moment."""
    scores = {record["step"]: record for record in run.metrics}
    found = []
    for look in records.read(run.paths.inspections):
        score = scores.get(look["step"], {})
        found.append(
            {
                "norm": run.config.model.options["norm"],
                "lr": run.config.recipe.lr,
                "step": look["step"],
                "train_loss": score.get("train_loss"),
                "val_accuracy": score.get("val_accuracy"),
                **{key: look[key] for key in ("change_low", "change_high", "beta")},
                "commit": run.environment["commit"],
            }
        )
    return found


def table(rows: list[dict[str, object]], norm: str, key: str) -> tuple[list[int], np.ndarray]:
    """Steps, and a row of values per learning rate."""
    by_rate: dict[object, list[float]] = defaultdict(list)
    steps = sorted({int(str(row["step"])) for row in rows if row["norm"] == norm and row[key] is not None})
    for row in rows:
        if row["norm"] == norm and row[key] is not None:
            by_rate[row["lr"]].append(float(str(row[key])))
    return steps, np.array(list(by_rate.values()))


def picture(rows: list[dict[str, object]], path: Path) -> None:
    """Bands over the four rates, with and without norms."""
    figure, panels = style.panels(1, 4)
    titles = ("training loss (nats)", "validation accuracy", "change of the gradient", "effective beta")
    for colour, norm in zip(style.COLOURS, ("none", "batch"), strict=False):
        label = {"none": "VGG-A", "batch": "VGG-A with batch norm"}[norm]
        for axes, key in zip(panels, ("train_loss", "val_accuracy", "change", "beta"), strict=True):
            if key == "change":
                steps, low = table(rows, norm, "change_low")
                _, high = table(rows, norm, "change_high")
                lower, upper = low.min(0), high.max(0)
            elif key == "train_loss":
                steps, values = table(rows, norm, key)
                lower, upper = (np.array(edge) for edge in band(values.tolist()))
            else:
                steps, values = table(rows, norm, key)
                lower, upper = values.min(0), values.max(0)
            axes.fill_between(steps, lower, upper, color=colour, alpha=0.4, linewidth=0.8, label=label)
    for axes, title in zip(map(style.plain, panels), titles, strict=True):
        axes.set_xlabel("step", fontsize=8)
        axes.set_title(title, fontsize=9)
    for axes in panels[2:]:
        axes.set_yscale("log")
    panels[0].legend(fontsize=7, frameon=False)
    figure.suptitle(
        "VGG-A at a quarter of its width, CIFAR-10, Adam, four learning rates, one seed", fontsize=10
    )
    save(figure, path)


if __name__ == "__main__":
    *runs, stem = sys.argv[1:]
    found = [row for run in runs for row in lines(open_run(run))]
    found.sort(key=lambda row: (str(row["norm"]), float(str(row["lr"])), int(str(row["step"]))))
    with Path(f"{stem}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    picture(found, Path(f"{stem}.png"))
    for norm in ("none", "batch"):
        for key in ("train_loss", "val_accuracy", "change_low", "change_high", "beta"):
            steps, values = table(found, norm, key)
            later = values[:, len(steps) // 2 :]
            print(
                norm,
                key,
                "second half, over rates:",
                f"{later.min():.3g} to {later.max():.3g}, median {np.median(later):.3g}",
            )
