"""Between which bounds does a proportion or a mean lie?

Counts and numbers in, (low, high) out.  Knows nothing of runs.
"""

import math
from collections.abc import Sequence


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a proportion that stays inside [0, 1] and has honest coverage near its ends.

    Args:
        successes: how often it happened, 0..trials.
        trials: out of how many; at least 1.
        confidence: in (0, 1).

    Raises:
        ValueError: counts that cannot be.

    Reference:
        Wilson (1927), Probable Inference, the Law of Succession, and Statistical Inference.
    """
    if not (trials >= 1 and 0 <= successes <= trials):
        raise ValueError(f"{successes} successes in {trials} trials cannot be")
    from statistics import NormalDist

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # The ends are exact there; rounding would leave 3e-17 as the lower bound of 0 of 5.
    low = (centre - spread) / scale if successes > 0 else 0.0
    high = (centre + spread) / scale if successes < trials else 1.0
    return low, high


def student(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the mean of independent, roughly normal values, e.g. one accuracy per seed.

    Raises:
        ValueError: fewer than two values.

    Reference:
        Student (1908), The Probable Error of a Mean.
    """
    count = len(values)
    if count < 2:
        raise ValueError(f"an interval of a mean needs at least 2 values, got {count}")
    from scipy.stats import t

    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    reach = float(t.ppf(0.5 + confidence / 2, count - 1)) * math.sqrt(variance / count)
    return mean - reach, mean + reach
