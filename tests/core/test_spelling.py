"""A name and its options as one word: by hand, and there and back again."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from convscope.core import spelling
from convscope.core.config import Choice, Recipe, choice, default_config, from_table
from convscope.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("crop", "crop", {}),
        ("crop:", "crop", {}),
        ("crop:padding=2", "crop", {"padding": 2}),
        ("crop:padding=2,mode=reflect", "crop", {"padding": 2, "mode": "reflect"}),
        ("a:x=0.5,y=1e-3,z=-1", "a", {"x": 0.5, "y": 0.001, "z": -1}),
        ("a:x=true,y=False,z=truth", "a", {"x": True, "y": False, "z": "truth"}),
        ("a:x=,y=1", "a", {"x": "", "y": 1}),
        ("a:at=[10,20.5],factor=0.1", "a", {"at": [10, 20.5], "factor": 0.1}),
        ("a:rows=[[0.9,0.1],[0.2,0.8]]", "a", {"rows": [[0.9, 0.1], [0.2, 0.8]]}),
        ('a:x="5",y="b,c=d"', "a", {"x": "5", "y": "b,c=d"}),
        ("lenet5:init=kaiming:fan=in,norm=batch", "lenet5", {"init": "kaiming:fan=in", "norm": "batch"}),
        ("a:file=C:\\b=c", "a", {"file": "C:\\b=c"}),
    ],
)
def test_by_hand(text: str, name: str, options: dict[str, Any]) -> None:
    found = spelling.read(text)
    assert found == (name, options)
    assert [type(value) for value in found[1].values()] == [type(value) for value in options.values()]


scalars = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
keys = st.from_regex(r"[a-z][a-z_0-9]*", fullmatch=True)


# Goes red when text is written bare that reads back as something else ("5", "true", '"x'): seen.
@given(name=keys, options=st.dictionaries(keys, values, max_size=4))
@example(name="a", options={"x": '"b', "y": '",'})
@example(name="a", options={"x": "[b", "y": "]"})
@example(name="a", options={"x": "TRUE", "y": "1e5", "z": " 7", "w": "NaN"})
@settings(max_examples=150, deadline=None, database=None)
def test_what_is_written_is_read_again(name: str, options: dict[str, Any]) -> None:
    again = spelling.read(spelling.write(name, options))
    assert again == (name, options)
    assert list(map(type, again[1].values())) == list(map(type, options.values()))


def test_what_needs_no_quotes_has_none() -> None:
    options = {"fan": "in", "std": 0.05, "fixed": True, "at": (10, 20)}
    assert spelling.write("a", options) == "a:fan=in,std=0.05,fixed=true,at=[10,20]"
    assert spelling.write("a", {}) == "a"


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("3", 3),
        ("3.0", 3.0),
        ("true", True),
        ("[1,2]", [1, 2]),
        ('"3"', "3"),
        ("null", "null"),
        ("{}", "{}"),
        ("a b", "a b"),
    ],
)
def test_a_single_value(text: str, plain: Any) -> None:
    found = spelling.plain(text)
    assert found == plain
    assert type(found) is type(plain)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("crop:4", "'crop:4' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE."),
        ("crop:4,p=1", "'crop:4,p=1' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE."),
        ("crop:p=1,4", "'crop:p=1,4' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE."),
        ("a:x=[1,2", "'a:x=[1,2' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE."),
        ("crop:p=1,p=2", "'crop:p=1,p=2' gives p twice: give each option once."),
    ],
)
def test_what_cannot_be_read(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        spelling.read(text)
    assert str(caught.value) == sentence


# One form everywhere --------------------------------------------------------------------------------------

CROP = Choice(name="crop", options={"padding": 2})


def test_a_choice_reads_and_writes_it() -> None:
    assert choice("crop:padding=2") == Choice.model_validate("crop:padding=2") == CROP
    assert CROP.spelled() == "crop:padding=2"
    assert Recipe(augment=("crop:padding=2",)).augment == (CROP,)  # type: ignore[arg-type]


def test_a_file_and_the_python_interface_read_it() -> None:
    found = from_table(
        {
            "model": "resnet20:shortcut=B",
            "recipe": {"augment": ["crop:padding=2", "flip"], "schedule": "step:every=3"},
        },
        "f",
    )
    assert found.model == Choice(name="resnet20", options={"shortcut": "B"})
    assert found.recipe.optimizer == Choice(name="muon")  # from the default recipe of the model
    assert found.recipe.augment == (CROP, Choice(name="flip"))
    assert found.recipe.schedule.options == {"every": 3}
    assert default_config("resnet20:shortcut=B").model == found.model


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        (
            {"model": "lenet5:norm"},
            "f: model: 'lenet5:norm' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE.",
        ),
        (
            {"recipe": {"augment": ["flip", "crop:2"]}},
            "f: recipe.augment.1: 'crop:2' is not understood: write a name, or NAME:KEY=VALUE,KEY=VALUE.",
        ),
        (
            {"recipe": {"schedule": "step:every=1,every=2"}},
            "f: recipe.schedule: 'step:every=1,every=2' gives every twice: give each option once.",
        ),
    ],
)
def test_a_file_that_cannot_be_read_says_where(table: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_table(table, "f")
    assert str(caught.value) == sentence
