"""`convscope list`: what can be picked by name."""

from collections.abc import Sequence

from pydantic.fields import FieldInfo

from convscope.core import catalog
from convscope.core.config import DataConfig, Recipe

HELP = """\
What can be picked by name, one line each, with its source; or the options of one thing.

usage: convscope list [KIND [NAME] | options]

examples:
  convscope list                        the kinds
  convscope list models
  convscope list models resnet20        its options, their defaults and its default recipe
  convscope list options                what a recipe and the data can be told besides, as flags of `train`
"""
_OPTIONS = "options"


def main(arguments: Sequence[str]) -> int:
    """Print kinds, items or options."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(HELP, end="")
    elif not arguments:
        for kind in catalog.kinds():
            print(f"{kind:<14} {', '.join(catalog.names(kind))}")
        print(f"{_OPTIONS:<14} {', '.join(name for name, _ in _fields())}")
    elif list(arguments) == [_OPTIONS]:
        _print_fields()
    elif len(arguments) == 1:
        _print_kind(arguments[0])
    else:
        _print_item(arguments[0], arguments[1])
    return 0


def _fields() -> list[tuple[str, FieldInfo]]:
    """The fields of a recipe and of the data as `train` names them."""
    fields = {**Recipe.model_fields, **DataConfig.model_fields}
    hidden = ("source", "options")  # no flags: the source is a name in front, its options are --data.KEY
    return [(name.replace("_", "-"), field) for name, field in fields.items() if name not in hidden]


def _print_fields() -> None:
    width = max(len(name) for name, _ in _fields())
    for name, field in _fields():
        (source,) = (mark.text for mark in field.metadata if isinstance(mark, catalog.Source))
        print(f"{name:<{width}}  {field.description} {source}.")


def _print_kind(kind: str) -> None:
    width = max(len(name) for name in catalog.names(kind))
    for item in catalog.items(kind):
        print(f"{item.name:<{width}}  {item.line}. {item.source}.")


def _print_item(kind: str, name: str) -> None:
    item = catalog.find(kind, name)
    print(f"{name}: {item.line}. {item.source}.")
    options = catalog.options(item)
    width = max((len(option) for option in options), default=0)
    for option in options.values():
        allowed = catalog.literals(option.type)
        choices = f" ({', '.join(map(str, allowed))})" if allowed else ""
        print(f"  {option.name:<{width}}  {option.default!r:<12} {option.text}{choices}")
    if not options:
        print("  no options")
    if item.recipe:
        print("  recipe: " + ", ".join(f"{key} {value}" for key, value in item.recipe.items()))
