"""A run that was killed ends as if it had not been: rows A1, A3, A4, A8, A10, A12 and G3 of the fault matrix.

Identical means equal SHA-256 of all weights, buffers and optimizer state, of the best weights, of every line
of metrics and of the result, times left out (tiny.digest).
"""

import json
import os
import random
import shutil
import signal
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch

from convscope.compute import environment
from convscope.core import records
from convscope.core.errors import Diverged, UsageError
from convscope.core.records import RunPaths
from convscope.data import Batches, Normaliser, load_config
from convscope.train import hooks, loop, run
from convscope.train.events import Prepared

KILLED = -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(nursery: tiny.Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run in a process that nobody killed."""
    root = tmp_path_factory.mktemp("undisturbed")
    nursery.finish(root)
    return root


def test_the_tiny_run_shuffles_and_augments() -> None:
    """Else the tests below could pass without a right resume."""
    config = tiny.config()
    data = load_config(config.data)
    normalise = Normaliser(data.mean, data.std)
    batches = Batches(
        data.train, batch_size=32, augment=config.recipe.augment, normalise=normalise,
        streams=loop.Streams(3), device=torch.device("cpu"),
    )  # fmt: skip
    orders = [torch.cat([batches.which(9 * epoch + i) for i in range(9)]).tolist() for epoch in range(3)]
    assert len({*map(tuple, orders), tuple(range(270))}) == 4
    plain = normalise(data.train.batch(batches.which(4)))
    changed = (batches.at(4)[0] != plain).flatten(1).any(1)
    assert changed.float().mean() > 0.9
    # The same image is changed in another way in the next epoch.
    image = int(batches.which(4)[0])
    again = next(step for step in range(9, 18) if image in batches.which(step).tolist())
    first, second = batches.at(4)[0][0], batches.at(again)[0][batches.which(again).tolist().index(image)]
    assert not torch.equal(first, second)


def check_steps(root: Path, undisturbed: Path) -> None:
    """Every step, whoever made it and how often, is the step the undisturbed run made."""
    wanted = {record["step"]: record for record in tiny.log(undisturbed)}
    assert sorted(wanted) == list(range(tiny.STEPS))
    made = tiny.log(root)
    assert {record["step"] for record in made} == set(wanted)
    for record in made:
        assert record == wanted[record["step"]]
    for epoch in range(3):
        seen = [image for step in range(9 * epoch, 9 * epoch + 9) for image in wanted[step]["which"]]
        assert sorted(seen) == list(range(270))


def killed_run(
    nursery: tiny.Nursery,
    root: Path,
    deaths: list[Callable[[], int]],
    watch: Callable[[], None] = lambda: None,
) -> list[str]:
    """Kill a run again and again, then let it finish; gives the digest of its newest checkpoint at each death."""
    states = []
    for death in deaths:
        code = death()
        if code != KILLED:
            assert code == 0
            break
        folder = next(root.glob("*/seed-*/checkpoints"), None)
        states.append(tiny.of_snapshot(folder) if folder else "none")
        watch()
    nursery.finish(root)
    return states


def test_kill_minus_nine_eight_times(nursery: tiny.Nursery, undisturbed: Path, tmp_path: Path) -> None:
    """A1: eight kills of four runs, two of them while a checkpoint is being written."""
    wanted = tiny.digest(undisturbed)
    straight = seconds_of(nursery, tmp_path)
    dice = random.Random(20)
    fired = 0
    for number in range(4):
        root = tmp_path / f"{number}"
        # Operation 20 is the second half of the first checkpoint's tensors, 64 to 75 lie in later snapshots.
        inside = [[20], [], [dice.randint(64, 75)], []][number]
        deaths = [lambda at=at, root=root: nursery.wait(nursery.start(root, die_at=at)) for at in inside]
        while len(deaths) < 2:
            deaths.append(lambda root=root: nursery.killed_after(dice.uniform(0.05, 0.6 * straight), root))
        states = killed_run(nursery, root, deaths)
        assert all(state != wanted["last"] for state in states)
        assert tiny.digest(root) == wanted
        check_steps(root, undisturbed)
        fired += len(states)
    assert fired == 8


def seconds_of(nursery: tiny.Nursery, tmp_path: Path) -> float:
    """How long the tiny run takes in a process of its own, now."""
    started = os.times().elapsed
    nursery.finish(tmp_path / "timed")
    return os.times().elapsed - started


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("net", list(tiny.NETS))
def test_fifty_kills_of_three_networks(
    nursery: tiny.Nursery, tmp_path: Path, net: str, precision: str
) -> None:
    """A1 whole: about nine kills for each of six, 54 in all, two of each nine inside a checkpoint."""
    cache = tmp_path / "straight"
    nursery.finish(cache, net, precision=precision)
    wanted = tiny.digest(cache)
    started = os.times().elapsed
    nursery.finish(tmp_path / "timed", net, precision=precision)
    straight = os.times().elapsed - started
    dice = random.Random(net + precision)
    fired = 0
    while fired < 9:
        root = tmp_path / f"{fired}-{dice.random()}"
        if fired % 4 == 0:
            at = dice.choice([19, 20, 27, 66, 67, 75])
            death = [lambda root=root, at=at: nursery.wait(nursery.start(root, net, at, precision=precision))]
        else:
            wait = dice.uniform(0.05, straight)
            death = [lambda root=root, s=wait: nursery.killed_after(s, root, net, precision=precision)]
        states = []
        code = death[0]()
        if code == KILLED:
            states.append(code)
        else:
            assert code == 0
        nursery.finish(root, net, precision=precision)
        assert tiny.digest(root) == wanted
        fired += len(states)
        shutil.rmtree(root)


@pytest.mark.slow
def test_twenty_kills_of_one_run_that_is_moved_each_time(
    nursery: tiny.Nursery, undisturbed: Path, tmp_path: Path
) -> None:
    """A3 and A10: several kills per epoch; the directory is renamed after every one."""
    wanted = tiny.digest(undisturbed)
    dice = random.Random(1)
    root = tmp_path / "0"
    kills = 0
    for number in range(60):
        # At an operation: it makes at least a step of progress now and then, and never finishes too early.
        code = nursery.wait(nursery.start(root, die_at=dice.randint(1, 22)))
        assert code in (KILLED, 0)
        if code == 0:
            break
        kills += 1
        root = root.rename(tmp_path / f"{number + 1}")
    assert kills >= 20
    nursery.finish(root)
    assert tiny.digest(root) == wanted
    check_steps(root, undisturbed)


# Deaths at awkward moments, in one process ----------------------------------------------------------------


def die_before_step(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = loop.take_step

    def take_step(session: loop.Session) -> None:
        if session.step == number:
            raise tiny.Crash(f"before step {number}")
        original(session)

    monkeypatch.setattr(loop, "take_step", take_step)


def die_in_validation(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = hooks.logits, iter(range(1, 99))

    def logits(*given: Any, **named: Any) -> torch.Tensor:
        if next(calls) == number:
            raise tiny.Crash(f"in validation {number}")
        return original(*given, **named)

    monkeypatch.setattr(hooks, "logits", logits)


def die_before(operation: str, name: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(1, 99))

    def note(now: str, path: Path) -> None:
        if now == operation and path.name.startswith(name) and next(calls) == number:
            raise tiny.Crash(f"before {operation} {name}")

    monkeypatch.setattr("convscope.core.files.on_operation", note)


MOMENTS: dict[str, Callable[[int, pytest.MonkeyPatch], None]] = {
    "after a number of steps": lambda n, patch: die_before_step([9, 1, 4, 8, 11][n], patch),
    "in validation": lambda n, patch: die_in_validation([2, 1, 3, 2, 3][n], patch),
    "best is saved, metrics are not": lambda n, patch: die_before(
        "append", "metrics", [2, 1, 3, 1, 2][n], patch
    ),
    "metrics are on the disk, the next checkpoint is not": (
        lambda n, patch: die_before("open", ["step-00000008", "step-00000012"][n % 2], 1, patch)
    ),
    "all is done but the result": lambda n, patch: die_before("open", "result", 1, patch),
}


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 5))])
def test_death_at_an_awkward_moment(
    straight: dict[str, str], tmp_path: Path, moment: str, number: int
) -> None:
    """A4."""
    with pytest.MonkeyPatch.context() as patch:
        MOMENTS[moment](number, patch)
        with pytest.raises(tiny.Crash):
            tiny.go(tmp_path, **tiny.SHORTER)
    found = tiny.digest(tmp_path) if list(tmp_path.glob("*/seed-*/best/*")) else None
    assert found != straight
    tiny.go(tmp_path, **tiny.SHORTER)
    assert tiny.digest(tmp_path) == straight


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(
    ("epochs", "every"), [(3, 7), pytest.param(30, 9, marks=pytest.mark.slow)], ids=["3 epochs", "30 epochs"]
)
def test_rate_momentum_and_images_are_equal_at_every_step(tmp_path: Path, epochs: int, every: int) -> None:
    """G3: a run that dies again and again makes the same steps, with the same rate and the same weights."""

    def steps(root: Path, deaths: Iterator[int]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        for death in deaths:
            with tiny.traced(made.append), pytest.MonkeyPatch.context() as patch:
                die_before_step(death, patch)
                try:
                    tiny.go(root, "muon", epochs=epochs)
                except tiny.Crash:
                    continue
        return made

    wanted = steps(tmp_path / "straight", iter([-1]))
    assert len({record["weights"] for record in wanted}) == len(wanted) == 9 * epochs
    # Of the steps 0 ... 26: the first rises, epochs 2 and 3 have a tenth and a hundredth of the peak.
    assert [round(wanted[s]["lr"], 6) for s in (0, 1, 2, 3, 12, 26)] == [
        0.02,
        0.04,
        0.06,
        0.06,
        0.006,
        0.0006,
    ]
    made = steps(tmp_path / "killed", iter([*range(every, 9 * epochs, every), -1]))
    assert len(made) > len(wanted)
    for record in made:
        assert record == wanted[record["step"]]
    assert tiny.digest(tmp_path / "killed") == tiny.digest(tmp_path / "straight")


# Finished, moved, changed -----------------------------------------------------------------------------------


def content(root: Path) -> dict[str, tuple[bytes, int]]:
    """Every file with its time of change."""
    found = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in found}


def no_steps(record: dict[str, Any]) -> None:
    raise AssertionError(f"step {record['step']} was made")


@pytest.mark.usefixtures("cheap")
def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    """A8, first case, three launches."""
    first = tiny.go(tmp_path, **tiny.SHORTER)
    before = content(tmp_path)
    with tiny.traced(no_steps):
        for _ in range(3):
            again = tiny.go(tmp_path, **tiny.SHORTER)
            assert (again.root, again.result) == (first.root, first.result)
    assert content(tmp_path) == before


@pytest.mark.usefixtures("cheap")
def test_a_diverged_run_is_not_trained_again(tmp_path: Path) -> None:
    """A8, second case: the same error, with what it said the first time."""
    with pytest.raises(Diverged) as first:
        tiny.go(tmp_path, lr=1e30, **tiny.SHORTER)
    before = content(tmp_path)
    with tiny.traced(no_steps):
        for _ in range(3):
            with pytest.raises(Diverged) as again:
                tiny.go(tmp_path, lr=1e30, **tiny.SHORTER)
            assert str(again.value) == (
                f"{tiny.directory(tmp_path)} ended before: {first.value} The same run would diverge again."
            )
    assert content(tmp_path) == before


@pytest.mark.usefixtures("cheap")
def test_a_run_that_was_moved_goes_on(straight: dict[str, str], tmp_path: Path) -> None:
    """A10: moved out of its results root and renamed; nothing in it says where it was."""
    root = tmp_path / "first place"
    for number, place in enumerate(["second place", "third place"]):
        with pytest.MonkeyPatch.context() as patch:
            die_before_step([6, 10][number], patch)
            with pytest.raises(tiny.Crash):
                if number == 0:
                    tiny.go(root, **tiny.SHORTER)
                else:
                    run.resume(next(root.glob("*/seed-*")), cache_dir=tmp_path / "cache")
        root = root.rename(tmp_path / place)
        for name, (data, _) in content(root).items():
            assert str(tmp_path).encode() not in data, name
    alone = tmp_path / "elsewhere" / "renamed"
    alone.parent.mkdir()
    tiny.directory(root).rename(alone)
    run.resume(alone, cache_dir=tmp_path / "cache")
    alone.rename(next(root.glob("*-synthetic-*")) / "seed-3")
    assert tiny.digest(root) == straight


def most_of_a_run(root: Path) -> None:
    """Up to the checkpoint of step 8; few steps are left, for two threads on one core are slow."""
    with pytest.MonkeyPatch.context() as patch:
        die_before_step(11, patch)
        with pytest.raises(tiny.Crash):
            tiny.go(root, **tiny.SHORTER)


@pytest.mark.usefixtures("cheap")
def test_another_number_of_threads_is_refused(tmp_path: Path) -> None:
    """A12."""
    most_of_a_run(tmp_path)
    before = content(tmp_path)
    where = tiny.directory(tmp_path)
    with tiny.traced(no_steps), pytest.raises(UsageError) as error:
        tiny.go(tmp_path, **tiny.SHORTER, threads=2)
    assert (
        str(error.value)
        == (
            f"{where} cannot be continued bit for bit here. The number of threads differs: 1 then, 2 now. "
            f"Continue where it began, or accept another result with --allow-different."
        )
        and error.value.exit_code == 2
    )
    assert content(tmp_path) == before


@pytest.mark.usefixtures("cheap")
def test_another_library_is_marked_when_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A12: as for threads, of which two on one busy core would take five seconds."""
    most_of_a_run(tmp_path)
    change = f"The oneDNN version differs: {environment.onednn_version()} then, 0.0 now."
    monkeypatch.setattr(environment, "onednn_version", lambda: "0.0")
    events: list[Any] = []
    tiny.go(tmp_path, **tiny.SHORTER, allow_different=True, watch=events.append)
    (prepared,) = [event for event in events if isinstance(event, Prepared)]
    assert prepared.notes == (f"Not bit-exact from here on: {change}",)
    record = records.read_json(RunPaths(tiny.directory(tmp_path)).environment)
    assert (record["bit_exact"], record["changes"]) == (False, [change])


@pytest.mark.usefixtures("cheap")
def test_a_run_that_was_continued_elsewhere_stays_marked(tmp_path: Path) -> None:
    most_of_a_run(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        die_before_step(9, patch)
        patch.setattr(environment, "onednn_version", lambda: "0.0")
        with pytest.raises(tiny.Crash):
            tiny.go(tmp_path, **tiny.SHORTER, allow_different=True)
    events: list[Any] = []
    tiny.go(tmp_path, **tiny.SHORTER, watch=events.append)
    (prepared,) = [event for event in events if isinstance(event, Prepared)]
    assert prepared.notes == ("Not bit-exact since an earlier continuation.",)


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
def test_continuing_with_other_threads_is_as_good_on_average(tmp_path: Path) -> None:
    """A12: the accuracy lies within three standard deviations of six undisturbed runs."""

    def accuracy(root: Path) -> float:
        result = records.read_json(RunPaths(tiny.directory(root)).result)
        return float(result["final"]["accuracy"])

    for seed in range(6):
        tiny.go(tmp_path / f"{seed}", seed=seed, images=600, epochs=3)
    known = [accuracy(tmp_path / f"{seed}") for seed in range(6)]
    root = tmp_path / "other"
    with pytest.MonkeyPatch.context() as patch:
        die_before_step(40, patch)
        with pytest.raises(tiny.Crash):
            tiny.go(root, images=600, epochs=3)
    tiny.go(root, images=600, epochs=3, threads=2, allow_different=True)
    spread = max(statistics.stdev(known), 0.01)
    assert abs(accuracy(root) - statistics.mean(known)) < 3 * spread


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("hours", [-24, 24])
def test_a_clock_that_jumps_a_day_changes_nothing(
    straight: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    """E5: only the steady clocks are read, so no time is negative or absurd."""
    import time

    asked = []

    def jumping() -> float:
        asked.append(None)
        return 1.8e9 + hours * 3600 * len(asked)

    monkeypatch.setattr(time, "time", jumping)
    tiny.go(tmp_path, **tiny.SHORTER)
    assert tiny.digest(tmp_path) == straight
    times = [record["seconds"] for record in records.read(RunPaths(tiny.directory(tmp_path)).metrics)]
    assert times == sorted(times) and times[0] > 0 and times[-1] < 60


@pytest.mark.usefixtures("cheap")
def test_the_same_seed_again_and_the_callers_generators(tmp_path: Path) -> None:
    """C8: equal in one process; neither NumPy's nor Python's nor torch's global generator has moved."""
    import numpy as np

    def states() -> tuple[Any, ...]:
        legacy = np.random.get_state()  # noqa: NPY002
        return torch.get_rng_state().tolist(), legacy[1].tolist(), legacy[2], random.getstate()

    torch.manual_seed(5)
    before = states()
    for name in "ab":
        tiny.go(tmp_path / name, **tiny.SHORTER)
        assert states() == before
        torch.rand(3)
        random.random()
        before = states()
    assert tiny.digest(tmp_path / "a") == tiny.digest(tmp_path / "b")
    tiny.go(tmp_path / "c", seed=4, **tiny.SHORTER)
    assert tiny.digest(tmp_path / "c")["last"] != tiny.digest(tmp_path / "a")["last"]


@pytest.mark.slow
def test_twenty_repeats_two_processes_at_once(nursery: tiny.Nursery, tmp_path: Path) -> None:
    """C8 whole."""
    found = set()
    for number in range(10):
        roots = [tmp_path / f"{number}{name}" for name in "ab"]
        pids = [nursery.start(root, **tiny.SHORTER) for root in roots]
        assert [nursery.wait(pid) for pid in pids] == [0, 0]
        found |= {json.dumps(tiny.digest(root)) for root in roots}
    assert len(found) == 1
