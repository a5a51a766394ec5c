"""D13: whatever a server does, the final name holds the published bytes or does not exist."""

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from convscope.core import files
from convscope.core.errors import DownloadFailed
from convscope.data import download
from convscope.data.download import fetch

CONTENT = bytes(range(256)) * 300
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FAULTS = ("html", "truncated", "503", "wrong", "dies", "stalls", "wrong range")
REASONS = {
    "html": "it sent a web page instead of the file",
    "truncated": "it ended after 30,000 of 76,800 bytes",
    "503": "it answered 503 Service Unavailable",
    "wrong": "the bytes it sent do not have the published SHA-256",
    "dies": "it ended after 20,000 of 76,800 bytes",
    "stalls": "nothing came for 0.2 seconds",
    "wrong range": "it sent another part of the file than was asked for",
}


class Server(ThreadingHTTPServer):
    """Serves CONTENT under any path; the path names the fault."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str]] = []
        """(fault, Range header) of each request."""
        self.release = threading.Event()

    def url(self, fault: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{fault.replace(' ', '-')}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:  # noqa: PLR0912
        fault = self.path[1:]
        asked = self.headers.get("Range", "")
        self.server.asked.append((fault.replace("-", " "), asked))
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        match fault:
            case "html":
                self.answer(200, b"<html>Please log in</html>", kind="text/html; charset=utf-8")
            case "truncated":
                self.answer(200, CONTENT[:30_000], length=len(CONTENT))
            case "503":
                self.send_error(503)
            case "wrong":
                self.answer(200, CONTENT[::-1])
            case "dies":
                self.answer(200, CONTENT[:20_000], length=len(CONTENT))
                self.connection.close()
            case "stalls":
                self.answer(200, b"", length=len(CONTENT))
                self.server.release.wait(10)
            case "drips":
                self.answer(200, b"", length=len(CONTENT))
                for byte in CONTENT:
                    if self.server.release.wait(0.05):
                        return
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
            case "wrong-range":
                self.answer(206, CONTENT[5:], extra=f"bytes 5-{len(CONTENT) - 1}/{len(CONTENT)}")
            case "416":
                if asked:
                    self.send_error(416)
                else:
                    self.answer(200, CONTENT)
            case "no-ranges":
                self.answer(200, CONTENT)
            case "good":
                ranged = f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}" if asked else ""
                self.answer(206 if asked else 200, CONTENT[start:], extra=ranged)

    def answer(
        self,
        code: int,
        body: bytes,
        *,
        length: int | None = None,
        kind: str = "application/octet-stream",
        extra: str = "",
    ) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if extra:
            self.send_header("Content-Range", extra)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.release.set()
        running.shutdown()
        thread.join()


def get(server: Server, faults: tuple[str, ...], to: Path, timeout: float = 0.2) -> None:
    fetch("the file", tuple(server.url(fault) for fault in faults), SHA256, to, timeout)


def test_a_good_mirror_delivers(server: Server, tmp_path: Path) -> None:
    to = tmp_path / "new" / "file.gz"
    get(server, ("good",), to)
    assert to.read_bytes() == CONTENT
    assert server.asked == [("good", "")]
    assert sorted(path.name for path in to.parent.iterdir()) == [".lock", "file.gz"]


@pytest.mark.parametrize("position", range(5))
@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_mirror_is_passed_over(server: Server, tmp_path: Path, fault: str, position: int) -> None:
    """Six faults and one more, at five positions in the list of mirrors."""
    others = tuple(FAULTS[(FAULTS.index(fault) + k) % 3] for k in range(1, position + 1))
    mirrors = (*others, fault, "good")
    to = tmp_path / "file.gz"
    if fault == "wrong range":  # only happens to somebody who asks for a range
        (tmp_path / "file.gz.part").write_bytes(CONTENT[:1000])
        mirrors = (fault, "good")
    get(server, mirrors, to)
    assert to.read_bytes() == CONTENT
    assert fault in [name for name, _ in server.asked]
    assert server.asked[-1][0] == "good"
    assert not (tmp_path / "file.gz.part").exists()


def test_all_mirrors_failing_are_all_named_and_nothing_has_the_final_name(
    server: Server, tmp_path: Path
) -> None:
    to = tmp_path / "file.gz"
    mirrors = ("html", "503", "wrong", "dies", "stalls")
    with pytest.raises(DownloadFailed) as caught:
        get(server, mirrors, to)
    lines = "".join(f"\n  {server.url(fault)}: {REASONS[fault]}" for fault in mirrors)
    assert str(caught.value) == (
        f"the file could not be downloaded; no mirror gave the right bytes.{lines}\n"
        f"Try again later: what arrived is continued. Or put the file at {to} yourself."
    )
    assert not to.exists()


@pytest.mark.parametrize("fault", FAULTS)
def test_every_reason(server: Server, tmp_path: Path, fault: str) -> None:
    if fault == "wrong range":
        (tmp_path / "file.gz.part").write_bytes(CONTENT[:1000])
    with pytest.raises(DownloadFailed) as caught:
        get(server, (fault,), tmp_path / "file.gz")
    assert str(caught.value).splitlines()[1] == f"  {server.url(fault)}: {REASONS[fault]}"


def test_a_dead_host_is_named(tmp_path: Path, server: Server) -> None:
    closed = "http://127.0.0.1:1/file"
    with pytest.raises(DownloadFailed) as caught:
        fetch("the file", (closed,), SHA256, tmp_path / "file.gz")
    line = str(caught.value).splitlines()[1]
    assert line.startswith(f"  {closed}: it cannot be reached (")


def test_a_broken_connection_is_continued_by_the_next_mirror(server: Server, tmp_path: Path) -> None:
    get(server, ("dies", "good"), tmp_path / "file.gz")
    assert server.asked == [("dies", ""), ("good", "bytes=20000-")]
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_a_killed_download_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:50_000])
    get(server, ("good",), tmp_path / "file.gz")
    assert server.asked == [("good", "bytes=50000-")]
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["no ranges", "416"])
def test_a_server_without_ranges_starts_over(server: Server, tmp_path: Path, fault: str) -> None:
    (tmp_path / "file.gz.part").write_bytes(CONTENT[:50_000])
    get(server, (fault,), tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_wrong_bytes_of_an_earlier_attempt_are_not_blamed_on_a_good_mirror(
    server: Server, tmp_path: Path
) -> None:
    (tmp_path / "file.gz.part").write_bytes(b"\0" * 50_000)
    get(server, ("good",), tmp_path / "file.gz")
    assert server.asked == [("good", "bytes=50000-"), ("good", "")]
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_no_network_is_used_for_what_is_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(CONTENT)
    get(server, ("good",), tmp_path / "file.gz")
    (tmp_path / "other.gz.part").write_bytes(CONTENT)  # killed between the last byte and the rename
    get(server, ("good",), tmp_path / "other.gz")
    assert (tmp_path / "other.gz").read_bytes() == CONTENT
    assert server.asked == []


def test_a_wrong_file_under_the_final_name_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.gz").write_bytes(b"<html>")
    get(server, ("good",), tmp_path / "file.gz")
    assert (tmp_path / "file.gz").read_bytes() == CONTENT


def test_a_server_that_drips_is_given_up(server: Server, tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(DownloadFailed) as caught:
        get(server, ("drips",), tmp_path / "file.gz")
    assert time.monotonic() - start < 5
    reason = "it sent less than 10,000 bytes per second"
    assert str(caught.value).splitlines()[1] == f"  {server.url('drips')}: {reason}"


def test_a_death_before_the_rename_leaves_no_final_name(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fired = []

    def die(operation: str, path: Path) -> None:
        if operation == "replace":
            fired.append(path.name)
            raise KeyboardInterrupt

    monkeypatch.setattr(files, "on_operation", die)
    with pytest.raises(KeyboardInterrupt):
        get(server, ("good",), tmp_path / "file.gz")
    assert fired == ["file.gz"]
    assert not (tmp_path / "file.gz").exists()
    assert (tmp_path / "file.gz.part").read_bytes() == CONTENT


def test_a_failing_disk_is_not_blamed_on_the_mirror(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(operation: str, path: Path) -> None:
        if operation == "open":
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "on_operation", refuse)
    with pytest.raises(PermissionError):
        get(server, ("good", "good"), tmp_path / "file.gz")
    assert len(server.asked) == 1


def test_two_processes_fetch_once(server: Server, tmp_path: Path) -> None:
    to = tmp_path / "file.gz"
    threads = [threading.Thread(target=get, args=(server, ("good",), to)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert to.read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_the_default_timeout_is_short_enough_to_be_waited_for() -> None:
    assert download.TIMEOUT == 30.0
