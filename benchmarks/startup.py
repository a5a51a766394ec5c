"""How much does it cost to ask for help?

    python benchmarks/startup.py [--repeats 15]

CPU seconds (user and system) of a whole child process, interpreter included,
as the kernel accounts for them: other processes change them little.  One run
of each before the clock, which writes the compiled modules.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys

# What is promised, in CPU seconds.
LIMITS = {("--help",): 0.25, ("train", "--help"): 0.7}


def cpu_seconds(command: list[str]) -> float:
    """Of one run.

    Raises:
        RuntimeError: it failed.
    """
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # wait4 tells what this one child used; getrusage would add up all children.
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=15)
    asked = parser.parse_args()
    python = f"Python {platform.python_version()}"
    print(f"{python}, load {os.getloadavg()[0]:.2f}; CPU seconds, {asked.repeats} runs of each")
    print(f"{'':26}{'best':>6} {'median':>7} {'promised':>9}")
    bare = [sys.executable, "-c", "pass"]
    commands = [("python -c pass", bare, None)] + [
        (f"convscope {' '.join(words)}", [sys.executable, "-m", "convscope", *words], limit)
        for words, limit in LIMITS.items()
    ]
    for name, command, limit in commands:
        cpu_seconds(command)
        found = [cpu_seconds(command) for _ in range(asked.repeats)]
        promised = "" if limit is None else f"{limit:.2f}"
        print(f"{name:26}{min(found):6.3f} {statistics.median(found):7.3f} {promised:>9}")


if __name__ == "__main__":
    main()
