"""Names, options and their types: what a user picks is looked up, checked and called."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import Field

from convscope.core import catalog
from convscope.core.catalog import Item, Off, Option
from convscope.core.errors import ConfigError, ConvscopeError, UnknownName


@dataclasses.dataclass(frozen=True)
class Shared:
    """Options that several things take."""

    width: Annotated[int, Field(ge=1)] = dataclasses.field(default=8, metadata={"text": "channels"})
    bias: bool = True


PLAIN = Shared()


def thing(
    supplied: int,
    size: int = 3,
    share: Annotated[float, Field(ge=0, le=1)] = 0.5,
    later: Annotated[float, Off(0.0)] = 0.0,
    shared: Shared = PLAIN,
) -> dict[str, Any]:
    """Return what it was given."""
    return {"supplied": supplied, "size": size, "share": share, "later": later, "shared": shared}


def untyped(wide=8):  # type: ignore[no-untyped-def]  # as a student writes it
    """Has an option that says nothing of its values."""


@pytest.fixture(autouse=True)
def things(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kind of its own, which is gone afterwards."""
    monkeypatch.setitem(sys.modules, "of_this_test", sys.modules[__name__])
    monkeypatch.setattr(catalog, "_CATALOG", {**catalog._CATALOG})
    catalog.register(Item("things", "thing", "of_this_test:thing", "a thing"))
    yield


def test_names_keep_the_order_of_the_catalog() -> None:
    assert catalog.names("optimizers")[:2] == ["sgd", "muon"]
    assert "things" in catalog.kinds() and catalog.kinds() == sorted(catalog.kinds())
    assert [item.name for item in catalog.items("things")] == ["thing"]


def test_options_are_the_keywords_with_a_default() -> None:
    found = catalog.options(catalog.find("things", "thing"))
    assert list(found) == ["size", "share", "later", "width", "bias"]
    assert found["width"].default == 8 and found["width"].text == "channels"
    assert found["size"] == Option("size", int, 3)


def test_an_option_that_was_added_later_is_off_at_its_value() -> None:
    found = catalog.options(catalog.find("things", "thing"))
    assert found["later"].is_off(0.0) and not found["later"].is_off(0.1)
    assert not found["share"].is_off(0.5)


def test_values_are_typed_and_the_rest_is_filled_in() -> None:
    resolved = catalog.resolve("things", "thing", {"size": "7", "share": 1})
    assert resolved == {"size": 7, "share": 1.0, "later": 0.0, "width": 8, "bias": True}
    assert type(resolved["size"]) is int and type(resolved["share"]) is float
    assert catalog.resolve("things", "thing", resolved) == resolved


def test_a_call_gets_options_shared_ones_and_what_is_supplied() -> None:
    assert catalog.call("things", "thing", {"share": 0.25, "width": 4}, supplied=1) == {
        "supplied": 1,
        "size": 3,
        "share": 0.25,
        "later": 0.0,
        "shared": Shared(4, True),
    }


@pytest.mark.parametrize(
    ("act", "kind", "sentence"),
    [
        (
            lambda: catalog.find("things", "think"),
            UnknownName,
            "No things is called 'think'. Did you mean 'thing'? Known: thing.",
        ),
        (
            lambda: catalog.find("optimizers", "sdg"),
            UnknownName,
            "No optimizer is called 'sdg'. Did you mean 'sgd'? Known: adam, adamw, muon, rmsprop, sgd.",
        ),
        (
            lambda: catalog.resolve("optimizers", "sgd", {"momentun": 0.9}),
            ConfigError,
            "The optimizer 'sgd' has no option 'momentun'. Did you mean 'momentum'? Options: momentum, nesterov.",
        ),
        (
            lambda: catalog.resolve("optimizers", "sgd", {"momentum": 1.5}),
            ConfigError,
            "The option 'momentum' of the optimizer 'sgd' cannot be 1.5: Input should be less than 1.",
        ),
        (
            lambda: catalog.resolve("schedules", "constant", {"every": 3}),
            ConfigError,
            "The schedule 'constant' has no option 'every'. Options: none.",
        ),
        (
            lambda: catalog.register(Item("things", "thing", "other:thing", "another")),
            ConvscopeError,
            "Two things are called 'thing': of_this_test:thing and other:thing.",
        ),
        (
            lambda: catalog.options(Item("things", "untyped", "of_this_test:untyped", "without types")),
            ConfigError,
            "of_this_test:untyped: the option 'wide' has no type, so nothing that is given for it can be read. Write "
            "one behind its name, such as `wide: int = 8`.",
        ),
    ],
)
def test_the_sentences(act: Any, kind: type[ConvscopeError], sentence: str) -> None:
    with pytest.raises(kind) as error:
        act()
    assert str(error.value) == sentence
    assert type(error.value) is kind


def test_the_same_thing_may_be_registered_again() -> None:
    """A notebook's cell is run more than once."""
    before = list(catalog.items("things"))
    catalog.register(Item("things", "thing", "of_this_test:thing", "a thing"))
    assert list(catalog.items("things")) == before


def test_an_unknown_kind_names_the_kinds() -> None:
    with pytest.raises(UnknownName, match=r"^No kind of thing is called 'modles'\. Did you mean 'models'"):
        catalog.names("modles")


def test_listing_names_imports_no_torch() -> None:
    code = "import sys; from convscope.core import catalog; catalog.names('models'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
