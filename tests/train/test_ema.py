"""The average of the weights: its formula, that it is what is scored and kept, and that a resume keeps it."""

from pathlib import Path

import pytest
import tiny
import torch
from torch import nn

from convscope.data import load_config
from convscope.evaluate.metrics import score
from convscope.evaluate.predict import logits
from convscope.evaluate.runs import tensors_of
from convscope.train.ema import Ema


def test_the_average_by_hand() -> None:
    """One number that is 1, 2, 3, ... after each step; shares of the old 1/10, 2/11, 3/12, then 0.25."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, decay=0.25)
    expected = 0.0
    for step, kept in enumerate((1 / 10, 2 / 11, 3 / 12, 0.25, 0.25)):
        nn.init.constant_(model.weight, step + 1)
        ema.update(model, step)
        expected = kept * expected + (1 - kept) * (step + 1)
        assert float(ema.model.weight) == pytest.approx(expected, rel=1e-6)


def test_statistics_are_averaged_and_counts_are_copied() -> None:
    model = nn.BatchNorm2d(2)
    ema = Ema(model, decay=0.5)
    assert model.running_mean is not None and model.num_batches_tracked is not None
    model.running_mean.fill_(2.0)
    model.num_batches_tracked.fill_(7)
    ema.update(model, step=1000)
    assert ema.model.running_mean.tolist() == [1.0, 1.0] and int(ema.model.num_batches_tracked) == 7


def test_it_agrees_with_torchs_own_average() -> None:
    """After the first steps, where theirs has no smaller share."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    ours = Ema(model, 0.9)
    theirs = torch.optim.swa_utils.AveragedModel(
        model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True
    )
    theirs.update_parameters(model)  # the first update copies
    for step in range(1000, 1005):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update(model, step)
        theirs.update_parameters(model)
    for a, b in zip(ours.model.parameters(), theirs.module.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


@pytest.mark.usefixtures("cheap")
def test_the_average_is_scored_kept_and_resumed(tmp_path: Path) -> None:
    """A1 and G3 with an average: a run that dies after a checkpoint ends with the same average."""
    run = tiny.go(tmp_path / "whole", "resnet", ema=0.9)
    saved = run.snapshot("last")
    average, learned = tensors_of(saved, "ema"), tensors_of(saved, "model")
    assert average.keys() == learned.keys()
    assert not torch.equal(average["conv1.weight"], learned["conv1.weight"])
    assert torch.equal(run.model("last").state_dict()["conv1.weight"], average["conv1.weight"])
    val = load_config(run.config.data).val
    scores = score(logits(run.model("last"), val, run.card("last").normalise), val.labels)
    assert run.result is not None and scores.loss == run.result["final"]["loss"]

    with pytest.raises(tiny.Crash), tiny.traced(tiny.crash_after(17)):
        tiny.go(tmp_path / "killed", "resnet", ema=0.9)
    assert list((tiny.directory(tmp_path / "killed") / "checkpoints").iterdir())
    tiny.go(tmp_path / "killed", "resnet", ema=0.9)
    assert tiny.digest(tmp_path / "killed") == tiny.digest(tmp_path / "whole")
