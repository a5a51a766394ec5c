"""What can the numbers printed in the source documents bear?

Only what was printed is computed with.  Two accuracies of single runs are
compared by the error of counting alone, z = difference / its standard error;
differences between seeds come on top, so |z| below 3 shows nothing.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

from . import Finding

SEEN = 3.0
"""|z| from which on a difference of two single runs is called one."""
VALIDATION, TEST = 5_000, 10_000
"""Images behind an accuracy of S1, and of S2 and S4."""


def published() -> Iterator[Finding]:
    """Single runs that show something, single runs that do not, and tables that contradict each other."""
    yield _shown("Augmentation raises the accuracy of SimpleNN", "S1.35-36", 0.6570, 0.7286, VALIDATION)
    yield _shown("Batch norm raises it at a learning rate of 0.1", "S1.39-40", 0.5218, 0.7012, VALIDATION)
    yield _shown("Augmentation raises that of ResNet-18", "S2.9, S2.11", 0.819, 0.915, TEST)
    for words, source, before, after in (
        ("Swish is better than ReLU", "S1.42", 0.7400, 0.7526),
        ("Batch norm is better at a learning rate of 0.01", "S1.38", 0.7286, 0.7400),
        ("A decay every 15 epochs is better than none", "S1.30", 0.6570, 0.6668),
        ("An L2 penalty of 1e-4 is better than none", "S1.45", 0.7352, 0.7400),
    ):
        yield _shown(words, f"{source}, E1.12", before, after, VALIDATION, true=False)
    yield _one_rate()
    yield _two_numbers()
    yield _better_initialisation()
    yield _what_noise_leaves()


def z(before: float, after: float, images: int) -> float:
    """The difference of two proportions of so many images each, in its standard errors."""
    mean = (before + after) / 2
    return (after - before) / math.sqrt(2 * mean * (1 - mean) / images)


def _shown(
    words: str, source: str, before: float, after: float, images: int, *, true: bool = True
) -> Finding:
    found = z(before, after, images)
    return Finding(
        f"{words}: one run each shows it.",
        source,
        f"{before:.4f} and {after:.4f} of {images:,} images differ by {found:.1f} standard errors of counting alone.",
        found > SEEN,
        true=true,
    )


def _one_rate() -> Finding:
    """The row 1e-4 of the L2 table, beside both rows of the table of learning rates with that penalty."""
    row, at = 0.7400, {0.1: 0.7012, 0.01: 0.7400}
    return Finding(
        "The table of L2 penalties was made with a learning rate of 0.1.",
        "S1.45 as printed, E1.4",
        f"Its row 1e-4 says {row:.4f}; with that penalty the table of learning rates has {at[0.1]:.4f} at 0.1, "
        f"{z(at[0.1], row, VALIDATION):.1f} standard errors away, and {at[0.01]:.4f} at 0.01.",
        z(at[0.1], row, VALIDATION) < SEEN,
        true=False,
    )


def _two_numbers() -> Finding:
    text, table = 0.926, 0.925
    return Finding(
        "The text and the table of the course project give one accuracy for the same model.",
        "S2.12, S2.22, E2.5",
        f"The text has {text} and the table {table}: {round((text - table) * TEST)} of {TEST:,} images.",
        text == table,
        true=False,
    )


def _better_initialisation() -> Finding:
    """Best test accuracies of S4.10 and S4.11; rates and decays differ too, so it is not the initialisation alone."""
    uniform, glorot = 0.9879833459854126, 0.9818833470344543
    return Finding(
        "Of the two settings with printed numbers, Glorot's is the better one.",
        "S4.10-11 as read there, E4.6",
        f"The uniform one reaches {uniform:.5f} and Glorot's {glorot:.5f}, {z(glorot, uniform, TEST):.1f} standard errors "
        "below.",
        glorot > uniform,
        true=False,
    )


def _what_noise_leaves() -> Finding:
    noise = Fraction(8, 10)
    kept, other = 1 - noise, noise / 9
    return Finding(
        "With label noise of 0.8 the right class is still the most frequent label, by a factor of 2.25.",
        "S4.27, E4.7",
        f"It keeps {float(kept):.3f} of the labels and each other class gets {float(other):.4f}: {kept} against {other}.",
        kept / other == Fraction(9, 4),
    )
