"""How does a run stop when it is asked to?

The first SIGINT or SIGTERM is noted; the run writes a checkpoint at the next
moment and ends with exit code 130 or 143.  The second one ends the process at
once: what is on the disk is valid at any time.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Request:
    """Whether a signal has asked the run to stop."""

    number: int = 0
    """Of the signal; 0 while none has come."""


@contextmanager
def noted() -> Iterator[Request]:
    """Note the first signal instead of dying from it; the handlers found are put back.

    Only the main thread may install handlers; in another one nothing is noted.
    """
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number: int, frame: FrameType | None) -> None:
        if request.number:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        request.number = number

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
