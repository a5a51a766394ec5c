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
def test_fine_tuning_starts_only_the_last_layer_anew(tmp_path: Path) -> None:
    """84 x 2 + 2 by hand; LeNet-5 has 61,706 parameters for ten classes, 850 of them in its last layer."""
    text = (EXAMPLES / "02_fine_tune_on_a_folder.py").read_text()
    brief = tmp_path / "lesson.py"
    brief.write_text(text.replace("EPOCHS = 40", "EPOCHS = 12").replace("TARGET = 0.80", "TARGET = 0"))
    told = ran(brief, tmp_path).stdout
    assert f"3. {84 * 2 + 2} of {61_706 - 850 + 170:,} parameters started anew" in told
    points = [float(found) for found in re.findall(r"([+-][\d.]+) points$", told, re.MULTILINE)]
    assert len(points) == 3
    mean = re.search(r"^5\. ([+-][\d.]+) points on average", told, re.MULTILINE)
    assert mean and float(mean[1]) == pytest.approx(sum(points) / 3, abs=0.15)


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
