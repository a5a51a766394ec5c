"""Which values may a search try for which key?

    lr=0.001..1:log        a range, on a logarithmic scale
    model.dropout=0..0.5   a range; of whole numbers if both ends are written as such
    batch_size=32,64,128   choices
    optimizer=["sgd:momentum=0.9,nesterov=true","adam"]     choices in which there are commas

Keys are what an arm of a study can change (design.py).  What changes which
images are validated on is refused, for accuracies on other images cannot be
compared.  Knows nothing of how values are proposed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from convscope.core import spelling
from convscope.core.config import DataConfig, Recipe
from convscope.core.errors import ConfigError, nearest

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(.*))?")
_DATA = ("data.size", "data.fit", "data.label_noise")
"""All of the data that can be searched: the validation images stay the same."""
_FORMS = "KEY=LOW..HIGH, KEY=LOW..HIGH:log, or KEY=A,B,C"
_DIGITS = 4
"""Of a number that is tried: more decide nothing, and nobody can read them."""


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included."""

    key: str
    low: float
    high: float
    log: bool = False
    """Evenly spread over the orders of magnitude."""

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are tried."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def examples(self) -> tuple[Any, ...]:
        """What stands for all values when they are checked."""
        return (self.low, self.high)

    def value(self, drawn: Any) -> Any:
        """What is tried for a number that was drawn: four digits of it, and still between the ends."""
        if self.whole:
            return int(drawn)
        return min(max(float(f"{drawn:.{_DIGITS}g}"), self.low), self.high)

    def __str__(self) -> str:
        return f"{self.key}={self.low}..{self.high}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """Values without an order."""

    key: str
    values: tuple[Any, ...]

    @property
    def examples(self) -> tuple[Any, ...]:
        """All."""
        return self.values

    @property
    def words(self) -> tuple[str, ...]:
        """The values as text, as they are drawn and recorded."""
        return tuple(map(word, self.values))

    def value(self, drawn: Any) -> Any:
        """The value that a word stands for."""
        return self.values[self.words.index(drawn)]

    def __str__(self) -> str:
        plain = all(isinstance(value, str | int | float) and "," not in str(value) for value in self.values)
        return f"{self.key}={','.join(self.words) if plain else json.dumps(self.values)}"


Axis = Range | Choices


def word(value: Any) -> str:
    """A value as a word for tables: text as it is, anything else as JSON; 0.001 and 64 as they are typed."""
    return value if isinstance(value, str) else json.dumps(value)


def default(recipe: Recipe) -> tuple[Axis, ...]:
    """What is searched if nothing else is asked for: the learning rate around its default, and weight decay."""
    low, high = (float(f"{recipe.lr * factor:.{_DIGITS}g}") for factor in (1 / 30, 30))
    return Range("lr", low, high, log=True), Range("weight_decay", 1e-5, 1e-2, log=True)


def read(texts: Sequence[str]) -> tuple[Axis, ...]:
    """The space that is spelled by these words.

    Raises:
        ConfigError: a word that is not of the form; a key twice; an empty range; a logarithm of zero; one choice.
    """
    axes = tuple(map(axis, texts))
    keys = [one.key for one in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise ConfigError(f"--space gives {key} twice: give each key once.")
    return axes


def axis(text: str) -> Axis:
    """`lr=0.001..1:log` -> a range; `batch_size=32,64` -> choices.

    Raises:
        ConfigError: see `read`.
    """
    key, equals, values = text.partition("=")
    if not (key and equals and values):
        raise ConfigError(f"--space does not understand {text!r}: write {_FORMS}.")
    key = key.removeprefix("recipe.")
    _refuse_other_images(key)
    if found := _RANGE.fullmatch(values):
        return _range(key, *found.groups())
    listed = spelling.plain(values)
    if not isinstance(listed, list):
        listed = [spelling.plain(part) for part in values.split(",")]
    return _choices(key, listed, text)


def _range(key: str, low: str, high: str, scale: str | None) -> Range:
    found = Range(key, _number(low), _number(high), log=scale == "log")
    if scale not in (None, "log"):
        raise ConfigError(
            f"--space {key}: there is no scale {scale!r}.{nearest(str(scale), ['log'], 0.3)} "
            f"Write {key}={low}..{high}:log, or {key}={low}..{high} for an even one."
        )
    if not math.isfinite(found.high - found.low):
        raise ConfigError(f"--space {key}: {low}..{high} has no finite width.")
    if found.low >= found.high:
        raise ConfigError(f"--space {key}: the range {low}..{high} is empty: the lower end stands first.")
    if found.log and found.low <= 0:
        raise ConfigError(
            f"--space {key}: a logarithmic scale has no {low}. Begin above zero, or leave :log out."
        )
    return found


def _number(text: str) -> float:
    return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)


def _choices(key: str, values: Sequence[Any], text: str) -> Choices:
    found = Choices(key, tuple(values))
    if len(values) < 2:
        hint = f" A range is written {key}=0.001..1, with numbers as its ends." if ".." in text else ""
        raise ConfigError(
            f"--space {key}: {text.partition('=')[2]!r} is one choice, so there is nothing to search.{hint} "
            f"To fix the value, write --set {text}."
        )
    for one in found.words:
        if not one:
            raise ConfigError(f"--space {key}: a choice in {text!r} is empty.")
        if found.words.count(one) > 1:
            raise ConfigError(f"--space {key}: {one} is given twice.")
    return found


def _refuse_other_images(key: str) -> None:
    """Raises: ConfigError: values of this key are scored on different images."""
    if (key == "data" or key.startswith("data.")) and key not in _DATA:
        meant = "" if key == "data" or key[5:] in DataConfig.model_fields else nearest(key, _DATA, 0.75)
        raise ConfigError(
            f"--space: {key!r} cannot be searched.{meant} Of the data, {', '.join(_DATA[:-1])} and "
            f"{_DATA[-1]} can be; other fields decide which images are validated on, and accuracies on different "
            f"images cannot be compared."
        )
