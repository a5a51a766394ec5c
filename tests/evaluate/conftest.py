"""The tiny run, for every test of this folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "train"))

import tiny


@pytest.fixture(scope="session")
def nursery() -> Iterator[tiny.Nursery]:
    warm = tiny.Nursery()
    yield warm
    warm.close()


@pytest.fixture
def cheap() -> Iterator[None]:
    with tiny.cheap():
        yield


@pytest.fixture(scope="session")
def straight(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digest of the short run that nothing disturbed."""
    root = tmp_path_factory.mktemp("straight")
    with tiny.cheap():
        tiny.go(root, **tiny.SHORTER)
    return tiny.digest(root)
