"""Every measure by hand, from the files of a run that was trained for it."""

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "train"))

import tiny

from convscope import diagnostics
from convscope.core import config as configs
from convscope.core import records
from convscope.core.errors import ConfigError, UnknownName
from convscope.evaluate.runs import Run
from convscope.evaluate.subject import Result
from convscope.studies import measures
from convscope.studies.measures import HIGHER_IS_BETTER, OVER_TIME, measured


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """4 validations, the best of them not the last, and looks at the weights at the steps 0, 5, 10 and 12."""
    with tiny.cheap():
        run = tiny.go(
            tmp_path_factory.mktemp("run"), **{**tiny.SHORTER, "validate_every": "3 steps"}, seed=1, lr=0.3,
            inspect=["weights"], inspect_every="5 steps",
        )  # fmt: skip
        assert (run.snapshot("best").step, run.snapshot("last").step) == (9, 12)
        yield run


def written(run: Run, name: str) -> list[dict[str, Any]]:
    """The lines of a file of records, read as anybody would."""
    return [json.loads(line) for line in (run.root / name).read_text().splitlines()]


def test_the_measures_of_every_run_by_hand(ended: Run) -> None:
    history, result = written(ended, "metrics.jsonl"), json.loads((ended.root / "result.json").read_text())
    accuracies = [line["val_correct"] / line["val_images"] for line in history]
    assert len({accuracies[-1], max(accuracies), sum(accuracies) / 4}) == 3, "else this tells nothing"
    network, data = ended.model("last"), ended.data()
    with torch.no_grad():
        logits = network(ended.card("last").normalise(data.val.batch(torch.arange(len(data.val)))))
    final = (logits.argmax(1) == data.val.labels).double().mean().item()
    loss = torch.nn.functional.cross_entropy(logits, data.val.labels).item()
    seen = result["train_sample"]["correct"] / result["train_sample"]["images"]
    found = measured(ended, [])
    assert found == {
        "final_accuracy": pytest.approx(final, abs=1e-12),
        "best_accuracy": pytest.approx(max(accuracies), abs=1e-12),
        "mean_accuracy": pytest.approx(sum(accuracies) / 4, abs=1e-12),
        "final_loss": pytest.approx(loss, rel=1e-5),
        "train_accuracy": seen,
        "gap": pytest.approx(seen - final, abs=1e-12),
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": macs(network, data.shape),
    }
    assert all(type(value) is float for value in found.values())


def macs(network: torch.nn.Module, shape: tuple[int, ...]) -> int:
    """Products of one image: every number that a layer with weights puts out takes one weight of its unit each."""
    total = 0

    def count(layer: Any, entered: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += output.numel() * layer.weight[0].numel()

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear)
    ]
    network(torch.zeros(1, *shape))
    for hook in hooks:
        hook.remove()
    return total


def test_every_measure_has_a_direction_an_explanation_and_a_value(ended: Run) -> None:
    assert set(measures.EXPLAINED) == set(HIGHER_IS_BETTER)
    assert {name for name, value in measured(ended, []).items() if value is not None} == set(HIGHER_IS_BETTER)


def test_a_diagnostic_at_the_end_looks_at_the_last_weights(ended: Run) -> None:
    """The best ones are others."""
    ask = ("activations/dead_share", "activations:images=20/forward_factor", "weights/total_l2")
    found = measured(ended, ask)
    for name, options, number in (
        ("activations", {}, "dead_share"), ("activations", {"images": 20}, "forward_factor"), ("weights", {}, "total_l2"),
    ):  # fmt: skip
        key = f"{configs.Choice(name=name, options=options).spelled()}/{number}"
        assert found[key] == getattr(diagnostics.inspect(ended, name, weights="last", **options), number)
    assert (
        found["activations:images=20/forward_factor"]
        != measured(ended, ["activations/forward_factor"])["activations/forward_factor"]
    )
    weights = [p for p in ended.model("last").parameters() if p.dim() >= 2]
    by_hand = math.sqrt(sum(p.double().square().sum().item() for p in weights))
    assert found["weights/total_l2"] == pytest.approx(by_hand, rel=1e-9)


def test_a_diagnostic_over_time_is_taken_from_its_looks(ended: Run) -> None:
    looks = [line["total_l2"] for line in written(ended, "inspections.jsonl")]
    assert len(looks) == 4 and len(set(looks)) == 4
    by_hand = {"max": max(looks), "min": min(looks), "mean": sum(looks) / 4, "last": looks[-1]}
    assert set(by_hand) == set(OVER_TIME)
    found = measured(ended, [f"weights/total_l2@{when}" for when in by_hand])
    for when, value in by_hand.items():
        assert found[f"weights/total_l2@{when}"] == pytest.approx(value, rel=1e-12)


def test_a_diagnostic_that_did_not_look_has_no_number(ended: Run) -> None:
    assert measured(ended, ["activations/dead@max"])["activations/dead@max"] is None


def test_looks_that_found_no_number_are_left_out_of_those_over_time(tmp_path: Path) -> None:
    """After the last step of most schedules the rate is 0 and smoothness finds none: that must not cost the others."""

    def found(*looks: float | str) -> list[float | None]:
        run = Run(tmp_path / " ".join(map(str, looks)))
        for value in looks:
            records.append(run.paths.inspections, {"step": 0, "diagnostic": "smoothness", "beta": value})
        return [
            measures._over_time(run, f"smoothness/beta@{when}") for when in ("max", "min", "mean", "last")
        ]

    assert found("nan", 1.0, 4.0) == [4.0, 1.0, 2.5, 4.0]
    assert found(1.0, 4.0, "nan") == [4.0, 1.0, 2.5, pytest.approx(math.nan, nan_ok=True)]
    assert found(1.0, "inf") == [math.inf, 1.0, math.inf, math.inf]
    assert found("nan")[:3] == [None] * 3


def test_what_is_not_finite_is_none(ended: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = diagnostics.inspect(ended, "weights")
    asked: list[dict[str, Any]] = []

    def inspect(run: Run, name: str, **given: Any) -> Result:
        asked.append(given)
        return replace(looked, total_l1=math.inf, total_l2=math.nan)  # type: ignore[type-var,call-arg]

    monkeypatch.setattr(diagnostics, "inspect", inspect)
    data = ended.data()
    found = measured(ended, ["weights/total_l1", "weights/total_l2", "weights/total_small"], data)
    assert (found["weights/total_l1"], found["weights/total_l2"]) == (None, None)
    assert found["weights/total_small"] is not None
    assert [given["data"] for given in asked] == [data], (
        "one look for three numbers, at the data that are there"
    )


def test_without_validation_images_there_is_nothing_but_the_network_and_the_training(
    ended: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = {key: value for key, value in (ended.result or {}).items() if key != "final"}
    monkeypatch.setattr(Run, "result", result)
    found = measured(ended, [])
    assert {name for name, value in found.items() if value is not None} == {
        "train_accuracy",
        "parameters",
        "macs",
    }


def test_a_number_that_only_a_network_can_tell_is_answered_with_those_it_has(ended: Run) -> None:
    found = measured(ended, ["moments/images"])
    assert found["moments/images"] == len(ended.data().val)  # all validation images
    measures.check("moments/norm9.input_mean")
    with pytest.raises(UnknownName) as caught:
        measured(ended, ["moments/norm9.input_mean"])
    numbers = diagnostics.inspect(ended, "moments").scalars()
    assert str(caught.value).startswith(
        "No number of the diagnostic moments is called 'norm9.input_mean'. Did you mean"
    )
    assert str(caught.value).endswith(f" Known: {', '.join(sorted(numbers))}.")


# Names -----------------------------------------------------------------------------------------------------


def test_directions() -> None:
    better = {name for name in HIGHER_IS_BETTER if measures.higher_is_better(name)}
    assert better == {"final_accuracy", "best_accuracy", "mean_accuracy", "train_accuracy"}
    with pytest.raises(ConfigError) as caught:
        measures.higher_is_better("weights/total")
    assert str(caught.value) == (
        "More of 'weights/total' is neither better nor worse, so nothing can be chosen by it. Choose by one of "
        "final_accuracy, best_accuracy, mean_accuracy, final_loss, train_accuracy, gap, parameters, macs."
    )


def test_shares_are_shown_in_percent_at_the_end_and_over_time() -> None:
    shares = (
        "final_accuracy", "gap", "activations/dead_share", "activations/dead_share@max", "weights/total_small",
        "calibration/accuracy@mean",
    )  # fmt: skip
    assert all(map(measures.is_share, shares))
    assert not any(map(measures.is_share, ("final_loss", "macs", "activations/dead", "weights/total_l1@max")))


def test_labels() -> None:
    assert measures.label("final_accuracy") == "final accuracy"
    assert measures.label("weights:bins=9/total_l1@max") == "weights:bins=9: total l1, max"


def test_what_looks_during_a_run() -> None:
    names = (
        "gap",
        "weights/total@max",
        "weights/total_l1@min",
        "activations:images=20/dead@last",
        "rank/used",
    )
    assert measures.looked(names) == ("weights", "activations:images=20")


def test_an_option_may_hold_a_slash() -> None:
    choice, number, when = measures._parts("landscape:path=a/b/total@max")
    assert (choice.options, number, when) == ({"path": "a/b"}, "total", "max")


@dataclass(frozen=True)
class Counted(Result):
    """Every kind of field."""

    subject: str
    count: int
    share: float
    flag: bool
    maybe: float | None
    many: tuple[float, ...]


def test_the_plain_numbers_of_a_result_are_known_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def count() -> Counted:
        raise AssertionError("it must not be called")

    class Item:
        def load(self) -> Any:
            return count

    monkeypatch.setattr(measures.catalog, "find", lambda kind, name: Item())
    assert measures._numbers_of("counted") == ("count", "share")
    assert set(Counted("", 1, 0.5, True, None, ()).scalars()) == {"count", "share"}
