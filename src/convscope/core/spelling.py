"""How are a name and its options written as one word?

    crop:padding=2,mode=reflect        kaiming:fan=in        milestones:at=[30,40]

The command line, TOML files and the Python interface read the same form.  A
value is a number, a truth value, a list in brackets, or text; text that would
be read as something else stands in double quotes, as in JSON.  Knows nothing
of the catalog: whether there is such a name or option is asked later.
"""

import json
from collections.abc import Mapping
from typing import Any

from .errors import ConfigError


def read(text: str) -> tuple[str, dict[str, Any]]:
    """`crop:padding=2` -> ("crop", {"padding": 2}).

    Raises:
        ConfigError: an option without a value, or one that is given twice.
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {}
    while rest := rest.lstrip(","):
        key, equals, rest = rest.partition("=")
        if not equals or "," in key:
            raise ConfigError(f"{text!r} is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE.")
        if key in options:
            raise ConfigError(f"{text!r} gives {key} twice: give each option once.")
        options[key], rest = _first_value(rest)
    return name, options


def write(name: str, options: Mapping[str, Any]) -> str:
    """The inverse of `read`."""
    pairs = ",".join(f"{key}={_written(value)}" for key, value in options.items())
    return f"{name}:{pairs}" if pairs else name


def plain(text: str) -> Any:
    """A number, truth value, list or quoted text if the text is one, else the text itself."""
    try:
        value = json.loads(text.lower() if text.lower() in ("true", "false") else text)
    except ValueError:
        return text
    return value if isinstance(value, int | float | bool | list | str) else text


def _first_value(text: str) -> tuple[Any, str]:
    """The value a text begins with, and what follows it; a comma in brackets or quotes ends nothing."""
    if text.startswith(("[", '"')):
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            end = len(text) + 1
        if end == len(text) or text[end : end + 1] == ",":
            return value, text[end:]
    first, _, rest = text.partition(",")
    return plain(first), rest


def _written(value: Any) -> str:
    if isinstance(value, str) and plain(value) == value and "," not in value and value[:1] not in ("[", '"'):
        return value
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
