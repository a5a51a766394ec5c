"""Every line of the catalog is compared with the code, and the code with the catalog."""

import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from torch import nn

import convscope.models
from convscope.core import catalog
from convscope.core.catalog import Item

# A kind joins this list when its modules are there.
KINDS = ("models", "activations", "inits", "optimizers", "schedules", "losses", "noises")
ITEMS = [item for kind in KINDS for item in catalog.items(kind)]


def label(item: Item) -> str:
    return f"{item.kind}/{item.name}"


@pytest.fixture(params=ITEMS, ids=label)
def item(request: pytest.FixtureRequest) -> Item:
    return request.param


def test_the_target_is_a_function(item: Item) -> None:
    function = item.load()
    assert inspect.isfunction(function)
    # The function itself, not one that another module happened to import.
    assert f"{function.__module__}:{function.__name__}" == item.target


def test_its_docstring_begins_with_a_sentence(item: Item) -> None:
    first = (item.load().__doc__ or "").partition("\n\n")[0].strip()
    assert first
    assert first.endswith(".")


def test_every_parameter_has_a_type(item: Item) -> None:
    function = item.load()
    hints = typing.get_type_hints(function, include_extras=True)
    assert set(inspect.signature(function).parameters) <= set(hints)
    assert "return" in hints


def test_every_option_has_a_default_that_its_own_type_allows(item: Item) -> None:
    options = catalog.options(item)
    defaults = {name: option.default for name, option in options.items()}
    assert catalog.resolve(item.kind, item.name, defaults) == defaults


def test_the_line_is_one_sentence_and_the_source_is_given(item: Item) -> None:
    assert item.line and "\n" not in item.line and not item.line.endswith(".")
    assert len(item.line) <= 90
    assert item.source or item.kind == "models"


def functions(package: Any) -> Iterator[Callable[..., Any]]:
    """The public functions that a package's modules define, at the first level."""
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ == module.__name__ and not name.startswith("_"):
                yield function


def targets(*kinds: str) -> set[str]:
    return {item.target for kind in kinds for item in catalog.items(kind)}


def is_factory(function: Callable[..., Any]) -> bool:
    return {"classes", "channels", "size"} <= set(inspect.signature(function).parameters)


def is_activation(function: Callable[..., Any]) -> bool:
    signature = inspect.signature(function)
    return not signature.parameters and signature.return_annotation is nn.Module


def is_init(function: Callable[..., Any]) -> bool:
    signature = inspect.signature(function)
    required = [p.name for p in signature.parameters.values() if p.default is inspect.Parameter.empty]
    return required == ["module"] and signature.return_annotation is None


# `summarise` and the `make_...` helpers are none of the three, and so are not meant for the catalog.
@pytest.mark.parametrize(
    ("kind", "belongs"), [("models", is_factory), ("activations", is_activation), ("inits", is_init)]
)
def test_every_public_factory_is_in_the_catalog(
    kind: str, belongs: Callable[[Callable[..., Any]], bool]
) -> None:
    written = {f"{f.__module__}:{f.__name__}" for f in functions(convscope.models) if belongs(f)}
    assert written == targets(kind)


@pytest.mark.parametrize("kind", catalog.kinds())
def test_every_option_is_explained(kind: str) -> None:
    """By its docstring, under `Args:`, or by the text of a shared field."""
    unexplained = [
        (item.name, name)
        for item in catalog.items(kind)
        for name, option in catalog.options(item).items()
        if not option.text
    ]
    assert unexplained == []
