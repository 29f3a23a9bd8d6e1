"""Nothing of a study is lost: whatever goes wrong, the trials are those of a study in which nothing did.

Each fault is put into studies of a small task, which are then resumed by the same command until they are finished, and
compared with a study that was left alone: the same trials, each once; errors, scores, each test item's results and all
trained weights the same to the bit; the same files in the folder, none half written; no process left running. Only
times may differ. Needs Linux; a full disk needs root, to mount a small one, and is left out without.

Ends with exit code 1 where anything was lost.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from faults_study import Bench, Count, content, left

from seamwise.runs import open_run
from seamwise.trial import TrialLog

PAGE = 4096
JUMPING_CLOCK = """
import random, time
real, local, universal = time.time, time.localtime, time.gmtime
time.time = lambda: real() + random.uniform(-4e8, 4e8)
time.time_ns = lambda: int(time.time() * 1e9)
time.localtime = lambda s=None: local(time.time() if s is None else s)
time.gmtime = lambda s=None: universal(time.time() if s is None else s)
"""


def killed(bench: Bench, count: Count, n: int, kill: Callable[[int, int], None]) -> None:
    """Kill -9 at random moments, one after the other in a folder until its study is finished, then in the next."""
    run = bench.new()
    while count.injected < n:
        share, start = (1 + left(run)) / 2, time.monotonic()  # half of a study is to start it and to write its report
        process = bench.start(run)
        try:
            process.wait(bench.rng.uniform(0, 1.25 * share * bench.took_s))
        except subprocess.TimeoutExpired:
            kill(process.pid, signal.SIGKILL)
            process.wait()
            count.injected += 1
            continue
        bench.took_s = (time.monotonic() - start) / share  # other programs come and go
        bench.compare(run, count)
        run = bench.new()
    bench.finish(run, count)


def disk_full(bench: Bench, count: Count, n: int) -> None:
    """A disk that is too small by more and more, then a larger one."""
    needed = sum(-(-p.stat().st_size // PAGE) * PAGE for p in (bench.folder / "run1").rglob("*") if p.is_file())
    for k in range(n):
        run = bench.new()
        with small_disk(run, int(needed * (k + bench.rng.random()) / n)):
            refused(bench, count, run, bench.start(run).wait())
            subprocess.run(["mount", "-o", "remount,size=64m", str(run)], check=True)
            bench.finish(run, count)


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={max(size, 4 * PAGE)}", "faults", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def refused(bench: Bench, count: Count, run: Path, code: int) -> None:
    """What a disk that refuses must end with; where all fitted nothing was injected."""
    count.injected += code != 0
    told = bench.told(run)
    if code not in (0, 1) or (code == 1 and ("cannot be written" not in told or "Traceback" in told)):
        count.wrong.append(f"{run.name}: exit code {code}: {told[-500:]}")


def read_only(bench: Bench, count: Count, n: int) -> None:
    """A folder that may not be written to from the start, then one from some moment on."""
    for k in range(n):
        run = bench.new()
        run.mkdir()
        if k == 0:
            freeze(run, True)
        process = bench.start(run)
        if k:
            time.sleep(bench.rng.uniform(0.2, 0.8) * bench.took_s)
            freeze(run, True)
        refused(bench, count, run, process.wait())
        freeze(run, False)
        bench.finish(run, count)


def freeze(folder: Path, on: bool) -> None:
    """Root may write to what is read-only, but not to what is immutable."""
    words = ["chattr", "-R", "+i" if on else "-i"] if os.geteuid() == 0 else ["chmod", "-R", "a-w" if on else "u+w"]
    subprocess.run([*words, str(folder)], check=True)


def clock(bench: Bench, count: Count, n: int) -> None:
    """The wall clock is years off at every look, in all processes."""
    (bench.folder / "clock").mkdir()
    (bench.folder / "clock" / "sitecustomize.py").write_text(JUMPING_CLOCK)
    for _ in range(n):
        run = bench.new()
        if bench.start(run, PYTHONPATH=str(bench.folder / "clock")).wait():
            count.wrong.append(f"{run.name}: {bench.told(run)[-500:]}")
        count.injected += 1
        bench.compare(run, count)


def two(bench: Bench, count: Count, n: int) -> None:
    """A second study in the same folder is refused, and the first goes on."""
    for _ in range(n):
        run = bench.new()
        first = bench.start(run)
        while not (run / "run.json").exists() and first.poll() is None:
            time.sleep(0.05)
        code = bench.start(run).wait()
        count.injected += 1
        if code != 2 or "another study is at work" not in bench.told(run):
            count.wrong.append(f"{run.name}: the second one: exit code {code}: {bench.told(run)[-500:]}")
        if first.wait():
            count.wrong.append(f"{run.name}: the first one failed")
        bench.compare(run, count)


def memory(bench: Bench, count: Count, n: int) -> None:
    """NumPy, torch and the kernel refuse memory to a worker."""
    failing(bench, count, [f"{kind}-{k}" for k in range(n) for kind in ("numpy", "torch", "killed")])


def hangs(bench: Bench, count: Count, n: int) -> None:
    longest = max(t.seconds for t in TrialLog(bench.folder / "run1" / "trials.jsonl"))
    failing(bench, count, [f"hang-{k}" for k in range(n)], "--time-limit", f"{max(3.0, 4 * longest):g}")


def failing(bench: Bench, count: Count, orders: list[str], *more: str) -> None:
    """Each costs one trial, which says why; of one whose process was killed nothing is seen, as it is run again."""
    run, words = bench.new(), {"hang": "the time limit", "numpy": "out of memory", "torch": "out of memory"}
    faults = ordered(bench, run, orders)
    code = bench.start(run, *more, FAULTS=str(faults)).wait()
    failed = sorted(t.message for t in open_run(run).failed)
    expected = sorted(words[kind] for order in orders if (kind := order.partition("-")[0]) in words)
    count.injected += len(orders) - len(list(faults.iterdir()))
    if code or sorted(w for m in failed for w in set(words.values()) if w in m) != expected:
        count.wrong.append(f"{run.name}: exit code {code}, failed: {failed}")
    bench.finish(run, count)


def ordered(bench: Bench, run: Path, orders: list[str]) -> Path:
    """The folder that the task takes its orders from."""
    faults = bench.folder / f"{run.name}.faults"
    faults.mkdir()
    for order in orders:
        (faults / order).touch()
    return faults


def left_hanging(bench: Bench, count: Count, n: int) -> None:
    """A worker hangs when its study is killed: it may keep no lock that the next study waits for."""
    for _ in range(n):
        run = bench.new()
        faults = ordered(bench, run, ["hang-0"])
        process = bench.start(run, FAULTS=str(faults))
        while list(faults.iterdir()):
            time.sleep(0.05)
        process.kill()
        process.wait()
        count.injected += 1
        bench.finish(run, count)


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--kills", type=int, default=50, help="half of the study alone, half of its workers too")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--only", nargs="+", help="parts of the names of the faults wanted")
    options = asked.parse_args()
    few = max(1, options.kills // 10)
    faults: dict[str, Callable[[Bench, Count], None]] = {
        "kill -9, with its workers": lambda b, c: killed(b, c, options.kills // 2, os.killpg),
        "kill -9, the study alone": lambda b, c: killed(b, c, options.kills - options.kills // 2, os.kill),
        "kill -9, while a worker hangs": lambda b, c: left_hanging(b, c, 1),
        "disk full": lambda b, c: disk_full(b, c, few),
        "folder read-only": lambda b, c: read_only(b, c, 1 + few // 2),
        "clock jumps": lambda b, c: clock(b, c, 1),
        "two studies in one folder": lambda b, c: two(b, c, 1),
        "worker out of memory": lambda b, c: memory(b, c, 1),
        "training hangs": lambda b, c: hangs(b, c, 2),
    }
    print(f"{'fault':<34}{'injected':>9}{'studies':>9}{'equal':>7}{'twice':>7}{'wrong':>7}", flush=True)
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        bench, start = Bench(Path(folder), random.Random(options.seed)), time.monotonic()
        left_alone = bench.new()
        if bench.start(left_alone).wait():
            sys.exit(bench.told(left_alone))
        bench.took_s, bench.alone = time.monotonic() - start, content(left_alone)
        for name, inject in faults.items():
            if options.only and not any(part in name for part in options.only):
                continue
            if name == "disk full" and os.geteuid():
                print(f"{name:<34}left out: only root may mount a small disk")
                continue
            count = Count()
            inject(bench, count)
            wrong += len(count.wrong)
            print(count.row(name), *(f"  {line}" for line in count.wrong), sep="\n", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
