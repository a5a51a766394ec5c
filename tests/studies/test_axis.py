"""Where the arms of a sweep stand, and which axis is none; asked when a study is made, so before its first run."""

from dataclasses import replace

import pytest
from made import study

from convscope.core.errors import ConfigError
from convscope.studies.axis import Swept, swept
from convscope.studies.design import arm, factorial

RATES: dict[str, dict[str, dict[str, float]]] = {
    "rate": {"low": {"lr": 0.01}, "high": {"lr": 0.1}},
    "batch": {"small": {}, "large": {"batch_size": 256}},
}


def test_a_change_is_taken_from_the_arm_or_else_from_what_it_would_have_been() -> None:
    made = study(arm("plain"), arm("large", lr=0.5), axis="lr")
    rate = made.config(made.arms[0], 0).recipe.lr
    assert swept(made) == Swept("", {"plain": rate, "large": 0.5}, is_log=True)
    wide = study(arm("plain"), arm("dropped", {"model.dropout": 0.5}), axis="model.dropout")
    assert swept(wide).values == {"plain": 0.0, "dropped": 0.5}


def test_a_factor_of_numbers_is_its_levels() -> None:
    made = study(
        *factorial({"noise": {"0": {}, "0.4": {"data.label_noise": "symmetric:rate=0.4"}}}), axis="noise"
    )
    assert swept(made) == Swept("noise", {"noise 0": 0.0, "noise 0.4": 0.4}, is_log=False)


def test_a_change_belongs_to_the_factor_that_decides_it() -> None:
    assert swept(study(*factorial(RATES), axis="lr")).factor == "rate"


def test_an_axis_without_numbers_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        study(arm("relu"), arm("swish", {"model.activation": "swish"}), axis="model.activation")
    assert str(caught.value) == (
        "study tiny: the axis model.activation is 'auto' in arm 'relu'. An axis is a factor whose levels "
        "are numbers, or a change that is one in every arm: lr, weight_decay, model.width."
    )


def test_a_factorial_whose_axis_is_no_factor_is_refused() -> None:
    *mixed, last = factorial(RATES)
    mixed.append(replace(last, changes={"batch_size": 256, "lr": 0.4}))  # the rate grows with the batch
    with pytest.raises(ConfigError) as caught:
        study(*mixed, axis="lr")
    assert str(caught.value) == (
        "study tiny: the axis lr goes with none of the factors rate, batch, so its arms are no lines. Take an axis "
        "that one factor decides, or none."
    )
