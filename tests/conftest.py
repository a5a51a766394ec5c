"""What all tests share: one thread each, and golden files.

Golden files are rewritten only by `pytest --update-golden`, and reviewed as a diff.
"""

import difflib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Before torch is imported: on tensors this small a second thread waits more than it works, and where another
# process wants that core too, the same tests were seen to take 36 s instead of 7.
os.environ.setdefault("OMP_NUM_THREADS", "1")

GOLDEN = Path(__file__).parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write what the tests produce into tests/golden/"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests on real data are left out where there are none."""
    if not os.environ.get("CONVSCOPE_DATA"):
        for item in items:
            if "real_data" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs $CONVSCOPE_DATA"))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden("resnet20.txt", text)` fails with a diff unless tests/golden/resnet20.txt holds that text."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        if not path.is_file():
            pytest.fail(f"There is no golden file {name}. Look at the text and run pytest --update-golden.")
        known = path.read_text(encoding="utf-8")
        if text != known:
            diff = difflib.unified_diff(
                known.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm="", n=1
            )
            pytest.fail("\n".join(["The text differs from its golden file:", *diff]), pytrace=False)

    return compare
