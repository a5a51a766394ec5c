"""How does a published file get here, whole and right, or not at all?

In: mirrors and the SHA-256 somebody published.  Out: the file under its final
name, which exists only after its bytes were found to be those.  Bytes arrive
in a `.part` file beside it, which is continued where the server can do that,
after a broken connection as well as after a killed process.  Knows nothing of
what is in the file.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from convscope.core import files
from convscope.core.errors import DownloadFailed

TIMEOUT = 30.0
"""Seconds without one byte, or below SLOWEST on average, after which the next mirror is asked."""
SLOWEST = 10_000
"""Bytes per second: 170 MB would take five hours, so whoever is slower is taken for broken."""
_PIECE = 1 << 18
_WAIT_FOR_OTHERS = 3600.0
_PARTIAL_CONTENT = 206
_RANGE_NOT_SATISFIABLE = 416


@dataclass(frozen=True)
class Remote:
    """A published file."""

    file: str
    sha256: str
    size: int
    """In bytes, as published with the hash; used in messages only."""
    urls: tuple[str, ...]
    """Mirrors, asked in this order."""


class _MirrorFailed(Exception):
    """One mirror did not deliver; the text is the reason."""


def fetch(name: str, urls: tuple[str, ...], sha256: str, destination: Path, timeout: float = TIMEOUT) -> None:
    """Have a file with this SHA-256 under `destination`; no network is used if it is there already.

    Args:
        name: what to call the file in messages.
        urls: mirrors, asked in this order.
        sha256: 64 hexadecimal digits from a named publication.
        destination: the final name.
        timeout: seconds; see `TIMEOUT`.

    Raises:
        DownloadFailed: no mirror delivered these bytes; every mirror is named with its reason.
        NoSpace: the disk is full.
        OSError: the folder cannot be written.
    """
    if destination.is_file() and files.sha256(destination) == sha256:
        return
    with files.held_after_waiting(destination.parent, _WAIT_FOR_OTHERS):
        # Another process may have fetched it, or have been killed between the last byte and the rename.
        if destination.is_file() and files.sha256(destination) == sha256:
            return
        if _arrived(destination) and _is_right(destination, sha256):
            return
        reasons = []
        for url in urls:
            try:
                _from_mirror(url, sha256, destination, timeout)
                return
            except _MirrorFailed as failure:
                reasons.append(f"\n  {url}: {failure}")
        raise DownloadFailed(
            f"{name} could not be downloaded; no mirror gave the right bytes.{''.join(reasons)}\n"
            f"Try again later: what arrived is continued. Or put the file at {destination} yourself."
        )


def _part(destination: Path) -> Path:
    return destination.with_name(destination.name + files.TEMPORARY)


def _arrived(destination: Path) -> int:
    """Bytes of an earlier attempt."""
    part = _part(destination)
    return part.stat().st_size if part.is_file() else 0


def _is_right(destination: Path, sha256: str) -> bool:
    """Commit the `.part` file if its bytes are the published ones."""
    if files.sha256(_part(destination)) != sha256:
        return False
    files.commit(destination)
    return True


def _from_mirror(url: str, sha256: str, destination: Path, timeout: float) -> None:
    resumed = _receive(url, destination, _arrived(destination), timeout)
    if _is_right(destination, sha256):
        return
    files.remove(_part(destination))
    if resumed:
        # The wrong bytes may be those of the earlier attempt, so this mirror gets a chance of its own.
        _receive(url, destination, 0, timeout)
        if _is_right(destination, sha256):
            return
        files.remove(_part(destination))
    raise _MirrorFailed("the bytes it sent do not have the published SHA-256")


def _receive(url: str, destination: Path, start: int, timeout: float) -> bool:
    """Write what the mirror sends to the `.part` file; True if it continued the earlier attempt."""
    request = urllib.request.Request(url, headers={"User-Agent": "convscope"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response = _open(request, timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == _RANGE_NOT_SATISFIABLE:
            return _receive(url, destination, 0, timeout)
        raise _MirrorFailed(f"it answered {error.code} {error.reason}") from None
    with response:
        kind = response.headers.get_content_type()
        if kind == "text/html":
            raise _MirrorFailed("it sent a web page instead of the file")
        resumed = response.status == _PARTIAL_CONTENT and _starts_at(response, start)
        if response.status == _PARTIAL_CONTENT and not resumed:
            raise _MirrorFailed("it sent another part of the file than was asked for")
        promised = response.headers.get("Content-Length", "")
        length = int(promised) if promised.isdecimal() else None
        received = 0
        with files.partial(destination, start * resumed + (length or 0), resume=resumed) as part:
            for piece in _pieces(response, timeout):
                received += part.write(piece)
    if length is not None and received < length:
        raise _MirrorFailed(f"it ended after {received:,} of {length:,} bytes")
    return resumed


def _starts_at(response: http.client.HTTPResponse, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


@contextmanager
def _named_reasons(timeout: float) -> Iterator[None]:
    """Turn whatever a network does into a reason; an answer of the server (HTTPError) passes."""
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except TimeoutError:
        raise _MirrorFailed(f"nothing came for {timeout:g} seconds") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _MirrorFailed(f"nothing came for {timeout:g} seconds") from None
        raise _MirrorFailed(f"it cannot be reached ({error.reason})") from None
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorFailed(f"the connection broke ({type(error).__name__})") from None


def _open(request: urllib.request.Request, timeout: float) -> http.client.HTTPResponse:
    with _named_reasons(timeout):
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=timeout)
        return response


def _pieces(response: http.client.HTTPResponse, timeout: float) -> Iterator[bytes]:
    """The body, as it arrives; a generator of its own so that a failing disk is not blamed on the mirror."""
    since, received = time.monotonic(), 0
    while True:
        with _named_reasons(timeout):
            # read1 returns what is there; read would wait for a whole piece, and a server that sends
            # one byte every 29 seconds would never time out.
            piece = response.read1(_PIECE)
        if not piece:
            return
        yield piece
        received += len(piece)
        elapsed = time.monotonic() - since
        if elapsed > timeout:
            if received < SLOWEST * elapsed:
                raise _MirrorFailed(f"it sent less than {SLOWEST:,} bytes per second")
            since, received = time.monotonic(), 0
