"""Runs and advice made by hand, for the tests of reports."""

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import tiny

from seamwise.advice import records
from seamwise.advice.numbers import full_name
from seamwise.bootstrap import Interval
from seamwise.evaluate import right_and_wrong
from seamwise.report import page
from seamwise.runs import FORMAT, RunRecord, Study, open_run
from seamwise.trial import StageScore, Trial, TrialLog, write_json

EVIL = "<script>alert('1')</script><img src=x onerror=alert(2)>"
N_ITEMS = 60
SKILL = {"independent": 0.3, "sequential": 0.28, "tuned": 0.1, "joint": 0.15, "endtoend": 0.5, "direct": 0.7}
SLOPE = {"endtoend": 0.75, "joint": 0.3, "tuned": 0.2, "direct": 0.1}


def fake_trial(run, variant, regime, budget, seed, halved="", **changes):
    """A finished trial and its per-item results, from random numbers."""
    id_ = f"{len(list((run / 'predictions').iterdir())):04d}"
    rng = np.random.default_rng([seed, len(regime), budget["sum"]])
    share = SKILL[regime] * (100 / budget["sum"]) ** SLOPE.get(regime, 0.0)
    wrong = (rng.random(N_ITEMS) < share + 0.2 * bool(halved)).astype(np.float32)
    shown = {"shown": right_and_wrong(wrong), "shown.sum": rng.random((12, 19), dtype=np.float32)}
    shown |= {"item.sum": np.arange(12), "item.image": np.zeros((12, 4)), "known.sum": np.arange(12) > 0}
    np.savez(run / "predictions" / f"{id_}.npz", item=np.arange(N_ITEMS) + 500, error=wrong, **shown)
    score = StageScore(field="digit", stage="read", error=0.12, error_on_gold_input=0.08, trivial=0.9, unit="px")
    done = {"status": "done", "error": float(wrong.mean()), "trivial": 0.9, "train_error": 0.1, "seconds": 2.5}
    done |= {
        "n_steps": 300,
        "n_parameters": 38283,
        "latency_ms": 0.75,
        "stages": () if regime == "direct" else (score,),
    }
    told = {"id": id_, "task": "fake", "variant": variant, "regime": regime, "budget": budget, "seed": seed}
    return Trial.model_validate(told | done | changes)


def stage_record(name, reads, writes, kind="learned"):
    return {"name": name, "kind": kind, "inputs": reads, "outputs": writes, "signature": name}


CHAIN = (
    stage_record("find", ("image",), ("place",)),
    stage_record("cut", ("image", "place"), ("window", "scale"), "designed"),
    stage_record("read", ("window",), ("digit",)),
    stage_record("add", ("digit", "scale"), ("sum",), "designed"),
)


def fake_run(
    run: Path,
    chains=("chain",),
    directs=("direct",),
    budgets=(100, 200, 400),
    seeds=2,
    halve=True,
    change=None,
    regimes=("independent", "tuned", "endtoend"),
    **told,
) -> Study:
    """A run folder as a study writes it. change: (trial) -> fields to change, or None to leave the trial out."""
    (run / "predictions").mkdir(parents=True)
    held = {"digit": 50, "sum": budgets[-1]}
    rows = [(c, r) for c in chains for r in regimes] + [(d, "direct") for d in directs]
    cells = [(row, held | {"sum": n}, "") for n in budgets for row in rows]
    if halve:
        cells += [((v, r), held | {"digit": 25}, "digit") for v, r in rows if r in ("independent", "tuned")]
    trials = [fake_trial(run, *row, budget, s, halved) for row, budget, halved in cells for s in range(seeds)]
    ids = tuple(t.id for t in trials)
    if change is not None:
        changed = [(t, change(t)) for t in trials]
        trials = [t.model_copy(update=fields) for t, fields in changed if fields is not None]
    groups = np.arange(N_ITEMS)[:, None] // 2
    np.savez(run / "test.npz", items=np.arange(N_ITEMS) + 500, groups=groups)
    direct = (stage_record("direct", ("image",), ("sum",)),)
    variants = dict.fromkeys(chains, CHAIN) | dict.fromkeys(directs, direct)
    record = {"format": FORMAT, "version": "0.1.0", "task": "fake", "source": "", "answer": "sum", "vary": "sum"}
    record |= {"unit": "share wrong", "trivial": 0.9, "budgets": budgets, "held": held, "trials": ids}
    record |= {"full": {n: held | {"sum": n} for n in budgets}}
    record |= {"prices": {"sum": 1.0, "digit": 2.0}, "variants": variants}
    record |= {"uses": {}, "signatures": dict.fromkeys(variants, "0123456789abcdef")}
    write_json(run / "run.json", RunRecord.model_validate(record | told).model_dump(mode="json"))
    TrialLog(run / "trials.jsonl").append(trials)
    return open_run(run)


def fail(trial):
    return {"status": "failed", "message": "ValueError: no such thing", "error": None, "stages": ()}


def draw(item, written):
    return np.full((28, 40, 3), (250, 10, 10), dtype=np.uint8)


def drawing(function):
    return tiny.make_task(draw=function)


def around(mean, half):
    return Interval(mean, mean - half, mean + half)


def way(study, row):
    return records.Way(variant=row[0], regime=row[1], name=full_name(study, row))


def no_advice(study, **changes):
    """Advice that says nothing."""
    empty = dict.fromkeys(("crossovers", "stages", "chains", "variants", "seams", "buy_next", "costs"), ())
    empty |= dict.fromkeys(("at", "p_best", "shifted", "abstained", "failed_trials", "sentences"), ())
    told = {"run": str(study.run), "version": "0.1.0", "task": study.record.task, "answer": study.record.answer}
    told |= {"unit": study.record.unit, "trivial": study.record.trivial, "vary": study.record.vary}
    return records.Advice(
        **(empty | told | {"n_trials": len(study.trials), "best_now": None, "n": study.compared_at} | changes)
    )


def rich_advice(study, words="because it was not measured"):
    """Advice that has something to say in every section. words: of every reason in it."""
    chains = [row for row in study.rows if row[1] != "direct"]
    first, last = chains[0][0], study.record.budgets[-1]
    tuned = way(study, (first, "tuned"))
    table = study.table()
    error = table[(first, "tuned")][last]
    joint = [way(study, row) for row in chains if row[1] == "joint"]
    at = (*study.record.budgets, *(last * 2**k for k in range(1, 5)))
    best = records.Best(
        way=tuned, n=last, error=error, probability=0.87, n_compared=len(study.rows), close=tuple(joint)
    )
    other = way(study, (first, "endtoend"))
    crossover = records.Crossover(before=tuned, after=other, n=2300, low=1500, high=3900)
    return no_advice(
        study,
        at=at,
        best_now=best,
        p_best=tuple(outlook(study, row, n, words, table) for n in at for row in study.rows),
        crossovers=(crossover,),
        stages=tuple(s for row in chains for s in stage_costs(study, row, words)),
        chains=tuple(chained(study, row, words, table) for row in chains),
        variants=gains(study, chains),
        seams=tuple(s for row in chains for s in seams(study, row, words)),
        buy_next=purchases(tuned),
        costs=tuple(expense(study, row, i, table) for i, row in enumerate(table)),
        shifted=(
            records.Shifted(
                way=tuned, here=error, there=around(0.31, 0.06), trivial_there=0.88, stage="find", n_labels=200,
                retrained=around(0.19, 0.05), won_back=around(0.12, 0.04),
            ),
            records.Shifted(way=other, here=error, there=around(0.4, 0.06), trivial_there=0.88, note=words),
        ),
        abstained=(records.Untold(what="the direct network beyond the measured", why=words, trial="direct at 3,200"),),
        failed_trials=(
            records.FailedTrial(id="a", way=other, n=100, seed=1, status="failed", why=words),
            records.FailedTrial(id="b", way=other, n=100, seed=0, status="did not train", why=words),
        ),
        sentences=(
            f"With 1,600 labels of {study.record.vary}, build it tuned: error 0.057 [0.034, 0.081] share wrong, the "
            "best of 7 ways with probability 0.87.",
            "joint is not clearly worse.",
            f"endtoend passes tuned at about 2,300 labels of {study.record.vary} [1,500, 3,900].",
            "The costliest stage of tuned is read: with its digit right, the error would fall by 0.024.",
            f"It could not be told: {words}.",
        ),
    )  # fmt: skip


def outlook(study, row, n, words, table=None):
    """Measured where it was; forecast for all but the direct networks, which abstain."""
    cell = (table or study.table()).get(row, {}).get(n)
    errors = [way_error(r, n) for r in study.rows]
    p = [np.exp(-e / 0.01) for e in errors]
    mean = way_error(row, n)
    told = {
        "way": way(study, row),
        "n": n,
        "measured": cell is not None,
        "p_best": float(p[study.rows.index(row)] / sum(p)),
    }
    told["error"] = cell or around(mean, 0.3 * mean)
    told["abstained"] = words if cell is None and row[1] == "direct" else ""
    return records.Outlook(**told)


def way_error(row, n):
    return SKILL[row[1]] * (100 / n) ** SLOPE.get(row[1], 0.0)


def stage_costs(study, row, words):
    told = {"way": way(study, row), "unit": "px", "trivial": 9.0, "own": around(1.25, 0.2)}
    yield records.StageCost(
        **told, stage="find", field="place", pinned=around(0.02, 0.015), marginal=around(0.018, 0.01)
    )
    told |= {"unit": "share wrong", "trivial": 0.9, "own": around(0.12, 0.02), "on_gold": 0.08}
    told |= {"exposure": around(0.03, 0.02), "perfect": around(0.03, 0.02), "spread": around(0.4, 0.1)}
    if row[1] == "endtoend":
        yield records.StageCost(**told, stage="read", field="digit", refused=words)
    else:
        yield records.StageCost(**told, stage="read", field="digit", pinned=around(0.024, 0.01))


def chained(study, row, words, table):
    error = table[row][study.record.budgets[-1]]
    if row[1] == "endtoend":
        return records.Chained(way=way(study, row), error=error, rest=None, refused=words)
    rest = error.mean - 0.044
    return records.Chained(
        way=way(study, row), error=error, rest=around(rest, 0.01), compounding=Interval(0.9, 0.7, 1.1)
    )


def gains(study, chains):
    variants = list(dict.fromkeys(v for v, _ in chains))
    told = {"designed": True, "stages": ("find",), "gains": dict.fromkeys(study.record.budgets, around(0.03, 0.02))}
    return tuple(
        records.VariantGain(variant=v, other=variants[0], regime=r, ends=400 if r == "endtoend" else None, **told)
        for v in variants[1:]
        for r in ("tuned", "endtoend")
    )


def seams(study, row, words):
    hard = row[1] in ("independent", "endtoend")
    stopped = {"hard": True, "passes": False, "gradient": 0.0, "stopped_by": "argmax", "instead": words}
    soft = {"hard": False, "passes": True, "gradient": 0.031}
    own = way(study, row)
    yield records.SeamState(way=own, field="place", writer="find", reader="cut", **(stopped if hard else soft))
    yield records.SeamState(way=own, field="window", writer="cut", reader="read", **soft)
    yield records.SeamState(way=own, field="scale", writer="cut", reader="add", **stopped)
    yield records.SeamState(way=own, field="digit", writer="read", reader="add", **soft)


def purchases(tuned):
    told = {"way": tuned, "n_now": 400, "n_more": 400}
    return (
        records.Purchase(**told, field="sum", price=1.0, gain=around(0.02, 0.008), worth=5e-5, probability=0.998),
        records.Purchase(**told, field="digit", price=2.5, gain=around(0.004, 0.01), worth=4e-6, probability=0.71),
        records.Purchase(**told, field="place", price=0.0, gain=around(0.001, 0.01), worth=None, probability=0.55),
    )


def expense(study, row, i, table):
    error = table[row][study.record.budgets[-1]]
    told = {"way": way(study, row), "error": error, "n_seeds": 2, "n_steps": 300.0 + 100 * i, "n_parameters": 38283.0}
    return records.Expense(**told, seconds=3.0 * 1.7**i, latency_ms=0.75 + 0.2 * i)


def page_of(study, task=None, advice=None):
    return Page(page(study, task, rich_advice(study) if advice is None else advice))


class Page(HTMLParser):
    """The tags of a page, its visible text, and its scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.scripts, self._in = [], "", [], ""
        self.feed(text)
        self.text = re.sub(r"\s+", " ", self.text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag):
        self._in = ""

    def handle_data(self, data):
        if self._in == "script":
            self.scripts.append(data)
        elif not self._in:
            self.text += data

    def ids(self):
        return [attrs["id"] for _, attrs in self.tags if "id" in attrs]

    def sections(self):
        """The names of the sections, in order."""
        return [attrs["id"] for tag, attrs in self.tags if tag == "h2"]
