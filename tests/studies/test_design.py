"""A study's runs differ in what its arms say, and in nothing else: not in split, weights, order or augmentation."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "train"))

import tiny

from convscope.core import catalog
from convscope.core import config as configs
from convscope.core.config import RunConfig
from convscope.core.errors import UnknownName
from convscope.data import load_config
from convscope.studies.design import (
    Arm,
    Comparison,
    Published,
    Study,
    arm,
    equal,
    factorial,
    greater,
    is_study,
    less,
    made,
    study,
)
from convscope.train import loop, prepare, run

BASE: dict[str, Any] = {
    "model": {"name": "lenet5", "norm": "batch"},
    "data": {"source": "synthetic", "options": {"images": 60, "size": 28, "noise": 0.4}},
    "recipe": {"epochs": 1, "batch_size": 16, "lr": 0.1, "augment": tiny.AUGMENT, "warmup": 0.0},
}


def build(*parts: Arm | Comparison, **options: Any) -> Study:
    given = {"name": "s", "title": "S", "question": "?", "expectation": "!", "base": BASE, "baseline": "a"}
    return made(parts, **{**given, "measure": "final_accuracy", **options})


# What arms share -------------------------------------------------------------------------------------------


def first_batch(asked: RunConfig) -> tuple[loop.Session, torch.Tensor, torch.Tensor, list[int]]:
    """A run before its first step: its weights, its first images and labels, and its split."""
    data = load_config(asked.data)
    session, _, _ = prepare.build_session(run.resolve(asked, data), data, torch.device("cpu"))
    images, labels = session.batches.at(0)
    return session, images.clone(), labels.clone(), data.val.labels.tolist()


def test_all_runs_compute_in_the_precision_of_the_study() -> None:
    arms = (arm("a"), arm("b", lr=0.05))
    for found, precision in ((build(*arms), "auto"), (build(*arms, precision="float32"), "float32")):
        assert [found.config(each, 0).compute.precision for each in found.arms] == 2 * [precision]


def test_arms_of_one_seed_share_split_weights_order_and_augmentation() -> None:
    found = build(arm("a"), arm("b", lr=0.05))
    runs = {(name, seed): found.config(found.arm(name), seed) for name in "ab" for seed in (0, 1)}
    assert configs.differences(runs["a", 0], runs["b", 0]) == ["recipe.lr: 0.1 -> 0.05"]
    assert configs.differences(runs["a", 0], runs["a", 1]) == ["seed: 0 -> 1"]

    begun = {key: first_batch(asked) for key, asked in runs.items()}
    for seed in (0, 1):
        (one, *first), (other, *second) = begun["a", seed], begun["b", seed]
        assert one.rate() != other.rate()
        assert tiny.of_tensors(one.model.state_dict()) == tiny.of_tensors(other.model.state_dict())
        assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])
    (one, images, labels, split), (other, *others) = begun["a", 0], begun["a", 1]
    assert split == others[2], "the split is that of all seeds"
    assert tiny.of_tensors(one.model.state_dict()) != tiny.of_tensors(other.model.state_dict())
    assert not torch.equal(images, others[0]) and not torch.equal(labels, others[1])


def test_a_factor_may_be_the_split_itself() -> None:
    found = build(arm("a"), arm("b", {"data.split_seed": 1}))
    (_, *first), (_, *second) = (first_batch(found.config(found.arm(name), 0)) for name in "ab")
    assert first[2] != second[2]


# Changes ---------------------------------------------------------------------------------------------------


def of(changes: dict[str, Any]) -> RunConfig:
    return build(arm("a", lr=0.7), arm("b", changes)).config(arm("b", changes), 3, threads=2)


def test_a_change_of_each_kind() -> None:
    assert of({"lr": 0.2}).recipe.lr == of({"recipe.lr": 0.2}).recipe.lr == 0.2
    assert of({"model.norm": "none"}).model.spelled() == "lenet5:norm=none"
    assert of({"model": "simplenn"}).model.spelled() == "simplenn"  # without the options of the other
    assert of({"data.label_noise": "symmetric:rate=0.2"}).data.label_noise == configs.choice(
        "symmetric:rate=0.2"
    )
    assert of({"data.label_noise": "symmetric:rate=0.2"}).data.options == BASE["data"]["options"]
    assert of({"data": "digits"}).data == configs.DataConfig(source="digits")
    asked = of({"optimizer": "adam"})
    assert (asked.seed, asked.compute.threads, asked.recipe.optimizer.name) == (3, 2, "adam")


def test_the_network_is_changed_before_its_options_in_whatever_order_they_stand() -> None:
    """Goes red when changes are made in the order of the dictionary: the network would come without batch norm."""
    for changes in (
        {"model.norm": "batch", "model": "simplenn"},
        {"model": "simplenn", "model.norm": "batch"},
    ):
        assert of(changes).model.spelled() == "simplenn:norm=batch"


def test_a_study_with_another_base_has_other_runs_and_the_same_arms() -> None:
    found = build(arm("a"), arm("b", lr=0.05))
    short = found.with_base({"epochs": 0.5, "model.norm": "none"})
    assert short.arms == found.arms
    assert configs.differences(found.config(found.arms[1], 0), short.config(short.arms[1], 0)) == [
        "model.norm: batch -> none", "recipe.epochs: 1.0 -> 0.5",
    ]  # fmt: skip


# Factorials ------------------------------------------------------------------------------------------------

FACTORS: dict[str, dict[str, dict[str, Any]]] = {
    "norm": {"none": {"model.norm": "none"}, "batch": {}},
    "rate": {"0.1": {}, "0.2": {"lr": 0.2}, "0.3": {"lr": 0.3}},
}


def test_a_factorial_has_an_arm_for_every_combination_with_its_published_number() -> None:
    number = Published(0.7, "S1.1")
    found = build(*factorial(FACTORS, {("none", "0.2"): number}), baseline="norm none, rate 0.1", axis="rate")
    assert [(arm.name, arm.changes, arm.published) for arm in found.arms] == [
        ("norm none, rate 0.1", {"model.norm": "none"}, None),
        ("norm none, rate 0.2", {"model.norm": "none", "lr": 0.2}, number),
        ("norm none, rate 0.3", {"model.norm": "none", "lr": 0.3}, None),
        ("norm batch, rate 0.1", {}, None),
        ("norm batch, rate 0.2", {"lr": 0.2}, None),
        ("norm batch, rate 0.3", {"lr": 0.3}, None),
    ]
    assert found.factors == {"norm": ["none", "batch"], "rate": ["0.1", "0.2", "0.3"]}
    assert found.comparisons == ()  # effects and interactions are reported instead


def test_without_cells_there_are_no_factors() -> None:
    assert build(arm("a"), arm("b", lr=0.2)).factors == {}


# Comparisons -----------------------------------------------------------------------------------------------


def test_without_statements_every_arm_is_compared_with_the_baseline() -> None:
    arms = [arm("b", lr=0.2), arm("a"), arm("c", lr=0.3)]
    assert build(*arms).comparisons == (Comparison("b", "different", "a"), Comparison("c", "different", "a"))
    stated = greater("b", "a", "S1.1")
    assert build(*arms, stated).comparisons == (stated,)


def test_statements_in_words() -> None:
    assert [str(c) for c in (
        greater("b", "a", ""), less("b", "a", ""), equal("b", "a", within=0.02), Comparison("b", "different", "a"),
    )] == ["b > a", "b < a", "b = a within 0.02", "b against a"]  # fmt: skip


def test_the_measures_of_a_study_are_its_own_then_the_others_and_each_once() -> None:
    found = build(
        arm("a"), arm("b", lr=0.2), less("b", "a", "", measure="gap"), less("b", "a", ""),
        also=("macs", "final_accuracy"),
    )  # fmt: skip
    assert found.measures == ("final_accuracy", "macs", "gap")


def test_an_unknown_arm_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        build(arm("alpha"), arm("b", lr=0.2), baseline="b").arm("alfa")
    assert str(caught.value) == "No arm of study s is called 'alfa'. Did you mean 'alpha'? Known: alpha, b."


# Looks -----------------------------------------------------------------------------------------------------


def test_a_measure_over_time_has_its_diagnostic_look() -> None:
    """Once, if `inspect` or a second measure names it too; not at all for a measure at the end."""
    found = build(
        arm("a"), arm("b", lr=0.2), greater("b", "a", "", measure="smoothness:batches=2/beta@max"),
        measure="weights/total_l2@last", also=("weights/total_zero@mean", "activations/dead", "gap"),
        inspect=("curvature:top=1", "smoothness:batches=2"), inspect_every="5 steps",
    )  # fmt: skip
    compute = found.config(found.arms[0], 0).compute
    assert [choice.spelled() for choice in compute.inspect] == [
        "curvature:top=1",
        "smoothness:batches=2",
        "weights",
    ]
    assert compute.inspect_every == "5 steps"


def test_a_default_that_is_spelled_out_is_no_second_way_to_look() -> None:
    found = build(
        arm("a"), arm("b", lr=0.2), measure="weights/total@max", inspect=("weights:threshold=0.01",)
    )
    assert found.looks == ("weights",)


# The decorator ---------------------------------------------------------------------------------------------


@study(
    question="?", expectation="!", model="lenet5:norm=batch", data="digits", baseline="a", recipe={"lr": 0.1}, seeds=4,
)  # fmt: skip
def ten_times() -> Iterator[Arm]:
    """Ten times the rate.

    And more.
    """
    yield arm("a")
    yield arm("b", lr=1.0)


def test_a_decorated_function_gives_its_study() -> None:
    found = ten_times()
    assert (found.name, found.title, found.seeds) == ("ten-times", "Ten times the rate", 4)
    assert found.base == {
        "model": {"name": "lenet5", "norm": "batch"}, "data": {"source": "digits"}, "recipe": {"lr": 0.1},
    }  # fmt: skip
    assert found.measure == "final_accuracy"
    assert ten_times() == found


def test_only_decorated_functions_are_studies() -> None:
    assert is_study(ten_times)
    for other in (made, study, Study, build, found := ten_times(), "ten_times", None):
        assert not is_study(other)
    assert found.arm("b").changes == {"lr": 1.0}


@pytest.mark.parametrize("name", catalog.names("studies"))
def test_every_shipped_study_can_be_asked_for(name: str) -> None:
    """Its arms, measures and statements pass review.py; published numbers carry a source by the same token."""
    found: Study = catalog.call("studies", name, {})
    assert found.name == name
    assert is_study(catalog.find("studies", name).load())
