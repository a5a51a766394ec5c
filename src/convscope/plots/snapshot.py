"""How are weights at a moment drawn?

The root mean square of each tensor, as one bar, in the order of the network.
"""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from convscope.diagnostics.snapshot import Snapshot

from . import style


def draw(result: Snapshot) -> Figure:
    """One bar a tensor."""
    parts = np.split(result.weights, np.cumsum(result.sizes)[:-1])
    sizes = [
        float(np.sqrt(np.mean(np.square(part, dtype=np.float64)))) if part.size else 0.0 for part in parts
    ]
    made = style.figure(6.0, 1.2 + 0.14 * len(parts))
    axes = style.plain(made.subplots())
    axes.barh(range(len(parts)), sizes, color=style.COLOURS[0])
    axes.set_yticks(range(len(parts)), result.parameters.tolist(), fontsize=6)
    axes.set_ylim(len(parts) - 0.4, -0.6)
    axes.set_xlabel("root mean square of the weights")
    axes.set_title(f"{result.name}: {len(result.weights):,} parameters", fontsize=9)
    return made
