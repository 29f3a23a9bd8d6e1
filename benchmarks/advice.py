"""How good is the advice on tasks it never saw? Beside always the same regime, the last value, and pow4.

    python benchmarks/advice.py [--table TABLE.zip] [--split test] [--json]

The table (advice_table.py makes it; the one beside this file is read by default) holds small drawn tasks: a study's
trials at up to n answers, and the truth at n, 4 n and 16 n, measured by other trainings on 3,000 other items. The
advice is given the study alone. Errors are in points: hundredths of the trivial predictor's. Development tasks are of
other generators than the test's; what was chosen was chosen on them.

What is printed, at n, 4 n and 16 n: how often the choice is the best way (or within half a point of it); its regret in
points; of P(best) the mean of what was said beside how often it was so, and the Brier score; how many of the 90 %
intervals hold the truth; how often the forecast of the chosen way abstains, and how often the choice was best where it
does and where it does not. Then crossovers, the labels to buy next, and what --stop-when-sure saves.
Intervals are 90 %, bootstrap over tasks.
"""

import argparse
import io
import json
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from forecast import pow4
from numpy import ndarray as Array

from seamwise.advice.buy import purchases
from seamwise.advice.outlook import Outlooks, outlooks, passings
from seamwise.advice.race import next_round
from seamwise.runs import Row, Study, open_run
from seamwise.trial import Trial

TABLE = Path(__file__).with_name("advice_table.zip")
TIMES = (1, 4, 16)
CLOSE = 0.5  # points
BINS = ((0.0, 0.5), (0.5, 0.7), (0.7, 0.9), (0.9, 1.01))
SURE = (0.8, 0.9, 0.95)
N_DRAWS = 2000
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """One task of the table."""

    name: str
    told: dict[str, Any]
    errors: Array  # of the study's trials, in order: [trial, item]

    @property
    def split(self) -> str:
        return str(self.told["split"])

    @property
    def n(self) -> int:
        return int(self.told["n"])

    @property
    def points(self) -> float:
        """Points in an error of 1."""
        return 100 / float(self.told["record"]["trivial"])

    @cached_property
    def trials(self) -> list[Trial]:
        return [Trial.model_validate(t) for t in self.told["trials"]]

    def truth(self, point: str) -> dict[str, float]:
        """{regime: its true error in points}"""
        return {r: float(np.mean(v)) * self.points for r, v in self.told["truth"][point].items()}

    def p_true(self, point: str) -> dict[str, float]:
        """{regime: how probably it is the best in truth}: its seeds' chance is all that is unknown."""
        rng, seeds = np.random.default_rng(0), self.told["truth"][point]
        mean = np.array([np.mean(v) for v in seeds.values()])
        error = np.array([np.std(v, ddof=1) / np.sqrt(len(v)) for v in seeds.values()])
        draws = mean + error * rng.standard_normal((N_DRAWS, len(mean)))
        least = draws <= draws.min(1, keepdims=True) + 1e-9
        return dict(zip(seeds, (least / least.sum(1, keepdims=True)).mean(0), strict=True))

    def write(self, run: Path, trials: list[int] | None = None) -> Study:
        """The study as a run folder; of some of its trials, where they are named."""
        (run / "predictions").mkdir(parents=True, exist_ok=True)
        chosen = range(len(self.trials)) if trials is None else trials
        (run / "run.json").write_text(json.dumps(self.told["record"]))
        (run / "trials.jsonl").write_text("".join(self.trials[k].model_dump_json() + "\n" for k in chosen))
        items = np.arange(self.errors.shape[1])
        np.savez(run / "test.npz", items=items, groups=items[:, None])
        for k in chosen:
            path = run / "predictions" / f"{self.trials[k].id}.npz"
            if not path.exists():
                np.savez(path, item=items, error=self.errors[k].astype(np.float32))
        return open_run(run)


def read_table(path: Path, split: str) -> list[Entry]:
    with zipfile.ZipFile(path) as table:
        found = [_entry(name.removesuffix(".npz"), table.read(name)) for name in sorted(table.namelist())]
    return [entry for entry in found if split in ("all", entry.split)]


def _entry(name: str, content: bytes) -> Entry:
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        return Entry(name, json.loads(held["told"].tobytes()), held["errors"])


# What the advice and its peers choose: {times: regime}

Choices = dict[int, str]


def advised(entry: Entry, study: Study, found: Outlooks) -> Choices:
    """With the labels at hand what is best now, the least error; beyond, the most probable way."""
    leaders = dict(zip(found.at, found.leaders(), strict=True))
    return {k: study.best(entry.n)[0][1] if k == 1 else leaders[k * entry.n][1] for k in TIMES}


def last_value(entry: Entry, study: Study) -> Choices:
    least = min(study.rows, key=lambda row: study.errors(row, entry.n).mean())
    return dict.fromkeys(TIMES, least[1])


def by_pow4(entry: Entry, study: Study) -> Choices:
    """At n the last value; beyond, the least median of pow4's forecasts."""
    ahead = {row[1]: np.median(pow4(_curve(study, row), np.random.default_rng(0)), axis=0) for row in study.rows}
    choices = {k: min(ahead, key=lambda r: ahead[r][j]) for k, j in ((4, 1), (16, 3))}
    return {1: last_value(entry, study)[1], **choices}


def _curve(study: Study, row: Row) -> Array:
    per_budget = [sorted(study.at(row, n), key=lambda t: t.seed) for n in study.record.budgets]
    return np.array([[t.error for t in trials] for trials in per_budget]).T / study.record.trivial


# One task


def judge(entry: Entry) -> dict[str, Any]:
    """All that is measured on one task."""
    with tempfile.TemporaryDirectory() as folder:
        study = entry.write(Path(folder) / "run")
        found = outlooks(study, [k * entry.n for k in TIMES])
        assert found is not None
        choices = {
            "advice": advised(entry, study, found),
            **{f"always {r}": dict.fromkeys(TIMES, r) for r in ("independent", "tuned", "direct")},
            "last value": last_value(entry, study),
            "pow4": by_pow4(entry, study),
        }
        return {
            "regret": {name: {k: regret(entry, k, r) for k, r in own.items()} for name, own in choices.items()},
            "outlook": {k: outlook_of(entry, study, found, k, choices["advice"][k]) for k in TIMES},
            "crossover": crossover_of(entry, found),
            "buy": bought(entry, study, found),
            "race": {sure: raced(entry, Path(folder) / f"race{sure}", sure) for sure in SURE},
        }


def regret(entry: Entry, times: int, regime: str) -> float:
    truth = entry.truth(str(times))
    return truth[regime] - min(truth.values())


def outlook_of(entry: Entry, study: Study, found: Outlooks, times: int, choice: str) -> dict[str, Any]:
    k = found.at.index(times * entry.n)
    truth, p_true = entry.truth(str(times)), entry.p_true(str(times))
    chances = {row[1]: float(found.wins[i, k]) for i, row in enumerate(found.rows)}
    inside = []
    for row in found.rows:
        draws = found.prospects[row].draws[:, k] * entry.points
        low, high = np.quantile(draws, [0.05, 0.95])
        inside.append(bool(low <= truth[row[1]] <= high))
    chosen = next(row for row in found.rows if row[1] == choice)
    return {
        "said": chances[choice],
        "was": p_true[choice],
        "brier": sum((chances[r] - p_true[r]) ** 2 for r in truth),
        "inside": inside,
        "abstains": bool(found.prospects[chosen].abstains[k]),
        "moved": choice != last_value(entry, study)[1],
    }


def crossover_of(entry: Entry, found: Outlooks) -> dict[str, Any]:
    """Where the way that is best at n stops being so, in truth and as told; in doublings of n."""
    points = [str(k) for k in (1, 2, 4, 16)]
    table = np.array([[entry.truth(p)[r] for p in points] for r in entry.truth("1")])
    first, last = table[:, 0].argmin(), table[:, -1].argmin()
    apart, at = table[last] - table[first], np.log2([1, 2, 4, 16])
    crosses = first != last and apart[0] > CLOSE and apart[-1] < -CLOSE
    regimes = list(entry.truth("1"))
    told = {(p.before[1], p.after[1]): p for p in passings(found) if p.is_told and p.high > entry.n}
    own = told.get((regimes[first], regimes[last])) if crosses else None
    true = _crossing(at, apart) if crosses else np.nan
    return {
        "crosses": bool(crosses),
        "told": bool(told),
        "right_pair": own is not None,
        "error": None if own is None else float(np.log2(own.middle / entry.n) - true),
        "inside": None if own is None else bool(np.log2(own.low / entry.n) <= true <= np.log2(own.high / entry.n)),
    }


def _crossing(at: Array, apart: Array) -> float:
    k = int(np.flatnonzero(apart >= 0)[-1])
    return float(at[k] + (at[k + 1] - at[k]) * apart[k] / (apart[k] - apart[k + 1]))


def bought(entry: Entry, study: Study, found: Outlooks) -> dict[str, Any]:
    """The gain of twice the labels of each field, as told and in truth; and which is most worth its price."""
    record = study.record
    offers = {o.field: o for o in purchases(study, found, record.prices)}
    now = entry.truth("1")
    choice = min(now, key=lambda r: now[r])
    truth = {}
    for field in offers:
        after = now | entry.truth("2" if field == record.vary else f"{field} x 2")
        truth[field] = now[choice] - min(after.values())
    cost = {f: record.full[entry.n][f] * record.prices[f] for f in offers}
    worth_told = {f: o.gain.mean * entry.points / cost[f] for f, o in offers.items()}
    worth_true = {f: g / cost[f] for f, g in truth.items()}
    first = max(worth_told, key=lambda f: worth_told[f])
    scale = entry.points
    return {
        "error": [o.gain.mean * scale - truth[f] for f, o in offers.items()],
        "inside": [bool(o.gain.low * scale <= truth[f] <= o.gain.high * scale) for f, o in offers.items()],
        "right": worth_true[first] >= max(worth_true.values()) - 1e-12,
        "answers_right": worth_true[record.vary] >= max(worth_true.values()) - 1e-12,
        "share": _share(worth_true, first),
        "answers_share": _share(worth_true, record.vary),
        "any_share": _any_share(worth_true),
    }


def _share(worth: Mapping[str, float], field: str) -> float | None:
    """Of what the best spending would gain; None where nothing gains."""
    most = max(worth.values())
    return max(worth[field], 0.0) / most if most > 0 else None


def _any_share(worth: Mapping[str, float]) -> float | None:
    shares = [share for f in worth if (share := _share(worth, f)) is not None]
    return float(np.mean(shares)) if shares else None


def raced(entry: Entry, run: Path, sure: float) -> dict[str, float]:
    """A study with --stop-when-sure, replayed: the regret of its choice, and its share of the full grid's cost.

    cost: in steps of training, those that several trials share counted once. by_labels: where a step costs what an
    answer does, as where every training passes over its examples as often: the largest budget is half of the grid.
    """
    seen: list[int] = []
    while True:
        round_ = next_round(entry.write(run, seen), entry.trials, sure)
        if not round_.trials:
            break
        seen += [k for k, t in enumerate(entry.trials) if t.id in round_.trials]
    best = round_.standing.best
    assert best is not None
    every = range(len(entry.trials))
    steps, labels = ((cost(entry, seen), cost(entry, every)) for cost in (_steps, _labels))
    return {"regret": regret(entry, 1, best[1]), "cost": steps[0] / steps[1], "by_labels": labels[0] / labels[1]}


def _steps(entry: Entry, trials: Iterable[int]) -> float:
    trainings = {h for k in trials for h in entry.trials[k].trainings}
    return float(sum(entry.told["steps"][h] for h in trainings))


def _labels(entry: Entry, trials: Iterable[int]) -> float:
    return float(sum(entry.trials[k].budget[entry.told["record"]["vary"]] for k in trials))


# All tasks


def mean_of(values: list[float]) -> dict[str, float]:
    """The mean and its interval over tasks."""
    kept = np.array([v for v in values if v is not None], float)
    if not len(kept):
        return {"mean": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}
    rng = np.random.default_rng(0)
    draws = kept[rng.integers(0, len(kept), (N_DRAWS, len(kept)))].mean(1)
    low, high = np.quantile(draws, [0.05, 0.95])
    return {"mean": float(kept.mean()), "low": float(low), "high": float(high), "n": len(kept)}


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    methods = found[0]["regret"]
    return {
        "tasks": len(found),
        "choice": {
            name: {
                k: {
                    "regret": mean_of([f["regret"][name][k] for f in found]),
                    "best": float(np.mean([f["regret"][name][k] <= 1e-9 for f in found])),
                    "close": float(np.mean([f["regret"][name][k] <= CLOSE for f in found])),
                }
                for k in TIMES
            }
            for name in methods
        },
        "calibration": {k: calibration([f["outlook"][k] for f in found]) for k in TIMES},
        "abstention": {k: abstention(found, k) for k in TIMES},
        "crossover": crossovers([f["crossover"] for f in found]),
        "buy": purchases_of([f["buy"] for f in found]),
        "race": {sure: race_of(found, sure) for sure in SURE},
    }


def calibration(told: list[dict[str, Any]]) -> dict[str, Any]:
    bins = []
    for low, high in BINS:
        own = [t for t in told if low <= t["said"] < high]
        bins.append({"n": len(own), "said": _mean(own, "said"), "was": _mean(own, "was")})
    return {
        "said": _mean(told, "said"),
        "was": _mean(told, "was"),
        "brier": _mean(told, "brier"),
        "inside": float(np.mean([x for t in told for x in t["inside"]])),
        "bins": bins,
    }


def _mean(records: list[dict[str, Any]], key: str) -> float:
    kept = [r[key] for r in records if r[key] is not None]
    return float(np.mean(kept)) if kept else float("nan")


def abstention(found: list[dict[str, Any]], k: int) -> dict[str, float]:
    """Rightly: abstained, and the choice was not within half a point of the best. Wrongly: abstained, and it was."""
    close = np.array([f["regret"]["advice"][k] <= CLOSE for f in found])
    silent = np.array([f["outlook"][k]["abstains"] for f in found])
    return {
        "abstains": float(silent.mean()),
        "rightly": float((silent & ~close).mean()),
        "wrongly": float((silent & close).mean()),
        "close where told": float(close[~silent].mean()) if (~silent).any() else float("nan"),
        "close where abstained": float(close[silent].mean()) if silent.any() else float("nan"),
    }


def crossovers(told: list[dict[str, Any]]) -> dict[str, Any]:
    errors = [abs(t["error"]) for t in told if t["error"] is not None]
    return {
        "cross in truth": int(sum(t["crosses"] for t in told)),
        "told": int(sum(t["told"] for t in told)),
        "told where they cross": int(sum(t["told"] and t["crosses"] for t in told)),
        "told of the right pair": int(sum(t["right_pair"] for t in told)),
        "median error, doublings": float(np.median(errors)) if errors else float("nan"),
        "inside": float(np.mean([t["inside"] for t in told if t["inside"] is not None] or [np.nan])),
    }


def purchases_of(told: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "mean absolute error": float(np.mean([abs(e) for t in told for e in t["error"]])),
        "inside": float(np.mean([x for t in told for x in t["inside"]])),
        "first is best": mean_of([float(t["right"]) for t in told]),
        "answers are best": mean_of([float(t["answers_right"]) for t in told]),
        "share of the best": mean_of([t["share"] for t in told]),
        "share, answers": mean_of([t["answers_share"] for t in told]),
        "share, equal spending": mean_of([t["any_share"] for t in told]),
    }


def race_of(found: list[dict[str, Any]], sure: float) -> dict[str, dict[str, float]]:
    """Beside the full grid, whose choice is the last value's at n."""
    races = [f["race"][sure] for f in found]
    more = [r["regret"] - f["regret"]["last value"][1] for f, r in zip(found, races, strict=True)]
    told = {name: mean_of([r[name] for r in races]) for name in ("regret", "cost", "by_labels")}
    return told | {"regret over the grid": mean_of(more)}


def words(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['tasks']} tasks; points are hundredths of the trivial predictor's error"
    yield f"\n{'':20}" + "".join(f"{f'regret at {k} n':>24}{'best':>6}{'close':>7}" for k in TIMES)
    for name, own in result["choice"].items():
        cells = (f"{_told(own[k]['regret']):>24}{own[k]['best']:6.0%}{own[k]['close']:7.0%}" for k in TIMES)
        yield f"{name:20}" + "".join(cells)
    for k in TIMES:
        own, quiet = result["calibration"][k], result["abstention"][k]
        yield f"\nat {k} n: P(best) of the choice {own['said']:.2f}, it was {own['was']:.2f}; Brier {own['brier']:.3f}"
        bins = (f"{b['said']:.2f} -> {b['was']:.2f} ({b['n']})" for b in own["bins"] if b["n"])
        yield f"   said -> was: {', '.join(bins)}; 90 % intervals hold {own['inside']:.1%}"
        yield "   " + ", ".join(f"{name} {value:.0%}" for name, value in quiet.items())
    yield "\ncrossovers: " + ", ".join(f"{name} {value:.3g}" for name, value in result["crossover"].items())
    yield "labels to buy next: " + ", ".join(
        f"{name} {_told(value) if isinstance(value, dict) else f'{value:.3g}'}" for name, value in result["buy"].items()
    )

    for sure, own in result["race"].items():
        yield f"stop when sure {sure}: " + ", ".join(f"{name} {_told(value)}" for name, value in own.items())


def _told(interval: Mapping[str, float]) -> str:
    return f"{interval['mean']:.2f} [{interval['low']:.2f}, {interval['high']:.2f}]"


def each(tasks: Sequence[T], jobs: int, of: Callable[[T], dict[str, Any]]) -> list[dict[str, Any]]:
    """One result a task, in order, with the time left."""
    found: list[dict[str, Any]] = []
    start = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(of, tasks):
            found.append(result)
            left = (time.monotonic() - start) / len(found) * (len(tasks) - len(found))
            if len(found) % 10 == 0:
                print(f"{len(found)}/{len(tasks)} tasks, {left:.0f} s left", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE, help="Tasks and their truth, as advice_table.py writes.")
    parser.add_argument("--split", choices=("test", "development", "all"), default="test")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    result = summary(each(read_table(given.table, given.split), given.jobs, judge))
    print(json.dumps(result, indent=1) if given.json else "\n".join(words(result)))


if __name__ == "__main__":
    main()
