"""`convscope study`: from the command to files, on runs of a second, and what it answers to what it cannot do."""

import csv
import errno
import io
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from rich.console import Console

from convscope.cli import study as verb
from convscope.cli.completion import candidates
from convscope.cli.main import main
from convscope.core import catalog
from convscope.core.errors import ConvscopeError, UsageError
from convscope.studies import conduct, run_study
from convscope.studies import design as designs
from convscope.studies.design import Study, arm, greater
from convscope.studies.file import read
from convscope.studies.journal import Line
from convscope.studies.plan import ArmPlan, Plan
from convscope.studies.tables import refuse_another
from convscope.studies.task import Task
from convscope.train import preflight

Command = Callable[..., tuple[int, str, str]]
FILE = """\
name = "small"
question = "Does batch norm help?"
expectation = "A little."
model = "lenet5"
data = { source = "synthetic", options = { images = 160, size = 16 } }
baseline = "plain"
seeds = 3

[recipe]
epochs = 2
batch_size = 32

[[arm]]
name = "plain"

[[arm]]
name = "batch norm"
"model.norm" = "batch"
published = { value = 0.9, source = "S1.38" }

[[arm]]
name = "wild"
lr = 1e30

[[claim]]
arm = "batch norm"
form = "greater"
than = "plain"
source = "S1.38"

[[claim]]
arm = "wild"
form = "less"
than = "plain"
source = "S1.44"
"""


@pytest.fixture(autouse=True)
def untimed(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long a step takes is measured before every run, and interests nobody here."""
    monkeypatch.setattr(preflight, "TIMED_S", 0.0)


class Done(NamedTuple):
    """The study of FILE, made by `serial`."""

    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Once for this file, in each process that has tests of it."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.toml").write_text(FILE)
    out, err = io.StringIO(), io.StringIO()
    words = [
        "study",
        folder / "small.toml",
        "--executor",
        "serial",
        "--root",
        folder / "runs",
        "--cache-dir",
        folder,
    ]
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(preflight, "TIMED_S", 0.0)
        assert main([str(word) for word in words]) == 0
    return Done(folder, out.getvalue(), err.getvalue())


@pytest.fixture
def done(made: Done) -> Path:
    """The folder in which it was made."""
    return made.folder


def test_from_a_file_to_tables_figures_and_a_page(made: Done) -> None:
    done, out, err = made
    folder = done / "runs" / "studies" / "small"
    assert sorted(path.name for path in folder.iterdir()) == [
        "curves.png", "intervals.png", "provenance.csv", "runs.csv", "study.json", "study.md", "table.csv",
    ]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO((folder / "runs.csv").read_text())))
    assert [(row["arm"], row["seed"]) for row in rows] == [
        (name, str(seed)) for name in ("plain", "batch norm", "wild") for seed in range(3)
    ]
    assert [row["status"] for row in rows[6:]] == ["diverged"] * 3
    assert "wild < plain: as claimed, without a p: 3 of 3 runs of 'wild' diverged, and none of 'plain'" in out
    assert "wild, seed 2: diverged: Step " in err
    assert "90.00 % (S1.38)" in out
    assert "![curves](curves.png)" in (folder / "study.md").read_text()


def test_the_same_command_makes_nothing_again(done: Path, command: Command) -> None:
    """Without its runs and without its data: the journal is enough."""
    journal = (done / "runs" / "studies" / "journal.jsonl").read_bytes()
    code, out, err = command(
        "study", done / "small.toml", "--root", done / "elsewhere", "--into", done / "runs" / "studies"
    )
    assert (code, err) == (0, "")
    assert (done / "runs" / "studies" / "journal.jsonl").read_bytes() == journal
    assert not (done / "elsewhere").exists()


def test_show_tells_what_there_is_of_a_study_that_is_not_complete(done: Path, command: Command) -> None:
    code, out, _ = command(
        "study",
        done / "small.toml",
        "--show",
        "--seeds",
        4,
        "--into",
        done / "runs" / "studies",
        "--format",
        "none",
    )
    assert code == 0
    assert "3 of 4: 1 not run" in out


def test_other_values_for_all_arms_are_another_study(done: Path, command: Command) -> None:
    code, out, _ = command(
        "study", done / "small.toml", "--plan", "--set", "epochs=1", "--seeds", 2, "--root", done / "runs"
    )
    assert code == 0
    assert out.startswith("small@epochs=1: ")
    assert "6 runs on " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Which study? Name one or more, or a file: "),
        (["--plan", "--show", "x"], "--plan times what is to be run, --show runs nothing. Give one of them."),
        (["simplen-decay"], "No study is called 'simplen-decay'. Did you mean 'simplenn-decay'"),
        (["none.toml"], "none.toml"),
        (["simplenn-decay", "--set", "epochs"], "--set takes KEY=VALUE, e.g. --set epochs=2, not 'epochs'."),
        (
            ["simplenn-decay", "--set", "epochs=2", "lr=1", "epochs=3"],
            "--set gives epochs twice, 2 and 3. Leave one of them out.",
        ),
        (
            ["simplenn-decay", "--set", "epoch=2"],
            "study simplenn-decay: 'epoch' is nothing that an arm can change.",
        ),
        (
            ["simplenn-decay", "--model.norm", "batch"],
            "There is no flag --model.norm here. For all runs: --set model.norm=batch.",
        ),
        (["simplenn-decay", "--address", "x:1"], "--address belongs to --executor ray, not to processes."),
        (
            ["simplenn-decay", "--plan", "--address", "x:1"],
            "--address belongs to --executor ray, not to processes.",
        ),
    ],
)
def test_what_it_cannot_do_is_said_before_anything_runs(
    words: list[str], said: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = command("study", *words)
    assert code in (2, 3)
    assert said in err and out == ""
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_its_ending_is_named(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").touch()
    assert command("study", "mine")[1:] == (
        "",
        "convscope: No study is called 'mine', but there is a file: convscope study mine.py.\n",
    )


def design() -> Study:
    base = {"model": {"name": "lenet5"}, "data": {"source": "digits"}, "recipe": {}}
    return designs.made(
        [arm("a"), arm("b", lr=0.3), greater("b", "a", "S1.1")], name="s", title="A study", question="Is it?",
        expectation="Yes.", base=base, baseline="a", measure="final_accuracy",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "workers"), [(["serial"], 1), (["processes"], 3), (["processes", "--workers", 2], 2)]
)
def test_a_plan_counts_the_workers_there_will_be(
    done: Path, command: Command, monkeypatch: pytest.MonkeyPatch, words: list[object], workers: int
) -> None:
    monkeypatch.setattr("convscope.compute.device.usable_cores", lambda: 3)
    _, out, _ = command(
        "study",
        done / "small.toml",
        "--plan",
        "--set",
        "epochs=1",
        "--root",
        done / "runs",
        "--executor",
        *words,
    )
    assert f" on {workers} worker{'s' * (workers > 1)}: about " in out


def test_a_plan_in_words() -> None:
    arms = (ArmPlan("a", 3, 90.0, timed=True), ArmPlan("b", 5, 5.0, timed=False))
    assert verb.plan_text(design(), Plan(arms, 2, 5, 0.01, "assumed by the study", 0.0166)) == (
        "s: A study\n"
        "Question: Is it?\n"
        "Expected: Yes.\n"
        "\n"
        "arm  runs to make        each  known from\n"
        "a               3  1 min 30 s  steps timed now\n"
        "b               5       5.0 s  runs in the journal\n"
        "\n"
        "8 runs on 2 workers: about 2 min 28 s, if nothing else runs.\n"
        "5 seeds show a difference of 1.66 points with 80 % power at the 5 % level, if differences deviate by "
        "1.00 points (assumed by the study)."
    )


def test_a_plan_that_was_timed_beside_other_work_says_so() -> None:
    found = Plan((ArmPlan("a", 2, 9.0, timed=True),), 1, 5, 0.01, "assumed by the study", 0.0166, load=1.5)
    said = "2 runs on 1 worker: about 18 s, or less: 1.5 other processes ran while it was timed."
    assert said in verb.plan_text(design(), found)


def test_a_plan_of_one_seed_promises_nothing() -> None:
    text = verb.plan_text(design(), Plan((ArmPlan("a", 1, 9.0, timed=True),), 1, 1, 0.01, "", None))
    assert text.endswith("One seed: no interval and no verdict; 3 seeds are the least.")


def test_failed_runs_are_an_error_after_all_is_written(
    done: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convscope.studies import executors, task

    def broken(tasks: list[Task], progress: object) -> object:
        for one in tasks:
            yield one, task.failed(one, "It fell over.")

    monkeypatch.setattr(executors, "serial", broken)
    root = done / "broken"
    code, out, err = command(
        "study", done / "small.toml", "--executor", "serial", "--root", root, "--format", "none"
    )
    assert code == 1
    assert err.endswith("convscope: 9 runs failed, as the tables say. The same command tries again.\n")
    assert "0 of 3: 3 failed" in out
    assert (root / "studies" / "small" / "study.md").exists()


def test_progress_in_a_terminal_ends_with_the_lines_of_the_runs() -> None:
    display = verb.Display(design())
    display.console = Console(force_terminal=True, width=100, record=True, file=io.StringIO())
    config = design().config(design().arms[0], 0)
    one = Task("k", "a", 0, config, ("final_accuracy",), None)  # type: ignore[arg-type]
    display(one, 0.5)
    display(one, Line("k", "", "finished", numbers={"final_accuracy": 0.5}, provenance={"seconds": 61.0}))
    display.close()
    assert "a, seed 0: 50.00 %  (1 min 1 s)" in display.console.export_text()


def test_what_is_left_is_judged_by_what_was_made_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two runs one goes on from nine tenths: a tenth took 6 s, so the other takes a minute."""
    clock = iter([0.0, 6.0])
    monkeypatch.setattr(verb.time, "monotonic", lambda: next(clock))
    display = verb.Display(design())
    said: list[str] = []
    monkeypatch.setattr(display, "_say", said.append)
    config = design().config(design().arms[0], 0)
    one, other = (Task(key, "a", 0, config, ("final_accuracy",), None) for key in "kl")  # type: ignore[arg-type]
    for task, news in ((one, 0.0), (other, 0.0), (one, 0.9), (one, 0.95)):
        display(task, news)
    display(one, Line("k", "", "finished"))
    assert said[0].endswith("; about 1 min 0 s left")


def test_flags_and_arguments_reach_the_study(
    done: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[dict[str, Any]] = []

    def conducted(
        study: Study, folder: Path, place: Any, *, executor: Any, watch: Any, **options: Any
    ) -> None:
        found.append({"folder": folder, "root": place.root, "workers": executor.count, **options})
        raise ConvscopeError("Enough.")

    monkeypatch.setattr(conduct, "conduct", conducted)
    words = ["--threads", 2, "--workers", 3, "--allow-mixed", "--root", tmp_path, "--into", tmp_path / "into"]
    assert command("study", done / "small.toml", *words)[0] == 1
    with pytest.raises(ConvscopeError):
        run_study(
            design(),
            executor="processes",
            workers=3,
            threads=2,
            root=tmp_path,
            into=tmp_path / "into",
            allow_mixed=True,
        )
    asked = {"folder": tmp_path / "into", "root": tmp_path, "workers": 3, "threads": 2, "allow_mixed": True}
    assert found == [asked, asked]


class Gone(io.StringIO):
    """A terminal that was closed."""

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


def test_a_terminal_that_is_gone_does_not_end_a_study(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())
    config = design().config(design().arms[0], 0)
    one = Task("k", "a", 0, config, ("final_accuracy",), None)  # type: ignore[arg-type]
    display = verb.Display(design())
    display(one, Line("k", "", "finished", numbers={"final_accuracy": 0.5}))
    # Nor does a bar that cannot be drawn any more: after the last run, no table would be written.
    display.console = Console(force_terminal=True, file=Gone())
    display._bar = SimpleNamespace(  # type: ignore[assignment]
        update=lambda *given, **more: Gone().write(""), stop=lambda: Gone().write("")
    )
    display(one, 0.5)
    display.close()


def test_a_folder_where_nothing_can_be_written(done: Path, command: Command, tmp_path: Path) -> None:
    file = done / "small.toml"
    words = ["study", file, "--executor", "serial", "--cache-dir", done, "--into"]
    said = "cannot be made a folder: File exists. Name a folder that is there, or a new one."
    assert command(*words, file)[::2] == (2, f"convscope: --into: {file} {said}\n")
    journal = tmp_path / "journal.jsonl"
    journal.mkdir()
    assert command(*words, tmp_path)[::2] == (2, f"convscope: {journal}: Is a directory.\n")


def test_two_studies_of_one_name(done: Path, command: Command, tmp_path: Path) -> None:
    other = tmp_path / "small.toml"
    other.write_text((done / "small.toml").read_text())
    code, _, err = command("study", done / "small.toml", other)
    assert code == 2
    assert err == (
        "convscope: Two studies are called 'small', and results go into a folder of that name. Name one otherwise.\n"
    )


def test_a_flag_with_several_values_is_given_once(command: Command) -> None:
    code, _, err = command("study", "simplenn-decay", "--set", "epochs=1", "--seeds", 1, "--set", "lr=0.1")
    assert (code, err) == (
        2,
        "convscope: --set is given twice, and the second would undo the first. Write --set A B.\n",
    )


def test_what_is_no_study_is_told_what_is(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as error:
        run_study(lambda: [], root=tmp_path)  # type: ignore[arg-type, return-value]
    assert str(error.value) == (
        "run_study takes a function decorated with `study`, a name of `convscope list studies` or a file, not list."
    )


def test_a_file_from_python_is_the_file_of_the_command(done: Path, tmp_path: Path) -> None:
    found = run_study(done / "small.toml", root=done / "runs", into=done / "runs" / "studies")
    assert found.study.name == "small" and found.is_complete


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"executor": "processes", "workers": -3},
         "workers cannot be -3: how many processes, or 0 for one per core."),
        ({"threads": 0}, "threads cannot be 0: results depend on their number, so it is given: 1 or more."),
    ],
)  # fmt: skip
def test_what_the_command_refuses_python_refuses_too(
    done: Path, tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UsageError) as error:
        run_study(done / "small.toml", root=tmp_path, **options)
    assert str(error.value) == sentence
    assert list(tmp_path.iterdir()) == []


OTHER = """\
from convscope.studies import arm, study


@study(question="?", expectation="!", model="lenet5", data="digits", baseline="a", name="small")
def one():
    yield arm("a")
    yield arm("b", lr=0.2)
"""


def test_another_study_of_the_same_name_overwrites_nothing(
    done: Path, command: Command, tmp_path: Path
) -> None:
    """What keeps its question, or an arm, is a later version of the same."""
    (tmp_path / "other.py").write_text(OTHER)
    folder = done / "runs" / "studies" / "small"
    before = (folder / "study.md").read_bytes()
    question = json.loads((folder / "study.json").read_text())["study"]["question"]
    said = (
        f"{folder} holds another study of this name, {question!r}. Give one of the two another name, or another folder "
        f"with --into; or remove that folder, whose runs stay in the journal."
    )
    assert command("study", tmp_path / "other.py", "--root", done / "runs")[::2] == (
        2,
        f"convscope: {said}\n",
    )
    with pytest.raises(UsageError) as error:
        run_study(tmp_path / "other.py", root=done / "runs")
    assert str(error.value) == said
    assert (folder / "study.md").read_bytes() == before
    (study,) = read(tmp_path / "other.py")
    refuse_another(replace(study, question=question), folder)
    (whole,) = read(done / "small.toml")
    refuse_another(replace(whole, question="Another?"), folder)


def test_a_file_with_two_studies_is_no_single_one(tmp_path: Path) -> None:
    path = tmp_path / "two.py"
    path.write_text(
        OTHER + OTHER.partition("\n\n\n")[2].replace("def one", "def two").replace("small", "large")
    )
    with pytest.raises(UsageError) as error:
        run_study(path, root=tmp_path)
    assert str(error.value) == (
        f"{path} holds 2 studies, small, large; run_study takes one. Import the function."
    )


def test_figures_that_are_drawn_no_more_are_taken_away(done: Path, command: Command, tmp_path: Path) -> None:
    stale, own = (tmp_path / "small" / name for name in ("sweep.png", "mine.png"))
    stale.parent.mkdir()
    shutil.copy(done / "runs" / "studies" / "journal.jsonl", tmp_path)
    for path in (stale, own):
        path.write_bytes(b"before")
    assert command("study", done / "small.toml", "--show", "--into", tmp_path)[0] == 0
    assert own.exists() and not stale.exists()


def test_completion_offers_studies() -> None:
    assert candidates(["study"]) == catalog.names("studies")
    assert "simplenn-decay" not in candidates(["study", "simplenn-decay"])
    assert "--plan" in candidates(["study", "simplenn-decay", "--seeds"])
