"""One line of CSV per finished run: what a table in results/ is made from.

python benchmarks/collect.py runs/*/seed-* > results/foundation.csv
"""

import csv
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from convscope.evaluate.runs import open_run

COLUMNS = [
    "run",
    "seed",
    "final_accuracy",
    "best_accuracy",
    "best_epoch",
    "images",
    "epochs",
    "seconds",
    "threads",
    "commit",
    "command",
]


def _reached(result: Mapping[str, Any]) -> dict[str, object]:
    if "final" not in result:  # --refit held nothing out
        return {}
    return {
        "final_accuracy": f"{result['final']['accuracy']:.4f}",
        "best_accuracy": f"{result['best']['val_accuracy']:.4f}",
        "best_epoch": f"{result['best']['epoch']:g}",
        "images": result["final"]["images"],
    }


def row(path: str) -> dict[str, object]:
    """What one run reached, on its validation split."""
    run = open_run(path)
    result, environment = run.result, run.environment
    if result is None or result["status"] != "finished":
        raise SystemExit(f"{path} has not finished")
    return {
        "run": Path(path).parent.name,
        "seed": run.config.seed,
        **_reached(result),
        "epochs": f"{result['epochs']:g}",
        "seconds": f"{result['seconds']:.1f}",
        "threads": environment["threads"],
        "commit": environment["commit"],
        "command": environment["command"],
    }


if __name__ == "__main__":
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(row(path) for path in sorted(sys.argv[1:]))
