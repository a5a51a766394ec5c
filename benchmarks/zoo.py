"""Every network for small images, narrow, for one epoch of CIFAR-10: what does accuracy cost?

python benchmarks/zoo.py results/zoo.csv                    a line per network, on one core; takes an hour
python benchmarks/zoo.py results/zoo.csv results/zoo.svg    the picture, from the lines

Networks whose line is there are not trained again.  One seed each: the picture says what a network costs and
about what it gives, not which is better.
"""

import csv
import sys
from pathlib import Path

from convscope import build, train
from convscope.core.config import choice
from convscope.models import summarise

# As published where that costs up to about 60 million multiply-adds per image, else narrower or with fewer blocks.
NETWORKS = (
    "simplenn",
    "lenet5",
    "alexnet-cifar:width=0.25",
    "vgg11-cifar:width=0.25",
    "vgg13-cifar:width=0.25",
    "vgg16-cifar:width=0.25",
    "nin:width=0.25",
    "googlenet-cifar:width=0.125",
    "resnet20:width=8",
    "resnet32:width=8",
    "resnet44:width=8",
    "resnet56:width=8",
    "resnet110:width=8",
    "se-resnet20:width=8",
    "se-resnet110:width=8",
    "resnet18-cifar:width=8",
    "resnet34-cifar:width=8",
    "resnet50-cifar:width=8",
    "resnet101-cifar:width=8",
    "resnet152-cifar:width=8",
    "preactresnet18:width=8",
    "resnet18-pooling:width=8",
    "wideresnet28-10:width=2,blocks=1",
    "resnext29:width=4,out=32",
)
COLUMNS = ("network", "parameters", "macs", "correct", "images", "accuracy", "seconds", "commit", "command")


def line(network: str) -> dict[str, object]:
    """Train one network for an epoch with its own recipe, and say what it cost and reached."""
    run = train(network, "cifar10", epochs=1, progressive=0, threads=1)
    assert run.result is not None
    chosen = choice(network)
    summary = summarise(build(chosen.name, classes=10, **chosen.options), (3, 32, 32))
    final = run.result["final"]
    return {
        "network": network,
        "parameters": summary.parameters,
        "macs": summary.macs,
        "correct": final["correct"],
        "images": final["images"],
        "accuracy": f"{final['accuracy']:.4f}",
        "seconds": f"{run.result['seconds']:.0f}",
        "commit": run.environment["commit"],
        "command": f"convscope train {network} cifar10 --epochs 1 --progressive 0 --threads 1",
    }


def read(path: Path) -> list[dict[str, str]]:
    """The lines so far."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def measure(path: Path) -> None:
    """Add the lines that are missing, each as soon as it is there."""
    known = {row["network"] for row in read(path)}
    for network in NETWORKS:
        if network not in known:
            row = line(network)
            with path.open("a", newline="") as file:
                writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
                if not known:
                    writer.writeheader()
                writer.writerow(row)
            known.add(network)
            print(row, flush=True)


def picture(rows: list[dict[str, str]], path: Path) -> None:
    """Accuracy by multiply-adds, a point per network, as large as its number of parameters."""
    from convscope.plots import save, style

    figure = style.figure(8.0, 5.0)
    axes = style.plain(figure.add_subplot())
    axes.set_xscale("log")
    axes.set_xlim(0.5, 130)
    axes.set_ylim(min(float(row["accuracy"]) for row in rows) * 100 - 2, 68)
    axes.set_xticks([1, 3, 10, 30, 100], ["1", "3", "10", "30", "100"])
    axes.minorticks_off()
    taken: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: -float(row["accuracy"])):
        macs, accuracy = int(row["macs"]) / 1e6, 100 * float(row["accuracy"])
        axes.scatter(macs, accuracy, s=int(row["parameters"]) / 12_000, color=style.COLOURS[0], alpha=0.6)
        # A label moves down until it is clear of those above it.
        place = 3.0
        x, y = axes.transData.transform((macs, accuracy)) * 72 / figure.dpi
        while any(abs(x - other_x) < 75 and abs(y + place - other_y) < 8 for other_x, other_y in taken):
            place -= 1
        taken.append((x, y + place))
        name, at = row["network"].partition(":")[0], (macs, accuracy)
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": "grey"} if place < -4 else None
        axes.annotate(name, at, xytext=(6, place), textcoords="offset points", fontsize=6.5, arrowprops=line)
    axes.set_xlabel("million multiply-adds per image (area: parameters)")
    axes.set_ylabel("validation accuracy, %")
    axes.set_title("CIFAR-10 after one epoch, narrow networks, one seed each", fontsize=9)
    save(figure, path)


if __name__ == "__main__":
    lines, *drawn = map(Path, sys.argv[1:])
    if drawn:
        picture(read(lines), drawn[0])
    else:
        measure(lines)
