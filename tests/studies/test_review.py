"""Every reason for which a study is refused, by its whole sentence and its place."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from convscope.core import catalog
from convscope.core.errors import ConfigError
from convscope.studies.design import (
    Arm,
    Comparison,
    Confused,
    Curve,
    Published,
    Study,
    arm,
    equal,
    factorial,
    greater,
    less,
    made,
    study,
)
from convscope.studies.measures import HIGHER_IS_BETTER
from convscope.studies.review import Refusal

BASE: dict[str, Any] = {
    "model": {"name": "lenet5"},
    "data": {"source": "digits"},
    "recipe": {"lr": 0.1, "schedule": "constant"},
}
A, B = arm("a"), arm("b", lr=0.2)
MEASURES = ", ".join(sorted([*HIGHER_IS_BETTER, *(f"{name}/..." for name in catalog.names("diagnostics"))]))
CHANGES = "It is a field of the recipe (`convscope list options`), model, model.OPTION, data, or data.FIELD."


def build(parts: Iterable[Any] = (A, B), **options: Any) -> Study:
    given = {"name": "s", "title": "S", "question": "?", "expectation": "!", "base": BASE, "baseline": "a"}
    return made(parts, **{**given, "measure": "final_accuracy", **options})


def printed(value: float, source: str = "S1.1") -> dict[str, Any]:
    return {"published": Published(value, source)}


def test_what_is_whole_is_not_refused() -> None:
    found = build([A, B, greater("b", "a", "S1.1", by=0.01)], axis="lr", also=("gap",))
    assert found.measures == ("final_accuracy", "gap")


CELLS = list(
    factorial({"norm": {"none": {}, "batch": {"model.norm": "batch"}}, "rate": {"1": {}, "2": {"lr": 0.2}}})
)
NINE = [arm(str(i), lr=0.1 + i / 10) for i in range(9)]
WRONG: list[tuple[str, dict[str, Any], tuple[str | int, ...], str]] = [
    ("no name", {"name": " "}, ("name",), "' ' cannot name a study: it also names the folder of its results."),
    ("path", {"name": "a/b"}, ("name",), "'a/b' cannot name a study: it also names the folder of its results."),
    ("dots", {"name": ".."}, ("name",), "'..' cannot name a study: it also names the folder of its results."),
    ("question", {"question": " "}, ("question",), "study s has no question. Write it down before anything runs."),
    ("expectation", {"expectation": ""}, ("expectation",),
     "study s has no expectation. Write it down before anything runs."),
    ("also", {"also": "gap"}, ("also",), "study s: also is a list: ['gap'], not 'gap'."),
    ("inspect", {"inspect": "weights"}, ("inspect",), "study s: inspect is a list: ['weights'], not 'weights'."),
    ("NumPy", {"parts": [A, arm("b", batch_size=np.int64(7))]}, ("arm", 1, "batch_size"),
     "study s, arm 'b': batch_size cannot be np.int64(7) (int64). Give a plain number, text or list, as in a TOML file; "
     "of a NumPy number its .item()."),
    ("NumPy tried", {"parts": [arm("a", tries={"lr": np.float32([0.25])}), B]}, ("arm", 0, "lr"),
     "study s, arm 'a': lr cannot be np.float32(0.25) (float32). Give a plain number, text or list, as in a TOML file; of "
     "a NumPy number its .item()."),
    ("hole", {"parts": CELLS[1:], "baseline": CELLS[1].name}, ("arm",),
     "study s: its arms are no complete factorial: it has 3 cells, not one for every combination of levels. Yield all of "
     "`factorial`."),
    ("one more", {"parts": [*CELLS, arm("a", l1=0.1)]}, ("arm",),
     "study s: its arms are no complete factorial: 'a' is none of its cells. Make a study of its own of it."),
    ("refit", {"parts": [A, arm("b", {"data.refit": True})]}, ("arm", 1),
     "study s, arm 'b': Runs are judged on one set of validation images, and data.refit trains on them."),
    ("folds", {"parts": [A, arm("b", {"data.folds": 5})]}, ("arm", 1),
     "study s, arm 'b': Runs are judged on one set of validation images, and data.folds without data.fold takes each part "
     "in turn."),
    ("long name", {"name": "x" * 201}, ("name",),
     "'xxxxxxxxxxxxxxxxxxxx'... cannot name a study: it also names a folder, and has more than 200 bytes."),
    ("no count", {"seeds": True}, ("seeds",),
     "study s: seeds cannot be True: Input should be a valid integer."),
    ("seeds", {"seeds": 0}, ("seeds",), "study s: seeds cannot be 0: it is 1 to 10,000; a verdict needs 3."),
    ("too many seeds", {"seeds": 100_000}, ("seeds",),
     "study s: seeds cannot be 100,000: it is 1 to 10,000; a verdict needs 3."),
    ("precision", {"precision": "float16"}, ("precision",),
     "study s: precision cannot be 'float16': Input should be 'auto', 'float32' or 'bfloat16'."),
    ("half seeds", {"seeds": 2.5}, ("seeds",), "study s: seeds cannot be 2.5: Input should be a valid integer."),
    ("trial seeds", {"trial_seeds": 0}, ("trial_seeds",), "study s: trial_seeds cannot be 0: it is 1 to 10,000."),
    ("number as a name", {"parts": [A, arm(2, lr=0.2)]}, ("arm", 1, "name"),  # type: ignore[arg-type]
     "study s, arm 2: name cannot be 2: Input should be a valid string."),
    ("number as a published one", {"parts": [A, arm("b", lr=0.2, published=0.5)]},  # type: ignore[arg-type]
     ("arm", 1, "published"),
     "study s, arm 'b': published cannot be 0.5; it says where it was printed too: Published(0.74, 'S1.38')."),
    ("published text", {"parts": [A, arm("b", lr=0.2, **printed("0.5"))]},  # type: ignore[arg-type]
     ("arm", 1, "published", "value"),
     "study s, arm 'b', published: value cannot be '0.5': Input should be a valid number."),
    ("difference in text", {"parts": [A, B, greater("b", "a", "S1.1", by="0.5")]},  # type: ignore[arg-type]
     ("claim", 0, "by"), "study s, claim 1: by cannot be '0.5': Input should be a valid number."),
    ("margin in text", {"parts": [A, B, equal("b", "a", "S1.1", within="0.5")]},  # type: ignore[arg-type]
     ("claim", 0, "within"), "study s, claim 1: within cannot be '0.5': Input should be a valid number."),
    ("sd in text", {"sd": "0.1"}, ("sd",), "study s: sd cannot be '0.1': Input should be a valid number."),
    ("sd", {"sd": 0.0}, ("sd",), "study s: sd cannot be 0: a standard deviation is above 0."),
    ("nan sd", {"sd": float("nan")}, ("sd",), "study s: sd cannot be nan: a standard deviation is above 0."),
    ("no arm", {"parts": []}, (), "study s has 0 arms; a comparison needs at least two."),
    ("one arm", {"parts": [A]}, (), "study s has 1 arm; a comparison needs at least two."),
    ("unnamed", {"parts": [A, arm("", lr=0.2)]}, ("arm", 1, "name"), "study s: arm 2 of 2 has no name."),
    ("twins", {"parts": [A, B, arm("a", lr=0.3)]}, ("arm", 2, "name"),
     "study s: two arms are called 'a'. Give each its own name."),
    ("baseline", {"parts": [arm("alpha"), B], "baseline": "alpa"}, ("baseline",),
     "No arm of study s is called 'alpa'. Did you mean 'alpha'? Known: alpha, b."),
    ("claim's arm", {"parts": [arm("alpha"), B, greater("alph", "b", "S1.1")], "baseline": "b"}, ("claim", 0, "arm"),
     "No arm of study s is called 'alph'. Did you mean 'alpha'? Known: alpha, b."),
    ("claim's than", {"parts": [A, B, greater("b", "a", "S1.1"), less("a", "c", "S1.1")]}, ("claim", 1, "than"),
     "No arm of study s is called 'c'. Known: a, b."),
    # Measures
    ("measure", {"measure": "final_acuracy"}, ("measure",),
     "study s: No measure is called 'final_acuracy'. Did you mean 'final_accuracy' or 'train_accuracy'? "
     f"Known: {MEASURES}."),
    ("also's measure", {"also": ("gap", "weights/total_smal")}, ("also", 1),
     "study s: No number of the diagnostic weights is called 'total_smal'. Did you mean 'total_small' or 'total_l2'? "
     "Known: threshold, total, total_l1, total_l2, total_small, total_zero."),
    ("diagnostic", {"measure": "weigths/total"}, ("measure",),
     "study s: No diagnostic is called 'weigths'. Did you mean 'weights'? "
     f"Known: {', '.join(sorted(catalog.names('diagnostics')))}."),
    ("diagnostic's option", {"measure": "weights:bin=3/total"}, ("measure",),
     "study s: The diagnostic 'weights' has no option 'bin'. Did you mean 'bins'? Options: bins, threshold."),
    ("way", {"measure": "weights/total_l2@maximum"}, ("measure",),
     "study s: No way to combine looks is called 'maximum'. Did you mean 'max'? Known: last, max, mean, min."),
    ("no way", {"measure": "weights/total_l2@"}, ("measure",),
     "study s: No way to combine looks is called ''. Known: last, max, mean, min."),
    ("test", {"measure": "test_accuracy"}, ("measure",),
     "study s: 'test_accuracy' cannot be a measure: a study chooses, and whoever chooses must not see test images. Take "
     "final_accuracy; the test split is opened once, at the end, by `convscope test RUN`."),
    ("claim's measure", {"parts": [A, B, greater("b", "a", "S1.1", measure="test/loss")]}, ("claim", 0, "measure"),
     "study s: 'test/loss' cannot be a measure: a study chooses, and whoever chooses must not see test images. Take "
     "final_accuracy; the test split is opened once, at the end, by `convscope test RUN`."),
    # Looks
    ("look", {"inspect": ("weigths",)}, ("inspect",),
     "study s: inspect: No diagnostic is called 'weigths'. Did you mean 'weights'? "
     f"Known: {', '.join(sorted(catalog.names('diagnostics')))}."),
    ("two looks", {"inspect": ("weights:bins=7",), "measure": "weights/total_l2@max"}, ("inspect",),
     "study s: weights would look with two sets of options, weights:bins=7 and weights, and looks are told apart by name "
     "alone. Write the same options in `inspect` and in every measure over time."),
    ("rhythm", {"inspect_every": "often"}, ("inspect_every",),
     "study s: compute.inspect_every cannot be 'often': say how often as '10 steps' or '10 epochs', not 'often'."),
    # What all share
    ("base", {"base": {**BASE, "recipe": {"epochs": 1, "lr": -1}}}, ("recipe", "lr"),
     "study s: recipe.lr cannot be -1: Input should be greater than 0."),
    ("base's key", {"base": {**BASE, "recipe": {"lrr": 1}}}, ("recipe", "lrr"),
     "study s: recipe.lrr is not known. Did you mean 'lr'? Known: {recipe}."),
    ("base's data", {"base": {**BASE, "data": {"source": "digit"}}}, ("data", "source"),
     "study s: No data set is called 'digit'. Did you mean 'digits'? Known: "
     f"{', '.join(sorted(catalog.names('sources')))}."),
    # Arms
    ("no field", {"parts": [A, arm("b", lrr=0.2)]}, ("arm", 1, "lrr"),
     f"study s, arm 'b': 'lrr' is nothing that an arm can change. Did you mean 'lr'? {CHANGES}"),
    ("no part", {"parts": [A, arm("b", lr=0.2, norm="batch")]}, ("arm", 1, "norm"),
     f"study s, arm 'b': 'norm' is nothing that an arm can change. Did you mean 'model.norm'? {CHANGES}"),
    ("keyword", {"parts": [A, arm("b", publised=0.5)]}, ("arm", 1, "publised"),
     f"study s, arm 'b': 'publised' is nothing that an arm can change. Did you mean 'published'? {CHANGES}"),
    ("wrong part", {"parts": [A, arm("b", {"modle.norm": "batch"})]}, ("arm", 1, "modle.norm"),
     f"study s, arm 'b': 'modle.norm' is nothing that an arm can change. Did you mean 'model.norm'? {CHANGES}"),
    ("seed", {"parts": [A, arm("b", seed=3)]}, ("arm", 1, "seed"),
     f"study s, arm 'b': 'seed' is nothing that an arm can change. Did you mean 'select'? {CHANGES}"),
    ("data field", {"parts": [A, arm("b", {"data.noise": 1})]}, ("arm", 1, "data.noise"),
     f"study s, arm 'b': 'data.noise' is nothing that an arm can change. Did you mean 'data.label_noise' or 'data.size'? "
     f"{CHANGES}"),
    ("value", {"parts": [A, arm("b", epochs=1, lr="fast")]}, ("arm", 1, "lr"),
     "study s, arm 'b': recipe.lr cannot be 'fast': Input should be a valid number, unable to parse string as a number."),
    ("option", {"parts": [A, arm("b", {"model.dropout": 2.0})]}, ("arm", 1, "model.dropout"),
     "study s, arm 'b': The option 'dropout' of the model 'lenet5' cannot be 2.0: Input should be less than 1."),
    ("option of another network", {"parts": [A, arm("b", {"model.widthh": 8}, model="resnet20")]},
     ("arm", 1, "model.widthh"),
     "study s, arm 'b': The model 'resnet20' has no option 'widthh'. Did you mean 'width'? Options: {resnet20}."),
    ("schedule", {"parts": [A, arm("b", schedule="steps")]}, ("arm", 1, "schedule"),
     "study s, arm 'b': No schedule is called 'steps'. Did you mean 'step'? "
     f"Known: {', '.join(sorted(catalog.names('schedules')))}."),
    ("model table", {"parts": [A, arm("b", model={"norm": "batch"})]}, ("arm", 1, "model"),
     "study s, arm 'b': model cannot be {'norm': 'batch'}. Give a name, or a table with name = '...'."),
    ("same run", {"parts": [A, arm("b")]}, ("arm", 1),
     "study s: the arms 'a' and 'b' are the same run. Leave one of them out."),
    ("same run, base spelled", {"parts": [A, arm("b", lr=0.1)]}, ("arm", 1),
     "study s: the arms 'a' and 'b' are the same run. Leave one of them out."),
    ("same run, default spelled", {"parts": [A, B, arm("c", {"model.norm": "none"}, optimizer="sgd:momentum=0.9")]},
     ("arm", 2), "study s: the arms 'a' and 'c' are the same run. Leave one of them out."),
    # Published
    ("source", {"parts": [A, arm("b", lr=0.2, **printed(0.5, " "))]}, ("arm", 1, "published"),
     "study s, arm 'b': the published value 0.5 has no source. Say where it was printed, e.g. S1.43, or a paper and its "
     "table."),
    ("confused", {"parts": [A, Arm("b", {"lr": 0.2}, confused=Confused(("4-9",), ""))]}, ("arm", 1, "confused"),
     "study s, arm 'b': the confused pairs have no source. Say where they were printed."),
    ("curve", {"parts": [A, arm("b", lr=0.2, curve=Curve((0.5,), ""))]}, ("arm", 1, "curve"),
     "study s, arm 'b': the printed curve has no source. Say where it was printed."),
    ("curve sds", {"parts": [A, arm("b", lr=0.2, curve=Curve((0.5, 0.6), "S4.10", (0.1,)))]}, ("arm", 1, "curve"),
     "study s, arm 'b': the printed curve has 2 means and 1 standard deviations. It needs a mean for each of the first "
     "epochs, and as many deviations or none."),
    ("curve percent", {"parts": [A, arm("b", lr=0.2, curve=Curve((0.5,), "S4.10", best=98.0))]}, ("arm", 1, "curve"),
     "study s, arm 'b': the printed curve is 98, and final_accuracy is a fraction. Write 0.98 if 98 % is meant."),
    ("percent", {"parts": [A, arm("b", lr=0.2, **printed(65.7))]}, ("arm", 1, "published"),
     "study s, arm 'b': the published value is 65.7, and final_accuracy is a fraction. Write 0.657 if 65.7 % is meant."),
    ("nan", {"parts": [A, arm("b", lr=0.2, **printed(float("nan")))], "measure": "final_loss"}, ("arm", 1, "published"),
     "study s, arm 'b': the published value is nan, which is no number to compare with."),
    # Tries
    ("unequal tries", {"parts": [arm("a", tries={"lr": [0.1, 0.2]}), arm("b", optimizer="adam", tries={"lr": [0.1]})]},
     ("arm", 1, "tries"),
     "study s: the arm 'a' tries 2 values and 'b' 1 value. A fair comparison gives each arm the same number of tries "
     "(S3.66, E2.6)."),
    ("no tries", {"parts": [A, arm("b", optimizer="adam", tries={"lr": [0.1, 0.2]})]}, ("arm", 0, "tries"),
     "study s: the arm 'b' tries 2 values and 'a' no values. A fair comparison gives each arm the same number of tries "
     "(S3.66, E2.6)."),
    ("a value of tries", {"parts": [arm("a", tries={"lr": [0.1, -1]}), B]}, ("arm", 0, "tries"),
     "study s, arm 'a': recipe.lr cannot be -1: Input should be greater than 0."),
    ("tried twice", {"parts": [arm("a", tries={"lr": [0.1, 0.10]}), B]}, ("arm", 0, "tries"),
     "study s, arm 'a': lr = 0.1 is tried twice."),
    ("the same tries",
     {"parts": [arm("a", tries={"lr": [0.1, 0.2]}), arm("b", {"model.norm": "none"}, tries={"lr": [0.1, 0.2]})]},
     ("arm", 1), "study s: the arms 'a' and 'b' are the same run. Leave one of them out."),
    ("nothing to choose by",
     {"parts": [arm("a", tries={"lr": [0.1, 0.2]}), arm("b", optimizer="adam", tries={"lr": [0.1, 0.2]})],
      "measure": "weights/total"}, ("measure",),
     "study s: More of 'weights/total' is neither better nor worse, so nothing can be chosen by it. Choose by one of "
     f"{', '.join(HIGHER_IS_BETTER)}."),
    # Axis
    ("axis", {"axis": "lrr"}, ("axis",),
     "study s: the axis 'lrr' is nothing in which its arms differ. Did you mean 'lr'? It is a key that arms change or a "
     "factor: lr."),
    ("axis of a field", {"axis": "epochs"}, ("axis",),
     "study s: the axis 'epochs' is nothing in which its arms differ. It is a key that arms change or a factor: lr."),
    # Comparisons
    ("itself", {"parts": [A, B, greater("b", "b", "S1.1")]}, ("claim", 0, "than"),
     "study s: 'b' is compared with itself."),
    ("twice", {"parts": [A, B, greater("b", "a", "S1.1"), less("a", "b", "S1.2")]}, ("claim", 1),
     "study s: 'a' is compared with 'b' twice."),
    ("twice, measure spelled", {"parts": [A, B, greater("b", "a", ""), greater("b", "a", "", measure="final_accuracy")]},
     ("claim", 1), "study s: 'b' is compared with 'a' twice."),
    ("form", {"parts": [A, B, Comparison("b", "grater", "a")]}, ("claim", 0, "form"),  # type: ignore[arg-type]
     "No form of a comparison in study s is called 'grater'. Did you mean 'greater'? "
     "Known: different, equal, greater, less."),
    ("no within", {"parts": [A, B, Comparison("b", "equal", "a")]}, ("claim", 0, "form"),
     "study s: b = a: the form equal needs `within`, the largest difference that counts as none, e.g. within = 0.01."),
    ("within", {"parts": [A, B, Comparison("b", "less", "a", within=0.1)]}, ("claim", 0, "within"),
     "study s: b < a within 0.1: `within`, the largest difference that counts as none, belongs to the form equal "
     "alone."),
    ("within 0", {"parts": [A, B, equal("b", "a", "S1.1", within=0.0)]}, ("claim", 0, "within"),
     "study s: b = a: `within` cannot be 0: two arms are never exactly equal."),
    ("within 2 %", {"parts": [A, B, equal("b", "a", "S1.1", within=2.0)]}, ("claim", 0, "within"),
     "study s: b = a within 2: `within` is 2, and final_accuracy is a fraction. Write 0.02 if 2 % is meant."),
    ("difference", {"parts": [A, B, greater("b", "a", "", by=0.01)]}, ("claim", 0, "by"),
     "study s: b > a: the published difference 0.01 has no source. Say where it was printed."),
    ("opposite", {"parts": [A, B, less("b", "a", "S1.1", by=0.01)]}, ("claim", 0, "by"),
     "study s: b < a: the published difference 0.01, arm minus `than`, says the opposite."),
    ("by 2 %", {"parts": [A, B, greater("b", "a", "S1.1", by=2.3)]}, ("claim", 0, "by"),
     "study s: b > a: `by` is 2.3, and final_accuracy is a fraction. Write 0.023 if 2.3 % is meant."),
    ("many", {"parts": NINE, "baseline": "0"}, ("why_many",),
     "study s asks about 8 comparisons, and each takes power from the others. Ask at most 6, or say why there are more: "
     "why_many = '...'."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "place", "sentence"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_refused(given: dict[str, Any], place: tuple[str | int, ...], sentence: str) -> None:
    from convscope.core.config import Recipe

    options = catalog.options(catalog.find("models", "resnet20"))
    lists = {"{recipe}": sorted(Recipe.model_fields), "{resnet20}": sorted(options)}
    for mark, names in lists.items():
        sentence = sentence.replace(mark, ", ".join(names))
    with pytest.raises(Refusal) as caught:
        build(**given)
    assert (str(caught.value), caught.value.place) == (sentence, place)
    assert caught.value.exit_code == 2


def test_a_reason_allows_many_comparisons() -> None:
    assert len(build(NINE, baseline="0", why_many="A sweep.").comparisons) == 8


def test_six_comparisons_need_no_reason() -> None:
    assert len(build(NINE[:7], baseline="0").comparisons) == 6
    with pytest.raises(Refusal, match="asks about 7 comparisons"):
        build(NINE[:8], baseline="0")


def test_seven_effects_need_a_reason() -> None:
    """3 x 3: 2 + 2 + 4 = 8 effects, of which 4 are interactions; 2 x 3 has 5."""
    levels = {"0": {}, "1": {"lr": 0.2}, "2": {"lr": 0.3}}
    other = {"0": {}, "1": {"epochs": 2}, "2": {"epochs": 3}}
    with pytest.raises(Refusal, match="asks about 8 effects of its factors"):
        build([*factorial({"a": levels, "b": other})], baseline="a 0, b 0")
    assert build([*factorial({"a": levels, "b": {"0": {}, "1": {"epochs": 2}}})], baseline="a 0, b 0").factors


def test_a_margin_in_points_is_refused() -> None:
    with pytest.raises(Refusal, match="is 100 points"):
        build([A, B, equal("b", "a", "S1.1", within=1)])
    assert build([A, B, equal("b", "a", "S1.1", within=0.02)]).comparisons


def test_arms_at_different_places_are_different_runs() -> None:
    """Names of runs leave the places of data and weights out, for the hashes of their content are in; not yet here."""
    for key in ("data", "weights"):
        values = ("folder:one", "folder:two") if key == "data" else ("one.safetensors", "two.safetensors")
        found = build([arm("a", {key: values[0]}), arm("b", {key: values[1]})])
        assert len(found.arms) == 2


def test_the_same_measure_may_be_asked_of_two_pairs_and_two_measures_of_one() -> None:
    c = arm("c", lr=0.3)
    parts = [A, B, c, less("b", "a", ""), less("c", "a", ""), less("b", "a", "", measure="gap")]
    assert len(build(parts).comparisons) == 3


# What builds a study -------------------------------------------------------------------------------------------


def sentence(build: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build()
    return str(caught.value)


def test_parts_that_are_refused_before_there_is_a_study() -> None:
    assert sentence(lambda: arm("a", tries={"lr": [1], "l1": [0]})) == (
        "arm 'a' tries lr and l1; one key can be tried, such as the rate."
    )
    assert sentence(lambda: arm("a", tries={"lr": []})) == "arm 'a' tries lr, but no value of it is given."
    no_list: Any = {"lr": 0.1}, {"optimizer": "adam"}, [0.1]
    assert [sentence(lambda given=given: arm("a", tries=given)) for given in no_list] == [  # type: ignore[misc]
        "arm 'a' tries lr, but 0.1 is no list of values.",
        "arm 'a' tries optimizer, but 'adam' is no list of values.",
        "arm 'a': tries cannot be [0.1]: a mapping by key, such as {'lr': [0.01, 0.1]}.",
    ]
    nothing: Any = 0.1
    assert sentence(lambda: arm("a", nothing)) == (
        "arm 'a': changes cannot be 0.1: a mapping by key, such as {'lr': 0.1}."
    )
    assert (
        sentence(lambda: build([A, "b"])) == "study s yields 'b', which is neither an arm nor a comparison."
    )
    assert sentence(lambda: list(factorial({"x": {"1": {}}, "y": {"1": {}, "2": {}}}))) == (
        "The factor 'x' has 1 level; an effect needs two."
    )
    both = {"x": {"1": {}, "2": {"lr": 0.2}}, "y": {"1": {}, "2": {"l1": 0.1, "lr": 0.3}}}
    assert sentence(lambda: list(factorial(both))) == (
        "The factors 'x' and 'y' both change lr, so the one would undo the other. Make one factor of them, with a level "
        "for each combination."
    )
    two: dict[str, Any] = {"x": {"1": {}, "2": {"lr": 0.2}}, "y": {"3": {}, "4": {"l1": 0.1}}}
    assert sentence(lambda: list(factorial(two, {("3", "1"): Published(0.5, "S1.1")}))) == (
        "A number is published for ('3', '1'), which is no combination of levels of x, y, in this order."
    )


def test_a_decorator_that_is_refused() -> None:
    def nothing() -> Any:
        """It yields nothing, since it does not yield."""

    must: dict[str, Any] = {
        "question": "?", "expectation": "!", "model": "lenet5", "data": "digits", "baseline": "a",
    }  # fmt: skip
    assert sentence(lambda: study(**must, seed=3)(nothing)) == (
        "study nothing: seed is not known. Did you mean 'seeds' or 'sd'? Known: title, also, seeds, axis, inspect, "
        "inspect_every, precision, sd, trial_seeds, why_many, remarks."
    )
    assert sentence(study(**must)(nothing)) == (
        "study nothing gives None; its function must yield arms and comparisons."
    )
    assert sentence(study(**{**must, "data": 3})(nothing)) == (
        "study nothing: data cannot be 3. Give a name, or a table with source = '...'."
    )
