"""How is curvature drawn?

The largest eigenvalues and the smallest one found as bars; the trace in words.
"""

from __future__ import annotations

from matplotlib.figure import Figure

from convscope.diagnostics.curvature import Curvature
from convscope.diagnostics.weightspace import NORMS

from . import style


def draw(result: Curvature) -> Figure:
    """One bar an eigenvalue, with its residual as whisker."""
    values = [*result.eigenvalues.tolist(), result.smallest]
    made = style.figure(1.8 + 0.8 * len(values), 3.4)
    axes = style.plain(made.subplots())
    colours = [style.COLOURS[0]] * len(result.eigenvalues) + [style.COLOURS[1]]
    errors = [*result.residuals.tolist(), 0.0]
    axes.bar(range(len(values)), values, color=colours, yerr=errors, ecolor="black", capsize=3)
    axes.axhline(0, color="black", linewidth=0.8)
    for place, value in enumerate(values):
        axes.annotate(
            f"{value:.3g}",
            (place, max(value, 0.0)),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    names = [f"{i + 1}" for i in range(len(result.eigenvalues))]
    axes.set_xticks(range(len(values)), [*names, "smallest\nfound"])
    axes.set_xlabel("eigenvalue of the Hessian")
    axes.set_ylabel("value")
    made.suptitle(
        f"{result.name}, {result.split}, n = {result.images}\ntrace {result.trace:.4g} (standard error "
        f"{result.trace_error:.2g})\n{NORMS[result.norm]}",
        fontsize=9,
    )
    return made
