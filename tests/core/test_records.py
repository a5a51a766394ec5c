"""Lines carry their own checksum, a torn last one is left out, and readers need no lock."""

import json
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convscope.core import records
from convscope.core.errors import DamagedFile
from convscope.core.records import Claim, RunPaths

RECORDS = [
    {"step": step, "val_loss": 1 / (step + 1), "name": 'ü, "crc": "', "none": None} for step in (0, 5, 10)
]


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """4 ms each, a thousand times; test_files.py and test_power_loss.py see to it that they happen."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    for record in RECORDS:
        records.append(tmp_path / "metrics.jsonl", record)
    return tmp_path / "metrics.jsonl"


def test_the_last_key_is_the_checksum_of_the_line_without_it() -> None:
    """By hand: zlib's CRC-32 of the text `{"step": 1}`."""
    text = records.line({"step": 1})
    crc = zlib.crc32(b'{"step": 1}')
    assert text == '{"step": 1, "crc": "' + f"{crc:08x}" + '"}'
    assert json.loads(text) == {"step": 1, "crc": json.loads(text)["crc"]}


def test_what_is_appended_is_what_is_read(path: Path) -> None:
    assert records.read(path) == RECORDS
    # Readable by anybody who knows JSON lines.
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [0, 5, 10]


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert records.read(tmp_path / "nothing") == []


def test_a_cut_at_every_byte_of_the_last_line_costs_that_line_only(path: Path) -> None:
    content = path.read_bytes()
    last = content[:-1].rfind(b"\n") + 1
    for length in range(last, len(content)):
        path.write_bytes(content[:length])
        assert records.read(path) == RECORDS[:2]
        # The next line goes after the last whole one, not after the torn one.
        records.append(path, {"step": 11})
        assert records.read(path) == [*RECORDS[:2], {"step": 11}]
    assert length == len(content) - 1


def test_a_changed_byte_in_the_last_line_costs_that_line(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)
    assert records.read(path) == RECORDS[:2]


def test_a_changed_byte_before_the_last_line_is_an_error(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"step": 5', b'"step": 6'))
    with pytest.raises(DamagedFile) as error:
        records.read(path)
    assert str(error.value) == (
        f"{path}, line 2: the content does not agree with its checksum. The lines before it, 1 in all, are intact."
    )


@given(
    st.dictionaries(
        st.text(max_size=5),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=9)
        | st.floats(allow_nan=False, allow_infinity=False),
        min_size=1,
    )
)
@settings(max_examples=60, deadline=None, database=None)
def test_any_record_survives(tmp_path_factory: pytest.TempPathFactory, record: dict[str, object]) -> None:
    path = tmp_path_factory.mktemp("any") / "lines"
    records.append(path, record)
    assert records.read(path) == [record]


def test_a_value_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.append(tmp_path / "lines", {"loss": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        records.write_json(tmp_path / "result.json", {"loss": float("inf")})
    assert not list(tmp_path.iterdir())


def test_rewinding_drops_what_will_be_written_again(path: Path) -> None:
    before = path.read_bytes()
    records.rewind(path, 11)
    assert path.read_bytes() == before
    records.rewind(path, 10)
    assert records.read(path) == RECORDS[:2]
    assert path.read_bytes() == before[: len(path.read_bytes())]
    records.rewind(path, 0)
    assert path.read_bytes() == b""
    records.rewind(path.with_name("nothing"), 0)


def test_readers_beside_a_writer_never_fail(tmp_path: Path) -> None:
    """F3 in small: the file is read while it grows."""
    path = tmp_path / "lines"
    done = threading.Event()

    def write() -> None:
        for step in range(150):
            records.append(path, {"step": step, "text": "x" * 500})
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    reads = 0
    while not done.is_set() or reads == 0:
        steps = [record["step"] for record in records.read(path)]
        assert steps == list(range(len(steps)))
        reads += 1
    writer.join()
    assert len(records.read(path)) == 150


def test_json_files(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    records.write_json(path, {"a": [1, 2.5, "ü"]})
    assert records.read_json(path) == {"a": [1, 2.5, "ü"]}
    path.write_text("{'a'")
    with pytest.raises(DamagedFile) as error:
        records.read_json(path)
    assert str(error.value).startswith(f"{path} is not JSON: Expecting property name")


def test_where_the_parts_of_a_run_lie() -> None:
    paths = RunPaths(Path("/runs/lenet5-digits-0123456789/seed-0"))
    assert {name: str(getattr(paths, name)) for name in ("config", "metrics", "best", "openings")} == {
        "config": "/runs/lenet5-digits-0123456789/seed-0/config.toml",
        "metrics": "/runs/lenet5-digits-0123456789/seed-0/metrics.jsonl",
        "best": "/runs/lenet5-digits-0123456789/seed-0/best",
        "openings": "/runs/test-openings.jsonl",
    }


def test_a_claim_says_everything_in_two_lines() -> None:
    claim = Claim(
        what="lenet5 on digits, accuracy of the best weights", value=0.98765, low=0.9712, high=0.99481,
        interval="Wilson 95 %", n="359 images, 1 seed", split="validation", device="cpu", commit="0123abc",
        command="convscope train",
    )  # fmt: skip
    assert str(claim) == (
        "lenet5 on digits, accuracy of the best weights: 98.77% [97.12%, 99.48%] (Wilson 95 %, n = 359 images, "
        "1 seed, validation split)\n  cpu, commit 0123abc: convscope train"
    )
