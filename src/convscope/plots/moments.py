"""What enters and leaves the layers: by depth, or over training?"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from convscope.core.errors import ConfigError
from convscope.diagnostics.moments import Moments

from . import style


def draw(result: Moments) -> Figure:
    """Mean with the spread of the channels' means, and variance, by depth: of batch norms, else of all layers."""
    norms = [i for i, norm in enumerate(result.batch_norm) if norm]
    which = norms or list(range(len(result.layers)))
    places = range(len(which))
    figure, axes = style.panels(1, 2, width=4.6, height=3.4)
    sides = [("input", style.COLOURS[0], "o", -0.12), ("output", style.COLOURS[1], "s", 0.12)][
        : 2 if norms else 1
    ]
    for side, colour, mark, aside in sides:
        mean, spread = getattr(result, f"{side}_mean"), getattr(result, f"{side}_spread")
        # The spread is a root mean square; around the mean it is what is left of it.
        reach = [max(0.0, spread[i] ** 2 - mean[i] ** 2) ** 0.5 for i in which]
        across = [place + aside for place in places]
        axes[0].errorbar(
            across,
            [mean[i] for i in which],
            reach,
            fmt=mark,
            color=colour,
            markersize=3,
            elinewidth=0.8,
            label=side,
        )
        variance = getattr(result, f"{side}_variance")
        axes[1].plot(places, [variance[i] for i in which], f"{mark}-", color=colour, markersize=3, label=side)
    axes[0].set_ylabel("mean, and deviation of the channels' means", fontsize=8)
    axes[1].set_ylabel("variance, mean over the channels", fontsize=8)
    axes[1].set_yscale("log")
    for place in axes:
        style.names_below(style.plain(place), [result.layers[i] for i in which])
        place.tick_params(axis="y", which="both", labelsize=7)
        place.legend(fontsize=7, frameon=False)
    what = "batch norms" if norms else "layers with weights"
    figure.suptitle(
        f"{result.subject}: {what}, {result.images} images of {result.split}, {result.norms} statistics",
        fontsize=9,
    )
    return figure


def over_training(records: Sequence[Mapping[str, Any]], layers: Sequence[str] = ()) -> Figure:
    """Moments of chosen layers against the step.

    Args:
        records: lines of inspections.jsonl; only those of `moments` are drawn.
        layers: by name; by default the first, the middle and the last.

    Raises:
        ConfigError: no such lines, or no such layer.
    """
    found = [record for record in records if record["diagnostic"] == "moments"]
    if not found:
        raise ConfigError("No moments were recorded over training: attach them with --inspect moments.")
    known = [key.removesuffix(".input_mean") for key in found[0] if key.endswith(".input_mean")]
    chosen = list(layers) or list(dict.fromkeys([known[0], known[len(known) // 2], known[-1]]))
    for name in chosen:
        if name not in known:
            raise ConfigError(f"No moments of a layer {name!r} were recorded. Recorded: {', '.join(known)}.")
    figure, axes = style.panels(1, 2, width=4.4, height=3.2)
    for place, what in zip(axes, ("mean", "variance"), strict=True):
        for i, name in enumerate(chosen):
            _series(place, found, name, what, style.COLOURS[i % len(style.COLOURS)])
        style.plain(place).set_xlabel("step", fontsize=8)
        place.set_ylabel(f"{what}, mean over the channels", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=6, frameon=False)
    figure.suptitle("What enters the layers over training", fontsize=9)
    return figure


def _series(axes: Axes, records: Sequence[Mapping[str, Any]], layer: str, what: str, colour: str) -> None:
    steps = [record["step"] for record in records]
    for side, line in (("input", "-"), ("output", "--")):
        key = f"{layer}.{side}_{what}"
        if key in records[0]:
            values = [float(record[key]) for record in records]
            axes.plot(steps, values, line, color=colour, linewidth=1.2, label=f"{layer}, {side}")
