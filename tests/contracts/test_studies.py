"""What every shipped study promises: it can be run as it stands, asks in sentences, and prints no number wrongly."""

import functools
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from convscope.core import catalog, spelling
from convscope.core import config as configs
from convscope.models import build
from convscope.studies.design import Arm, Study, arm, greater, study
from convscope.studies.library.double_descent import WIDTHS
from convscope.studies.task import key_of

SHAPES = {"mnist": (1, 28), "fashion-mnist": (1, 28), "cifar10": (3, 32)}
"""Channels and size of the images of the sources that the studies take; all have ten classes."""

# Once more from the source documents, apart from the studies.
ARMS = {
    "S1.28": (0.6570,),
    "S1.29": (0.6802,),
    "S1.30": (0.6668,),
    "S1.35": (0.6570,),
    "S1.36": (0.7286,),
    "S1.38": (0.7286, 0.7400),
    "S1.39": (0.6454, 0.5218, 0.3182),
    "S1.40": (0.7314, 0.7012, 0.6430),
    "S1.42": (0.7400, 0.7526),
    "S1.43": (0.6830, 0.7288, 0.7400, 0.7314, 0.7012, 0.1054),
    "S1.45": (0.7352, 0.7374, 0.7400, 0.7308, 0.6624),
    "S4.10": (0.98499666,),
    "S4.11": (0.98071667,),
    "S4.15": (0.90060,),
}
"""Item -> the accuracies that it prints for single arms."""
DIFFERENCES = {
    "S1.29": (0.0232,),
    "S1.30": (0.0098,),
    "S1.36": (0.0716,),
    "S1.38": (0.0114,),
    "S1.39-40": (0.0860, 0.1794, 0.3248),
    "S1.42": (0.0126,),
    "S1.43-44": (-0.0570, -0.0112, -0.0086, -0.0388, -0.6346),
    "S1.45": (-0.0048, -0.0026, -0.0092, -0.0776),
    "S2.26": (0.05,),
    "S4.10-11, E4.6": (0.00428,),
}
"""Item -> the differences between two of its numbers."""
PAIRS = {
    "S4.20": ("4-9", "5-3", "9-4"),
    "S4.21": ("T-shirt/top-Shirt", "Shirt-T-shirt/top", "Shirt-Coat"),
    "S4.22": ("cat-dog", "dog-cat", "automobile-truck"),
}
"""Item -> the pairs of classes that it says are confused most."""


@functools.cache
def made(name: str) -> Study:
    found: Study = catalog.find("studies", name).load()()
    return found


@functools.cache
def spelled(name: str, arm_name: str) -> configs.RunConfig:
    return configs.spelled_out(made(name).config(made(name).arm(arm_name), 0))


NAMES = catalog.names("studies")


@pytest.fixture(params=NAMES)
def one(request: pytest.FixtureRequest) -> Study:
    return made(request.param)


# Words ------------------------------------------------------------------------------------------------------


def test_its_name_is_the_catalogs() -> None:
    assert [made(name).name for name in NAMES] == NAMES


def test_no_two_studies_are_called_the_same_or_ask_the_same() -> None:
    for words in ([made(name).title for name in NAMES], [made(name).question for name in NAMES]):
        assert [text for text, count in Counter(words).items() if count > 1] == []


def is_sentence(text: str, end: str) -> bool:
    """A capital or a digit first, the right stop last, one space between words."""
    return bool(re.match(r"[A-Z0-9]", text)) and text.endswith(end) and text.split() == text.split(" ")


def test_it_asks_expects_and_is_titled_in_sentences(one: Study) -> None:
    assert is_sentence(one.question, "?")
    assert is_sentence(one.expectation, ".")
    assert is_sentence(one.title + ".", ".") and not one.title.endswith(".")


def test_what_is_no_sentence_would_be_found() -> None:
    assert is_sentence("Does 0.1 help?", "?")
    for text in ("does it help?", "Does it help", "Does it  help?", "Does it\nhelp?"):
        assert not is_sentence(text, "?")


COVERAGE = Path(__file__).parents[2] / "docs/coverage.md"


def items(text: str) -> set[str]:
    """S3.27-28 is S3.27 and S3.28."""
    return {
        f"{document}.{number}"
        for document, first, last in re.findall(r"\b([SEX]\d)\.(\d+)(?:-(\d+))?\b", text)
        for number in range(int(first), int(last or first) + 1)
    }


# Every item of the source documents has its row there (tests/test_docs.py).
ITEMS = items(COVERAGE.read_text())


# Ids --------------------------------------------------------------------------------------------------------


def texts(one: Study) -> list[str]:
    """All in which a study names items of the source documents."""
    arms = [said.source for arm in one.arms for said in (arm.published, arm.confused) if said]
    return [
        one.title,
        one.question,
        one.expectation,
        one.why_many,
        *arms,
        *(c.source for c in one.comparisons),
    ]


def looks_like_an_item(text: str) -> list[str]:
    """Also what no document could have: S9.1, S1.4.5 and S1-4."""
    return re.findall(r"\b[A-Z]\d[.-]\d[\d.-]*\b", text)


def unknown(texts: list[str]) -> list[str]:
    """What looks like an item and is none."""
    return [
        found
        for text in texts
        for found in looks_like_an_item(text)
        if not items(found) or items(found) - ITEMS
    ]


def test_the_items_it_names_exist(one: Study) -> None:
    assert unknown([*texts(one), catalog.find("studies", one.name).source]) == []


def test_items_that_do_not_exist_would_be_found() -> None:
    assert unknown(["S1.28-30", "S1.60, E4.7", "as in 0.1-0.5"]) == []
    assert unknown(["S1.61", "by S1.59-61", "S9.1", "E13.4 and S1-4", "X2.1"]) == [
        "S1.61",
        "S1.59-61",
        "S9.1",
        "S1-4",
    ]


def test_its_line_of_the_catalog_names_what_its_claims_rest_on(one: Study) -> None:
    listed = items(catalog.find("studies", one.name).source)
    assert listed
    assert set().union(*(items(claim.source) for claim in one.comparisons)) - listed == set()


# Numbers ----------------------------------------------------------------------------------------------------


def printed(studies: list[Study]) -> dict[str, dict[str, set[Any]]]:
    """By kind and item, the numbers and pairs that studies say were published."""
    found: dict[str, dict[str, set[Any]]] = {"arms": {}, "differences": {}, "pairs": {}}
    for one in studies:
        for part in one.arms:
            if part.published:
                found["arms"].setdefault(part.published.source, set()).add(part.published.value)
            if part.confused:
                found["pairs"].setdefault(part.confused.source, set()).add(part.confused.pairs)
        for claim in one.comparisons:
            if claim.by is not None:
                found["differences"].setdefault(claim.source, set()).add(claim.by)
    return found


def test_published_numbers_are_those_of_the_source_documents() -> None:
    found = printed([made(name) for name in NAMES])
    assert found["arms"] == {item: set(values) for item, values in ARMS.items()}
    assert found["differences"] == {item: set(values) for item, values in DIFFERENCES.items()}
    assert found["pairs"] == {item: {pairs} for item, pairs in PAIRS.items()}


def test_the_differences_are_those_of_the_numbers() -> None:
    for one in map(made, NAMES):
        values = {part.name: part.published.value for part in one.arms if part.published}
        for claim in one.comparisons:
            if claim.by is not None and {claim.arm, claim.than} <= set(values):
                assert claim.by == pytest.approx(values[claim.arm] - values[claim.than], abs=5e-6), (
                    f"{one.name}: {claim}"
                )


def test_a_claim_points_the_way_of_its_published_difference(one: Study) -> None:
    signs = {"greater": 1, "less": -1}
    wrong = [str(c) for c in one.comparisons if c.by is not None and c.by * signs.get(c.form, 0) <= 0]
    assert wrong == []


# Configurations ---------------------------------------------------------------------------------------------


def changed(one: Study, name: str) -> set[str]:
    """In which fields an arm's run differs from the baseline's."""
    pairs = configs.differences(spelled_of(one, one.baseline), spelled_of(one, name))
    return {line.partition(": ")[0] for line in pairs}


def spelled_of(one: Study, name: str) -> configs.RunConfig:
    return (
        configs.spelled_out(one.config(one.arm(name), 0))
        if one.name not in NAMES
        else spelled(one.name, name)
    )


def beyond(one: Study, part: Arm) -> set[str]:
    """What an arm and the baseline differ in and neither names."""
    named = {*part.changes, *one.arm(one.baseline).changes}
    prefixes = {key if key.split(".")[0] in ("model", "data") else f"recipe.{key}" for key in named}
    return {
        field
        for field in changed(one, part.name)
        if not any(f"{field}.".startswith(f"{prefix}.") for prefix in prefixes)
    }


def idle(one: Study, part: Arm) -> set[str]:
    """What an arm names, differs in from the baseline's list of changes, and has no effect."""
    base, fields = one.arm(one.baseline).changes, changed(one, part.name)
    keys = {key for key, value in part.changes.items() if key not in base or base[key] != value}
    full = {key: key if key.split(".")[0] in ("model", "data") else f"recipe.{key}" for key in keys}
    return {key for key in keys if not any(f"{field}.".startswith(f"{full[key]}.") for field in fields)}


def test_an_arm_changes_what_it_says_and_nothing_else(one: Study) -> None:
    assert {part.name: found for part in one.arms if (found := beyond(one, part))} == {}
    assert {part.name: found for part in one.arms if (found := idle(one, part))} == {}


def test_an_idle_change_would_be_found() -> None:
    @study(question="?", expectation=".", model="simplenn", data="cifar10", baseline="a", recipe={"lr": 0.1})
    def tiny() -> Any:
        yield arm("a")
        yield arm("b", lr=0.1, epochs=3)
        yield arm("c", {"model.norm": "batch"}, data="digits")
        yield greater("b", "a", "S1.28")

    found = tiny()
    assert [idle(found, part) for part in found.arms] == [set(), {"lr"}, set()]
    assert [changed(found, part.name) for part in found.arms] == [
        set(), {"recipe.epochs"}, {"model.norm", "data.source"},
    ]  # fmt: skip


def test_every_try_can_be_configured(one: Study) -> None:
    for part in one.arms:
        tried = [
            configs.spelled_out(one.config(Arm(part.name, {**part.changes, **new}), 0)) for new in part.tries
        ]
        assert len({configs.identity(config, "") for config in tried}) == len(part.tries)


def network(config: configs.RunConfig) -> tuple[str, tuple[int, int]]:
    """What decides an architecture: the model with its options, and the shape of an image."""
    return spelling.write(config.model.name, config.model.options), SHAPES[config.data.source]


def test_every_network_answers_an_image_of_its_data() -> None:
    wanted = {network(spelled(name, part.name)) for name in NAMES for part in made(name).arms}
    for model, (channels, size) in sorted(wanted):
        net = build(model, classes=10, channels=channels, size=size).eval()
        with torch.inference_mode():
            logits = net(torch.zeros(1, channels, size, size))
        assert logits.shape == (1, 10) and bool(logits.isfinite().all()), model


# What single studies promise --------------------------------------------------------------------------------


def test_the_widths_pass_the_threshold_by_hand() -> None:
    numbers = [785 * h + (h + 1) * 10 for h in WIDTHS]
    assert len(WIDTHS) >= 16
    assert max(number for number in numbers if number <= 4_000 * 10) == 39_760  # H = 50
    assert numbers[0] < 40_000 / 8 and numbers[-1] > 40_000 * 8
    net = build("mlp", width=50, classes=10, channels=1, size=28)
    assert sum(parameter.numel() for parameter in net.parameters()) == 39_760


def test_the_short_study_takes_away_one_thing_at_a_time() -> None:
    short = made("resnet20-short")
    assert {part.name: sorted(changed(short, part.name)) for part in short.arms} == {
        "all": [],
        "no decay of the rate": ["recipe.schedule.every", "recipe.schedule.factor", "recipe.schedule.name"],
        "no L2": ["recipe.weight_decay"],
        "Swish for ReLU": ["model.activation"],
        "no batch norm": ["model.norm"],
        "no augmentation": ["recipe.augment"],
    }


def test_optimizers_get_the_same_number_of_rates() -> None:
    for name in ("resnet20-adam", "resnet20-momentum"):
        assert {len(part.tries) for part in made(name).arms} == {3}


def test_the_depthwise_study_shares_its_first_arm_with_the_short_one() -> None:
    one, short = made("depthwise"), made("resnet20-short")
    assert key_of(one.config(one.arm("3x3"), 0)) == key_of(short.config(short.arm("all"), 0))
