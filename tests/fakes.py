"""Run folders made by hand, so that what advice has to say of them is known."""

import numpy as np

from seamwise.runs import FORMAT, RunRecord, StageRecord, open_run
from seamwise.trial import Trial, TrialLog, write_json

N_ITEMS = 400
LEARNED = (StageRecord(name="find", kind="learned", inputs=("image",), outputs=("place",), signature="a"),)
READ = StageRecord(name="read", kind="learned", inputs=("place",), outputs=("sum",), signature="b")
BY_HAND = StageRecord(name="find", kind="designed", inputs=("corner",), outputs=("place",), signature="c")
DIRECT = StageRecord(name="direct", kind="learned", inputs=("image",), outputs=("sum",), signature="d")
VARIANTS = {"found": (*LEARNED, READ), "given": (BY_HAND, READ), "direct": (DIRECT,)}


def wrong(share, seed=0):
    """0/1 errors of N_ITEMS items, that share of them wrong; a larger share's are among them (paired items)."""
    order = np.random.default_rng(seed).permutation(N_ITEMS)
    errors = np.zeros(N_ITEMS, dtype=np.float32)
    errors[order[: round(share * N_ITEMS)]] = 1
    return errors


def make_run(
    folder, curves, *, budgets=(100, 200, 400, 800, 1600), seeds=3, halved=None, change=None, extra=None, **told
):
    """A run folder of a task that sums digits.

    curves: {(variant, regime): n -> share of wrong items}; halved: {(row, field): share wrong with half its labels};
    change: trial -> fields to change, or None to leave the trial out; extra: (trial) -> per-item arrays to keep too.
    """
    run = folder / "run"
    (run / "predictions").mkdir(parents=True)
    held = {"place": 50, "sum": budgets[-1]}
    cells = [(row, held | {"sum": n}, curve(n)) for n in budgets for row, curve in curves.items()]
    cells += [(row, held | {f: held[f] // 2}, share) for (row, f), share in (halved or {}).items()]
    trials, ids = [], []
    for row, budget, share in cells:
        for seed in range(seeds):
            trial = fake_trial(row, budget, seed, share)
            ids.append(trial.id)
            fields = {} if change is None else change(trial)
            if fields is None:
                continue
            trial = trial.model_copy(update=fields)
            trials.append(trial)
            arrays = {"item": np.arange(N_ITEMS), "error": wrong(trial.error or 0, seed)} | (
                extra(trial) if extra else {}
            )
            np.savez(run / "predictions" / f"{trial.id}.npz", **arrays)
    np.savez(run / "test.npz", items=np.arange(N_ITEMS), groups=np.arange(N_ITEMS)[:, None] // 2)
    record = {"format": FORMAT, "version": "0.1.0", "task": "fake", "source": "", "answer": "sum", "vary": "sum"}
    record |= {"unit": "share wrong", "trivial": 0.9, "budgets": budgets, "held": held, "trials": tuple(ids)}
    record |= {"full": {n: held | {"sum": n} for n in budgets}, "prices": {"sum": 1.0, "place": 2.0}}
    used = {"independent": ("place",), "sequential": ("place",), "endtoend": ("sum",), "direct": ("sum",)}
    record |= {"uses": {v: {r: used.get(r, ("place", "sum")) for _, r in curves} for v in VARIANTS}}
    record |= {"variants": VARIANTS, "signatures": dict.fromkeys(VARIANTS, "0123456789abcdef")}
    write_json(run / "run.json", RunRecord.model_validate(record | told).model_dump(mode="json"))
    TrialLog(run / "trials.jsonl").append(trials)
    return open_run(run)


def fake_trial(row, budget, seed, share):
    name = f"{row[0]}.{row[1]}." + ".".join(f"{f}{n}" for f, n in budget.items()) + f".s{seed}"
    uses_sum = row[1] != "independent"
    return Trial(
        id=name, task="fake", variant=row[0], regime=row[1], budget=budget, seed=seed, status="done", error=share,
        trivial=0.9, train_error=share / 2, seconds=10.0, n_steps=100, n_parameters=1000, latency_ms=1.5,
        trainings=(f"{row}{seed}" + (f"{budget}" if uses_sum else ""),),
    )  # fmt: skip


def power(a, b, c=0.0):
    """n -> c + a n^-b."""
    return lambda n: c + a * n**-b


def flat(share):
    return lambda n: share


def as_failed(trial):
    return {"status": "failed", "message": "ValueError: no such thing", "error": None}
