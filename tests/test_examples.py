"""Each lesson runs as its reader would run it, reaches its target, and says so when it does not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
LESSONS = sorted(EXAMPLES.glob("[0-9]*.py"))


def ran(lesson: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(lesson)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda path: path.stem)
def test_the_lesson_reaches_its_target(lesson: Path, tmp_path: Path) -> None:
    done = ran(lesson, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "runs").is_dir()


@pytest.mark.slow
def test_a_missed_target_fails(tmp_path: Path) -> None:
    text = (EXAMPLES / "01_train_a_network.py").read_text()
    unreachable = tmp_path / "lesson.py"
    unreachable.write_text(text.replace("TARGET = 0.95", "TARGET = 1.01").replace("epochs=12", "epochs=0.5"))
    done = ran(unreachable, tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(r"The target is 101%, and the network reached [\d.]+%\.\n", done.stderr)


def test_every_lesson_is_listed() -> None:
    listed = re.findall(r"^\| `(\w+\.py)`", (EXAMPLES / "README.md").read_text(), re.MULTILINE)
    assert listed == [lesson.name for lesson in LESSONS]
