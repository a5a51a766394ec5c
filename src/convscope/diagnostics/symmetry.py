"""Is one class taken for another as often as the other for it?

Statistics of a table of counts; they know nothing of networks.

    K  classes      n_ij  images of class i taken for j
"""

import numpy as np

DRAWS = 1999
"""Tables drawn for a p: none below 1 / 2000 can come out."""


def bowker(counts: np.ndarray) -> tuple[float, int, float]:
    """Bowker's statistic of a (K, K) table, its degrees of freedom, and p by chi-square; nan without errors."""
    from scipy.stats import chi2

    differences, totals = _halves(counts)
    if not len(totals):
        return float("nan"), 0, float("nan")
    statistic = float((differences**2 / totals).sum())
    return statistic, len(totals), float(chi2.sf(statistic, len(totals)))


def reverse_correlation(counts: np.ndarray) -> float:
    """Spearman's rank correlation of n_ij with n_ji over all ordered pairs i != j; S4.24.

    nan where it says nothing: for two classes it is -1 by construction, and equal counts have no ranks.
    """
    from scipy.stats import spearmanr

    off = ~np.eye(len(counts), dtype=bool)
    here, back = counts[off], counts.T[off]
    if len(counts) < 3 or len(np.unique(here)) == 1:
        return float("nan")
    return float(spearmanr(here, back).statistic)


def _halves(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """n_ij - n_ji and n_ij + n_ji of the pairs i < j with errors."""
    upper = np.triu_indices(len(counts), 1)
    here, back = counts[upper], counts.T[upper]
    met = here + back > 0
    return (here - back)[met], (here + back)[met]


def p_drawn(counts: np.ndarray, rng: np.random.Generator) -> float:
    """The share of tables at least as lopsided, where each error of a pair falls on either side by a fair coin."""
    statistic, pairs, _ = bowker(counts)
    if not pairs:
        return float("nan")
    _, totals = _halves(counts)
    reached = 1
    for _ in range(DRAWS):
        drawn = ((2 * rng.binomial(totals, 0.5) - totals) ** 2 / totals).sum()
        reached += bool(drawn >= statistic * (1 - 1e-12))  # ties must survive rounding
    return reached / (DRAWS + 1)
