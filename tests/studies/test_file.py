"""A study file gives the study it says, and whatever is wrong in it is told with file and line."""

import json
import os
import sys
from pathlib import Path

import pytest

from convscope.core import catalog
from convscope.core.errors import ConvscopeError
from convscope.studies.design import Arm, Comparison, Confused, Curve, Published, Study
from convscope.studies.file import line_of, read
from convscope.studies.measures import HIGHER_IS_BETTER

GOOD = """\
# Lines are counted by hand below.
question = "Does batch norm help?"
expectation = "Yes."
model = "simplenn:dropout=0.1"
data = "digits"
baseline = "without"
measure = "best_accuracy"
also = ["gap"]
seeds = 3

[recipe]
epochs = 2
lr = 0.01

[[arm]]
name = "without"
published = { value = 0.7286, source = "S1.38" }
tries = { lr = [0.01, 0.1] }

[[arm]]
name = "batch norm"
model.norm = "batch"
schedule = { name = "step", every = 1 }
tries = { lr = [
    0.01,   # a statement of several lines
    0.1,
] }
confused = { pairs = ["4-9"], source = "S4.20" }

[[claim]]
arm = "batch norm"
form = "greater"
than = "without"
source = "S1.38"
by = 0.0114
"""
FACTORS = """\
question = "?"
expectation = "!"
model = "lenet5"
data = "digits"
baseline = "dropout 0, rate 0.1"

[factors.dropout]
"0" = {}
"0.5" = { "model.dropout" = 0.5 }

[factors.rate]
"0.1" = { lr = 0.1 }
"0.2" = { lr = 0.2 }
"""


def write(folder: Path, text: str, name: str = "norm.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def refused(path: Path, name: str = "") -> str:
    """The sentence, with the file's place taken away."""
    with pytest.raises(ConvscopeError) as caught:
        read(path, name)
    assert caught.value.exit_code == 2
    return str(caught.value).replace(str(path), path.name)


def test_a_whole_study_from_toml(tmp_path: Path) -> None:
    (study,) = read(write(tmp_path, GOOD))
    tries = ({"lr": 0.01}, {"lr": 0.1})
    assert study == Study(
        name="norm", title="norm", question="Does batch norm help?", expectation="Yes.",
        base={
            "model": {"name": "simplenn", "dropout": 0.1}, "data": {"source": "digits"},
            "recipe": {"epochs": 2, "lr": 0.01},
        },
        arms=(
            Arm("without", {}, Published(0.7286, "S1.38"), tries=tries),
            Arm(
                "batch norm", {"model.norm": "batch", "schedule": {"name": "step", "every": 1}},
                confused=Confused(("4-9",), "S4.20"), tries=tries,
            ),
        ),
        baseline="without", measure="best_accuracy", also=("gap",), seeds=3,
        comparisons=(Comparison("batch norm", "greater", "without", "S1.38", 0.0114),),
    )  # fmt: skip


def test_a_printed_curve_from_toml(tmp_path: Path) -> None:
    printed = 'curve = { means = [0.93, 0.97], sds = [0.02, 0.01], best = 0.98, source = "S4.10" }'
    (study,) = read(
        write(tmp_path, GOOD.replace("tries = { lr = [0.01", f"{printed}\ntries = {{ lr = [0.01"))
    )
    assert study.arms[0].curve == Curve((0.93, 0.97), "S4.10", (0.02, 0.01), 0.98)


@pytest.mark.parametrize(
    "spelled", ['"model.norm" = "batch"', 'model = { norm = "batch" }', '[arm.model]\nnorm = "batch"']
)
def test_every_way_toml_has_of_saying_a_change(tmp_path: Path, spelled: str) -> None:
    text = (
        GOOD.partition("schedule = ")[0]
        .replace('model.norm = "batch"', spelled)
        .replace("tries = { lr = [0.01, 0.1] }", "")
    )
    (study,) = read(write(tmp_path, text))
    assert study.arms[1].changes == {"model.norm": "batch"}


def test_a_network_and_a_data_set_are_changed_as_a_whole_where_they_are_named(tmp_path: Path) -> None:
    text = FACTORS.partition("[factors")[0].replace("dropout 0, rate 0.1", "a") + (
        '[[arm]]\nname = "a"\n[[arm]]\nname = "b"\nmodel = { name = "simplenn", dropout = 0.1 }\n'
        'data = { source = "synthetic", options = { classes = 3 } }\n'
    )
    (study,) = read(write(tmp_path, text))
    config = study.config(study.arms[1], 0)
    assert (config.model.spelled(), config.data.source, config.data.options) == (
        "simplenn:dropout=0.1", "synthetic", {"classes": 3},
    )  # fmt: skip


def test_factors_from_toml(tmp_path: Path) -> None:
    (study,) = read(write(tmp_path, FACTORS), "norm")
    assert study.factors == {"dropout": ["0", "0.5"], "rate": ["0.1", "0.2"]}
    assert study.arm("dropout 0.5, rate 0.2").changes == {"model.dropout": 0.5, "lr": 0.2}


ANY = "Input should be a valid"
MODELS = ", ".join(sorted(catalog.names("models")))
MEASURES = ", ".join(sorted([*HIGHER_IS_BETTER, *(f"{name}/..." for name in catalog.names("diagnostics"))]))
TOP_KEYS = (
    "also, arm, axis, baseline, claim, data, expectation, factors, inspect, inspect_every, measure, model, name, "
    "precision, question, recipe, remarks, sd, seeds, title, trial_seeds, why_many"
)
MADE_WRONG = [
    ('seeds = 3', 'seed = 3', 9, f"'seed' is no key of a study. Did you mean 'seeds' or 'sd'? Known: {TOP_KEYS}."),
    ('seeds = 3', 'epochs = 3', 9, "'epochs' is a field of the recipe: write it under [recipe]."),
    ('seeds = 3', 'seeds = 0', 9, "study norm: seeds cannot be 0: it is 1 to 10,000; a verdict needs 3."),
    ('seeds = 3', 'seeds = "many"', 9,
     f"seeds of a study cannot be 'many': {ANY} integer."),
    ('seeds = 3', 'seeds = 3 3', 9, "this is not TOML: Expected newline or end of document after a statement."),
    ('seeds = 3', 'seeds = 3\nseeds = 3', 10, "this is not TOML: Cannot overwrite a value."),
    ('by = 0.0114', 'by = [', 35, "this is not TOML: Invalid value."),
    ('also = ["gap"]', 'also = "gap"', 8, f"also of a study cannot be 'gap': {ANY} tuple."),
    ('also = ["gap"]', 'also = [\n  "gap",\n  "gab",\n]', 8,
     f"study norm: No measure is called 'gab'. Did you mean 'gap'? Known: {MEASURES}."),
    ('baseline = "without"', 'baseline = "with"', 6,
     "No arm of study norm is called 'with'. Did you mean 'without'? Known: batch norm, without."),
    ('baseline = "without"', '', 1, "study norm has no baseline. A study file must say it."),
    ('{ value = 0.7286, source = "S1.38" }', '0.7286', 17,
     "published of an arm cannot be 0.7286; it says where it was printed too: published = { value = 0.74, source = "
     "'S1.38' }."),
    ('question = "Does batch norm help?"', 'question = " "', 2,
     "study norm has no question. Write it down before anything runs."),
    ('model = "simplenn:dropout=0.1"', 'model = "simplen"', 4,
     f"study norm: No model is called 'simplen'. Did you mean 'simplenn'? Known: {MODELS}."),
    ('model = "simplenn:dropout=0.1"', 'model = 8', 4,
     "study norm: model cannot be 8. Give a name, or a table with name = '...'."),
    ('epochs = 2', 'epochs = -2', 12,
     "study norm: recipe.epochs cannot be -2: Input should be greater than 0."),
    ('model.norm = "batch"', 'model.norms = "batch"', 22,
     "study norm, arm 'batch norm': The model 'simplenn' has no option 'norms'. Did you mean 'norm'? "
     "Options: activation, conv_dropout, dropout, init, norm, separable."),
    ('model.norm = "batch"', 'norm = "batch"', 22,
     "study norm, arm 'batch norm': 'norm' is nothing that an arm can change. Did you mean 'model.norm'? It is a field "
     "of the recipe (`convscope list options`), model, model.OPTION, data, or data.FIELD."),
    ('schedule = { name = "step", every = 1 }', 'lr = "fast"', 23,
     "study norm, arm 'batch norm': recipe.lr cannot be 'fast': Input should be a valid number, unable to parse string "
     "as a number."),
    ('name = "batch norm"', 'name = "without"', 21, "study norm: two arms are called 'without'. Give each its own name."),
    ('name = "batch norm"', 'nam = "batch norm"', 20, "Arm 2 has no name: name = '...'."),
    ('source = "S1.38" }', 'sourc = "S1.38" }', 17,
     "'sourc' is no key of `published`. Did you mean 'source'? Known: source, value."),
    ('value = 0.7286, ', '', 17, "`published` needs value."),
    (', source = "S1.38" }', ', source = "" }', 17,
     "study norm, arm 'without': the published value 0.7286 has no source. Say where it was printed, e.g. S1.43, or a "
     "paper and its table."),
    ('    0.1,\n', '', 24,
     "study norm: the arm 'without' tries 2 values and 'batch norm' 1 value. A fair comparison gives each arm the same "
     "number of tries (S3.66, E2.6)."),
    ('tries = { lr = [0.01, 0.1] }', 'tries = { lr = [0.01, 0.1], l1 = [0.0] }', 18,
     "arm 'without' tries lr and l1; one key can be tried, such as the rate."),
    ('form = "greater"', 'form = "more"', 32,
     "No form of a comparison in study norm is called 'more'. Known: different, equal, greater, less."),
    ('than = "without"', 'then = "without"', 33,
     "'then' is no key of a claim. Did you mean 'than' or 'within'? Known: arm, by, form, measure, source, than, within."),
    ('than = "without"', '', 30, "A claim needs than."),
    ('[[claim]]', '[claim]', 30, "claim must be a list of tables: write [[claim]] above each."),
    ('[recipe]\nepochs = 2\nlr = 0.01', 'recipe = "fast"', 11, "recipe must be a table, [recipe], not 'fast'."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "sentence"), MADE_WRONG, ids=lambda value: str(value)[:30])
def test_a_toml_file_is_refused_by_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, sentence: str
) -> None:
    assert old in GOOD
    assert refused(write(tmp_path, GOOD.replace(old, new, 1))) == f"norm.toml, line {line}: {sentence}"


FACTORS_WRONG = [
    ('{ lr = 0.2 }', '{ lr = -1 }', 13,
     "study norm, arm 'dropout 0, rate 0.2': recipe.lr cannot be -1: Input should be greater than 0."),
    ('"0.5" = { "model.dropout" = 0.5 }', '0.5 = { "model.dropout" = 0.5 }', 9,
     "this is not TOML: Cannot mutate immutable namespace ('factors', 'dropout', '0'). A point divides keys: write each "
     "level in quotes, \"0.5\"."),
    ('"0" = {}\n"0.5" = {', '0.5 = {', 8,
     'A point divides keys in TOML: write the level in quotes, "0.5".'),
    ('"0" = {}\n', '', 7, "The factor 'dropout' has 1 level; an effect needs two."),
    ('{ lr = 0.2 }', '{ lr = 0.2, model.dropout = 0.1 }', 7,
     "The factors 'dropout' and 'rate' both change model.dropout, so the one would undo the other. Make one factor of "
     "them, with a level for each combination."),
    ('[factors.dropout]', '[[arm]]\nname = "a"\n[factors.dropout]', 9,
     "study norm has both of [[arm]] and [factors]; it needs the one or the other."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "sentence"), FACTORS_WRONG, ids=lambda value: str(value)[:30])
def test_factors_are_refused_by_file_and_line(
    tmp_path: Path, old: str, new: str, line: int, sentence: str
) -> None:
    assert old in FACTORS
    assert refused(write(tmp_path, FACTORS.replace(old, new, 1))) == f"norm.toml, line {line}: {sentence}"


def test_lines_in_a_text_with_everything_toml_has() -> None:
    text = '''\
title = """
lr = 1
"""
"a b"."c.d" = 1  # model.norm = 2
x = [
  { y = 1 },

  { y = [ 2 ] },
]
[[arm]]
[[arm]]
lr = 3
[arm.published]
value = 4
'''
    places = {
        ("title",): 1, ("a b", "c.d"): 4, ("x", 1, "y"): 5, ("arm", 0): 10, ("arm", 1): 11, ("arm", 1, "lr"): 12,
        ("arm", 1, "published"): 13, ("arm", 1, "published.value"): 14, ("arm", 1, "nothing"): 11, ("arm", 2, "lr"): 10,
        ("nothing",): 1, (): 1,
    }  # fmt: skip
    assert {place: line_of(text, place) for place in places} == places  # type: ignore[arg-type]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert refused(tmp_path / "norm.txt") == "norm.txt cannot hold a study: a study is a .toml or a .py file."
    assert refused(tmp_path / "norm.py") == "There is no file norm.py. A study is a .toml or a .py file."
    (tmp_path / "latin.toml").write_bytes(b'name = "a"\ntitle = "\xe9"\n')
    assert refused(tmp_path / "latin.toml") == "latin.toml, line 2: this is not UTF-8, as TOML must be."
    path = write(tmp_path, GOOD)
    assert (
        refused(path, "norms") == "No study in norm.toml is called 'norms'. Did you mean 'norm'? Known: norm."
    )


# Python ----------------------------------------------------------------------------------------------------

PYTHON = """\
from __future__ import annotations

from dataclasses import dataclass

from beside import SHARED
from convscope.studies.design import Arm, Comparison, arm, greater, study
from convscope.studies.library.simplenn import simplenn_decay


@dataclass
class Own:
    rate: float = 0.2


@study(question="?", expectation="!", **SHARED)
def rate_of_ten():
    '''Ten times the rate.

    And more.
    '''
    from beside import LATE

    yield arm("base")
    yield arm("high", lr=Own().rate)
    yield greater("high", "base", LATE)


@study(question="?", expectation="!", name="decay", **SHARED)
def second():
    yield arm("base")
    yield arm("none", weight_decay=0.0)
"""
BESIDE = 'SHARED = dict(model="lenet5", data="digits", recipe={"lr": 0.1}, baseline="base", seeds=4)\nLATE = "S1.1"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path, BESIDE, "beside.py")
    return tmp_path


def test_all_decorated_functions_of_a_python_file(folder: Path) -> None:
    path, modules = list(sys.path), set(sys.modules)
    first, second = read(write(folder, PYTHON, "mine.py"))
    assert (first.name, first.title, first.seeds) == ("rate-of-ten", "Ten times the rate", 4)
    assert first.arms == (Arm("base"), Arm("high", {"lr": 0.2}))
    assert first.comparisons == (Comparison("high", "greater", "base", "S1.1"),)
    assert (second.name, second.title) == ("decay", "decay")
    assert second.comparisons == (Comparison("none", "different", "base"),)
    assert sys.path == path
    assert not {"mine", "beside"} & (sys.modules.keys() - modules)


def test_one_function_of_a_python_file(folder: Path) -> None:
    path = write(folder, PYTHON, "mine.py")
    assert [study.name for study in read(path, "second")] == ["decay"]
    assert refused(path, "secnd") == (
        "No study in mine.py is called 'secnd'. Did you mean 'second'? Known: rate_of_ten, second."
    )


def test_an_edited_file_is_read_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one second, and of the same length: a compiled copy would hide it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = write(folder, PYTHON, "mine.py")
    os.utime(path, (1e9, 1e9))
    read(path)
    write(folder, PYTHON.replace("0.2", "0.4"), "mine.py")
    os.utime(path, (1e9, 1e9))
    assert read(path)[0].arms[1].changes == {"lr": 0.4}
    assert not list(folder.glob("__pycache__/mine*"))


OWN = """
from torch import nn
from convscope.core.catalog import Item, register


def flat(*, classes: int, channels: int, size: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size * size, classes))


register(Item("models", "flat", "mine:flat", "one linear layer"))
"""


def test_a_file_that_registers_a_network_stays(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is looked up by the module's name, and must not be registered again by that."""
    monkeypatch.setitem(catalog._CATALOG, "models", dict(catalog._CATALOG["models"]))
    monkeypatch.setattr(sys, "path", list(sys.path))
    first, _ = read(write(folder, PYTHON.replace("lr=Own().rate", 'model="flat"') + OWN, "mine.py"))
    assert first.arms[1].changes == {"model": "flat"}
    model = catalog.call("models", "flat", {}, classes=10, channels=1, size=8)
    assert [layer.__class__.__name__ for layer in model] == ["Flatten", "Linear"]
    assert str(folder) in sys.path  # which workers get from here
    del sys.modules["mine"], sys.modules["beside"]


@pytest.mark.parametrize("name", ["json.py", "not-a-name.py"])
def test_a_file_called_as_another_module_does_not_take_its_place(folder: Path, name: str) -> None:
    assert len(read(write(folder, PYTHON, name))) == 2
    assert json.loads("[1]") == [1] and sys.modules["json"] is json


def test_files_of_two_folders_have_their_own_neighbours(folder: Path) -> None:
    for seeds in (4, 6):
        inner = folder / str(seeds)
        inner.mkdir()
        write(inner, BESIDE.replace("seeds=4", f"seeds={seeds}"), "beside.py")
        assert read(write(inner, PYTHON, "mine.py"))[0].seeds == seeds


PYTHON_WRONG = [
    ("lr=Own().rate", "lr=Own().speed", 24, "AttributeError: 'Own' object has no attribute 'speed'."),
    ("lr=Own().rate", "lr=-1.0", 24,
     "study rate-of-ten, arm 'high': recipe.lr cannot be -1.0: Input should be greater than 0."),
    ('"high", "base", LATE)', '"high", "base", by=0.1)', 25,
     "study rate-of-ten: high > base: the published difference 0.1 has no source. Say where it was printed."),
    ('greater("high"', 'greater("hihg"', 25,
     "No arm of study rate-of-ten is called 'hihg'. Did you mean 'high'? Known: base, high."),
    ('yield arm("base")', 'yield arm("basis")', 15,
     "No arm of study rate-of-ten is called 'base'. Did you mean 'basis'? Known: basis, high."),
    ("lr=Own().rate", "tries={'lr': []}", 24, "arm 'high' tries lr, but no value of it is given."),
    ("yield greater(", "yield tuple(", 25, "TypeError: tuple expected at most 1 argument, got 3."),
    ('yield arm("base")\n    yield arm("none"', 'yield "base"\n    yield arm("none"', 28,
     "study decay yields 'base', which is neither an arm nor a comparison."),
    ('    yield arm("base")\n    yield arm("none", weight_decay=0.0)\n', "    pass\n", 28,
     "study decay gives None; its function must yield arms and comparisons."),
    ('name="decay", ', 'name="decay", seed=3, ', 28,
     "study decay: seed is not known. Did you mean 'seeds' or 'sd'? Known: title, also, seeds, axis, inspect, "
     "inspect_every, precision, sd, trial_seeds, why_many, remarks."),
    ("from beside import SHARED", "import torhc", 5, "ModuleNotFoundError: No module named 'torhc'."),
    ("def second():", "def second(rate):", 28,
     "study decay: its function is called without arguments, and needs 'rate'."),
    ('name="decay", ', 'name="decay", epochs=3, ', 28,
     "study decay: epochs is a field of the recipe: recipe={'epochs': 3}."),
    ("class Own:", "class Own", 11, "this is not Python: expected ':'."),
    ("    rate: float = 0.2", "    rate: float = int('x')", 12,
     "ValueError: invalid literal for int() with base 10: 'x'."),
    ("class Own:", "class Own:\n    raise SystemExit", 12, "SystemExit."),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "sentence"), PYTHON_WRONG, ids=lambda value: str(value)[:30])
def test_a_python_file_is_refused_by_file_and_line(
    folder: Path, old: str, new: str, line: int, sentence: str
) -> None:
    assert old in PYTHON
    path = list(sys.path)
    text = refused(write(folder, PYTHON.replace(old, new, 1), "mine.py"))
    assert text == f"mine.py, line {line}: {sentence}"
    assert sys.path == path


def test_a_python_file_without_a_study(tmp_path: Path) -> None:
    text = "from convscope.studies.library.simplenn import simplenn_decay\n\n\ndef mine():\n    yield 1\n"
    assert refused(write(tmp_path, text, "mine.py")) == (
        "mine.py holds no study: decorate a function that yields arms with @study, from convscope.studies.design."
    )
