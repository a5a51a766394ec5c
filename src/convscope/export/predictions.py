"""How are predictions handed over?

As CSV with the header `Id,Label`, a row per image in the order given, and on
request a column of probabilities per class.  Knows nothing of models.

    N  images      K  classes
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from convscope.core import files


def write_predictions(
    path: Path,
    ids: Sequence[str | int],
    labels: Sequence[str | int],
    probabilities: np.ndarray | None = None,
    classes: Sequence[str] = (),
) -> None:
    """Write `Id,Label` and, where given, one column per class.

    Rows end with a line feed. A field with a comma, a quote or a line break is quoted as RFC 4180 says.
    A probability is written with as many digits as it takes to read the same number back. The bytes of a
    file name that is not UTF-8 are written as they are.

    Args:
        path: where; an existing file is replaced at once or not at all.
        ids: N file names or numbers.
        labels: N class names or numbers.
        probabilities: (N, K).
        classes: K names, the headings of the probabilities.

    Raises:
        ValueError: the lengths do not agree.
        NoSpace: the disk is full.
    """
    if len(ids) != len(labels):
        raise ValueError(f"there are {len(ids)} ids but {len(labels)} labels")
    columns = np.empty((len(ids), 0)) if probabilities is None else np.asarray(probabilities)
    wanted = (len(ids), 0 if probabilities is None else len(classes))
    if columns.shape != wanted:
        raise ValueError(f"probabilities must be of shape {wanted}, got {columns.shape}")
    rows: list[str] = []
    writer = csv.writer(_Lines(rows), lineterminator="\r\n")
    writer.writerow(["Id", "Label", *(classes if probabilities is not None else ())])
    for name, label, row in zip(ids, labels, columns, strict=True):
        writer.writerow([name, label, *map(str, row)])
    # Asked to end rows with a bare line feed, Python 3.11 does not quote a carriage return, and its own
    # reader then takes that for the end of the row. So the ends are replaced afterwards.
    text = "".join(row.removesuffix("\r\n") + "\n" for row in rows)
    files.write(path, text.encode("utf-8", "surrogateescape"))


class _Lines:
    """A file as far as `csv.writer` needs one: each row arrives in a single call."""

    def __init__(self, rows: list[str]) -> None:
        self.write = rows.append
