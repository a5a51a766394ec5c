"""`convscope list`: what can be picked by name."""

from collections.abc import Sequence

from convscope.core import catalog

HELP = """\
What can be picked by name, one line each, with its source; or the options of one thing.

usage: convscope list [KIND [NAME]]

examples:
  convscope list                        the kinds
  convscope list models
  convscope list models resnet20        its options, their defaults and its default recipe
"""


def main(arguments: Sequence[str]) -> int:
    """Print kinds, items or options."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(HELP, end="")
    elif not arguments:
        for kind in catalog.kinds():
            print(f"{kind:<14} {', '.join(catalog.names(kind))}")
    elif len(arguments) == 1:
        _print_kind(arguments[0])
    else:
        _print_item(arguments[0], arguments[1])
    return 0


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
        print(f"  {option.name:<{width}}  {option.default!r:<12} {option.text}".rstrip())
    if not options:
        print("  no options")
    if item.recipe:
        print("  recipe: " + ", ".join(f"{key} {value}" for key, value in item.recipe.items()))
