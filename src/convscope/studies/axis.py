"""Where does each arm of a sweep stand?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from convscope.core import config as configs
from convscope.core.errors import ConfigError

if TYPE_CHECKING:
    from .design import Arm, Study


@dataclass(frozen=True)
class Swept:
    """The axis of a study in numbers."""

    factor: str
    """The factor that decides it; empty where the study is no factorial."""
    values: dict[str, float]
    """Arm -> value."""
    is_log: bool
    """Whether its values span powers: of a change, not of a factor whose levels are numbers."""


def swept(study: Study) -> Swept:
    """Where each arm stands on the study's axis: a factor of numbers, or a change that is one in every arm.

    Raises:
        ConfigError: neither, or it goes with no factor of a factorial.
    """
    if study.axis in study.factors:
        values = {arm.name: _number(study, arm, arm.levels[study.axis]) for arm in study.arms}
        return Swept(study.axis, values, is_log=False)
    values = {arm.name: _number(study, arm, _value(study, arm)) for arm in study.arms}
    return Swept(_factor_of(study, values), values, is_log=True)


def _value(study: Study, arm: Arm) -> object:
    """What the axis is in an arm, given there, in the study, or as the model's or recipe's default."""
    config = configs.spelled_out(study.config(arm, 0))
    part, dot, name = study.axis.rpartition(".")
    if part == "model":
        return config.model.options.get(name)
    return getattr(config.data if part == "data" else config.recipe, name, None)


def _number(study: Study, arm: Arm, value: object) -> float:
    try:
        found = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        found = math.nan
    if math.isfinite(found):
        return found
    raise ConfigError(
        f"study {study.name}: the axis {study.axis} is {value!r} in arm {arm.name!r}. An axis is a factor whose levels "
        f"are numbers, or a change that is one in every arm: lr, weight_decay, model.width."
    )


def _factor_of(study: Study, values: dict[str, float]) -> str:
    """The factor whose every level has its own value of the axis."""
    for factor, levels in study.factors.items():
        pairs = {(arm.levels[factor], values[arm.name]) for arm in study.arms}
        if len(pairs) == len(levels) == len(set(values.values())):
            return factor
    if not study.factors:
        return ""
    raise ConfigError(
        f"study {study.name}: the axis {study.axis} goes with none of the factors {', '.join(study.factors)}, so its "
        f"arms are no lines. Take an axis that one factor decides, or none."
    )
