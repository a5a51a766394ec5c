"""Which implementation does oneDNN choose for a convolution?

A fallback to its reference code is right but up to 1,880 times slower
(pytorch#193951), and nothing says so.  oneDNN tells on stdout when
ONEDNN_VERBOSE is set before the process starts, so a child process asks.
"""

import os
import re
import subprocess
import sys

PROBE = """
import torch
x = torch.randn(16, 16, 32, 32).to(memory_format=torch.channels_last).requires_grad_()
layer = torch.nn.Conv2d(16, 16, 3, padding=1, bias=False).to(memory_format=torch.channels_last)
layer(x).sum().backward()
"""


def implementations(timeout_s: float = 60.0) -> dict[str, str]:
    """Direction of a 3x3 convolution -> name of the implementation; empty if oneDNN is not there or is silent.

    Args:
        timeout_s: for the child process, most of which is the import of torch.
    """
    environment = {**os.environ, "ONEDNN_VERBOSE": "1"}
    try:
        answer = subprocess.run(
            [sys.executable, "-c", PROBE],
            capture_output=True, text=True, timeout=timeout_s, env=environment, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return parse(answer.stdout)


def parse(text: str) -> dict[str, str]:
    """oneDNN's report -> direction of each convolution and its implementation."""
    pattern = r"exec,cpu,convolution,([^,]+),(forward|backward)_(\w+),"
    return {f"{way} {what}".strip(): name for name, way, what in re.findall(pattern, text)}


def is_reference(name: str) -> bool:
    """Whether an implementation is the slow reference code."""
    return name.startswith("ref")
