"""Random bytes, and files with faults, never give a traceback nor a hang: every reader, with random seeds.

The files are those of tests/test_fuzz_*.py, which try the same ones every time; here each round draws others. A failure
is what is neither read well formed nor refused by an error that names the file, or takes more than 20 s, or more than
4 GiB; its smallest file is printed.

    python benchmarks/fuzz.py --minutes 4
    python benchmarks/fuzz.py --minutes 1 --reader treebank
"""

import argparse
import importlib
import resource
import signal
import sys
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

from hypothesis import given, seed, settings

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))

from fuzzing import ALIKE, FOLDER, SLOWEST_S, Reader, Rule, contents, tried  # noqa: E402

ROOM_BYTES = 4 << 30
A_ROUND, SHRINKING_S = 100, 10.0


@dataclass
class Count:
    """What came of the files that a reader was given; failures: the smallest of each kind."""

    tried: int = 0
    read: int = 0
    refused: int = 0
    failed: int = 0
    slowest_s: float = 0.0
    failures: dict[str, Any] = field(default_factory=dict)


def all_tried() -> list[Reader | Rule]:
    """What all tests try."""
    modules = [importlib.import_module(path.stem) for path in sorted(TESTS.glob("test_fuzz_*.py"))]
    return [one for module in modules for name in ("READERS", "RULES") for one in getattr(module, name, ())]


def kind_of(error: BaseException) -> str:
    """What was raised, and the last place in seamwise that it passed."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/seamwise/" in f.filename] or [
        *traceback.extract_tb(error.__traceback__)
    ]
    told = " ".join(str(error).split())[:160]
    return f"{type(error).__name__} at {Path(frames[-1].filename).name}:{frames[-1].lineno} ({told})"


def one_round(one: Reader | Rule, folder: Path, count: Count, number: int) -> None:
    """Some files for a reader, or examples of a rule; of a failure that is new, the smallest is looked for."""
    since = float("inf")  # the first failure of this round
    known = {kind.partition(" (")[0] for kind in count.failures}

    @seed(number)
    @settings(ALIKE, derandomize=False, max_examples=A_ROUND)
    @given(contents(one) if isinstance(one, Reader) else one.drawn)
    def with_faults(content: Any) -> None:
        nonlocal since
        start = time.monotonic()
        count.tried += 1
        signal.setitimer(signal.ITIMER_REAL, SLOWEST_S)
        try:
            was_read = bool(tried(one, content, folder) if isinstance(one, Reader) else one.holds(content))
            count.read += was_read
            count.refused += not was_read
        except Exception as error:
            count.failed += 1
            kind = kind_of(error)
            since = min(since, start)
            if kind.partition(" (")[0] not in known and start - since < SHRINKING_S:
                same = next((k for k in count.failures if k.partition(" (")[0] == kind.partition(" (")[0]), kind)
                if same not in count.failures or len(repr(content)) <= len(repr(count.failures[same])):
                    count.failures.pop(same, None)
                    count.failures[kind] = content
                raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            count.slowest_s = max(count.slowest_s, time.monotonic() - start)

    n_failed = count.failed
    try:
        with_faults()
    except Exception:  # it is counted, and kept
        if count.failed == n_failed:
            raise  # of the drawing, not of what was drawn


def too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"more than {SLOWEST_S:g} s")


def limited() -> None:
    """This process to 4 GiB more than it has, and each file to 20 s."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + ROOM_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    signal.signal(signal.SIGALRM, too_long)
    warnings.simplefilter("error")


def told(one: Reader | Rule, count: Count) -> str:
    figures = f"{count.tried:7,} {count.read:7,} {count.refused:8,} {count.failed:7,} {count.slowest_s:10.2f}"
    lines = [f"{one.name:30}{figures}"]
    for kind, content in count.failures.items():
        size = f"{len(content)} bytes: " if isinstance(content, bytes) else ""
        lines.append(f"    {kind}\n        {size}{repr(content)[:600]}")
    return "\n".join(lines)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--minutes", type=float, default=4.0, help="of all readers together")
    asked.add_argument("--reader", help="those whose name begins so, readers and rules; all by default")
    asked.add_argument("--seed", type=int, help="of the first round; the time by default")
    options = asked.parse_args()
    chosen = [one for one in all_tried() if one.name.startswith(options.reader or "")]
    first = options.seed if options.seed is not None else int(time.time())
    limited()
    counts = [Count() for _ in chosen]
    print(f"seed {first}; {len(chosen)} readers\n{'':30}  tried    read  refused  failed  slowest, s")
    for one, count in zip(chosen, counts, strict=True):
        ends = time.monotonic() + 60 * options.minutes / len(chosen)
        with TemporaryDirectory() as folder:
            inside = Path(folder) / FOLDER
            inside.mkdir()
            if isinstance(one, Reader):
                one.beside(inside)
            number = first
            while number == first or time.monotonic() < ends:
                one_round(one, inside, count, number)
                number += 1
        print(told(one, count), flush=True)
    n_failed = sum(count.failed for count in counts)
    n_tried, slowest_s = sum(count.tried for count in counts), max(count.slowest_s for count in counts)
    print(f"{n_tried:,} tried, {n_failed:,} failures, slowest {slowest_s:.2f} s")
    sys.exit(bool(n_failed))


if __name__ == "__main__":
    main()
