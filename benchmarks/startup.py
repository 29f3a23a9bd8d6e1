"""Seconds until `seamwise --help` is printed, beside an empty Python."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

N_ROUNDS = 10


def seconds(command: list[str]) -> float:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    return statistics.median(once() for _ in range(N_ROUNDS))


if __name__ == "__main__":
    ours = seconds([str(Path(sys.executable).with_name("seamwise")), "--help"])
    empty = seconds([sys.executable, "-c", ""])
    print(f"seamwise --help {ours:.3f} s, an empty Python {empty:.3f} s, ratio {ours / empty:.1f}")
