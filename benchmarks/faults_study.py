"""The studies of faults.py: starting one, and comparing it with one that was left alone."""

import hashlib
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from seamwise.runs import Items, open_run

TASK = Path(__file__).with_name("faults_task.py")
STUDY = ["--budgets", "24,96", "--seeds", "1", "--jobs", "2"]
TIMES = {"seconds", "latency_ms"}  # of a trial: all that may differ


@dataclass
class Count:
    """What became of one fault. twice: finished trials that were run again all the same."""

    injected: int = 0
    studies: int = 0
    equal: int = 0
    twice: int = 0
    wrong: list[str] = field(default_factory=list)

    def row(self, fault: str) -> str:
        return f"{fault:<34}{self.injected:>9}{self.studies:>9}{self.equal:>7}{self.twice:>7}{len(self.wrong):>7}"


@dataclass
class Bench:
    """A folder for the studies, the one that was left alone, and how long that took."""

    folder: Path
    rng: random.Random
    alone: dict[str, object] = field(default_factory=dict)
    took_s: float = 0.0
    sessions: list[int] = field(default_factory=list)
    n_runs: int = 0

    def new(self) -> Path:
        self.n_runs += 1
        return self.folder / f"run{self.n_runs}"

    def start(self, run: Path, *more: str, **env: str) -> "subprocess.Popen[str]":
        """The study, in a session of its own."""
        words = [sys.executable, "-m", "seamwise.cli", "study", str(TASK), "--out", str(run), *STUDY, *more]
        with (self.folder / f"{run.name}.log").open("w") as log:
            made = subprocess.Popen(
                words, env=os.environ | env, start_new_session=True, text=True, stdout=subprocess.DEVNULL, stderr=log
            )
        self.sessions.append(made.pid)
        return made

    def told(self, run: Path) -> str:
        return (self.folder / f"{run.name}.log").read_text()

    def finish(self, run: Path, count: Count) -> None:
        """Resume until it ends by itself, then compare."""
        code = self.start(run).wait()
        if code:
            count.wrong.append(f"{run.name}: the study could not go on (exit code {code}): {self.told(run)[-500:]}")
        self.compare(run, count)

    def compare(self, run: Path, count: Count) -> None:
        found = content(run)
        differ = [name for name in self.alone if self.alone[name] != found[name]]
        differ += [f"process {pid} is left" for s in self.sessions for pid in alive(s)]
        count.studies += 1
        count.equal += not differ
        count.wrong += [f"{run.name}: {name}" for name in differ]
        done = [line for line in (run / "trials.jsonl").read_text().splitlines() if '"status":"done"' in line]
        count.twice += len(done) - len(open_run(run).record.trials)


def content(run: Path) -> dict[str, object]:
    """All of a run folder that may not depend on what went wrong on the way."""
    found = open_run(run)
    return {
        "trials": {t.id: t.model_dump(exclude=TIMES) for t in found.trials},
        "order": [t.id for t in found.trials],
        "results of items": {t.id: digest(found.items(t)) for t in found.trials if t.status == "done"},
        "weights": {p.parent.name: p.read_bytes() for p in run.glob("stages/*/weights.safetensors")},
        "plan": (run / "run.json").read_bytes(),
        "files": sorted(str(p.relative_to(run)) for p in run.rglob("*")),
    }


def digest(items: Items) -> dict[str, str]:
    return {name: f"{items[name].dtype} {hashlib.sha256(items[name].tobytes()).hexdigest()}" for name in items}


def alive(session: int, within_s: float = 10.0) -> list[int]:
    """The processes of a session that do not end by themselves."""
    end = time.monotonic() + within_s
    while found := [int(p.name) for p in Path("/proc").glob("[0-9]*") if session_of(p) == session]:
        if time.monotonic() > end:
            return found
        time.sleep(0.1)
    return []


def session_of(process: Path) -> int | None:
    try:
        state, _, _, session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
    except OSError:
        return None
    return None if state == "Z" else int(session)


def left(run: Path) -> float:
    """The share of the trials that are not done."""
    if not (run / "run.json").exists():
        return 1.0
    found = open_run(run)
    return 1 - len(found.trials) / len(found.record.trials)
