"""How much of the cores a study keeps busy: processor seconds of all its processes over wall seconds x jobs.

With --run, a full study's own run folder (kept) instead of a short one.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

from seamwise import study


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    asked.add_argument("--run", type=Path, help="run the full study of digits in this new folder")
    options = asked.parse_args()
    before, start = cpu_seconds(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        if options.run:
            study("digits", options.run, jobs=options.jobs)
        else:
            study("digits", Path(folder) / "run", budgets=[400, 1600], seeds=1, jobs=options.jobs)
    wall = time.perf_counter() - start
    busy = (cpu_seconds() - before) / (wall * options.jobs)
    print(f"{wall:.0f} s with {options.jobs} jobs; share of the cores used: {busy:.2f}")


def cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


if __name__ == "__main__":
    main()
