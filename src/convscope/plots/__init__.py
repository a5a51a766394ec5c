"""How does a result become a picture?

One file per result, named as its diagnostic, with one function
`draw(result) -> Figure`; `topics` has the figures of `convscope verify`.
Nothing else imports matplotlib, and nobody needs a screen: figures are drawn
by Agg.
"""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convscope.core import files

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(name: str, result: Any) -> Figure:
    """The figure of a diagnostic's result."""
    figure: Figure = importlib.import_module(f"convscope.plots.{name.replace('-', '_')}").draw(result)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure; the suffix (.png, .svg, .pdf) says as what."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix.lstrip("."), metadata=_SILENT.get(path.suffix))
    files.write(path, buffer.getvalue())


# The same figure is the same file: no date, no version.
_SILENT = {
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None},
}
