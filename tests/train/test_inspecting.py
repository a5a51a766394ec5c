"""A diagnostic that looks at a run changes nothing in it, and a continued run writes the same lines."""

from pathlib import Path
from typing import Any

import pytest
import tiny

from convscope.core import records
from convscope.core.errors import ConfigError
from convscope.core.records import RunPaths

LOOKING: dict[str, Any] = {
    "inspect": ["curvature:top=1,images=16,steps=6,probes=2"],
    "inspect_every": "4 steps",
}


def lines(root: Path) -> list[Any]:
    """What was found, without what it cost."""
    return [tiny.without_times(record) for record in records.read(RunPaths(tiny.directory(root)).inspections)]


# Goes red when the subject is the session's own network: curvature leaves gradients and modes behind.
@pytest.mark.usefixtures("cheap")
def test_a_run_that_is_looked_at_is_the_run_without_it(tmp_path: Path, straight: dict[str, str]) -> None:
    tiny.go(tmp_path, **tiny.SHORTER, **LOOKING)
    assert tiny.digest(tmp_path) == straight
    found = lines(tmp_path)
    assert [(record["step"], record["diagnostic"]) for record in found] == [
        (step, "curvature") for step in (0, 4, 8, 12)
    ]
    folder = RunPaths(tiny.directory(tmp_path)).inspections.with_suffix("")
    assert sorted(path.name for path in folder.glob("*.json")) == [
        f"curvature-{step:08}.json" for step in (0, 4, 8, 12)
    ]


@pytest.mark.usefixtures("cheap")
def test_a_continued_run_writes_the_same_lines(tmp_path: Path) -> None:
    """It dies behind the second checkpoint, at step 8, after it has looked there: that line is written again."""
    tiny.go(tmp_path / "straight", **tiny.SHORTER, **LOOKING)
    died = tmp_path / "died"

    def dies(record: dict[str, Any]) -> None:
        if record["step"] == 10:
            raise tiny.Crash

    with pytest.raises(tiny.Crash), tiny.traced(dies):
        tiny.go(died, **tiny.SHORTER, **LOOKING)
    assert [record["step"] for record in lines(died)] == [0, 4, 8]
    tiny.go(died, **tiny.SHORTER, **LOOKING)
    assert lines(died) == lines(tmp_path / "straight")


@pytest.mark.usefixtures("cheap")
def test_a_typo_is_answered_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        tiny.go(tmp_path, inspect=["curvature:tops=1"])
    assert str(caught.value) == (
        "The diagnostic 'curvature' has no option 'tops'. Did you mean 'top' or 'steps'? Options: images, loss, norm, "
        "probes, split, steps, tolerance, top."
    )
    assert list(tmp_path.iterdir()) == []
