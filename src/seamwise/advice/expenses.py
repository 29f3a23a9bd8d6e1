"""What each way costs beside what it scores; what it does on items from elsewhere; which trials failed."""

from collections.abc import Sequence

import numpy as np

from seamwise.advice.numbers import in_panel_order
from seamwise.advice.outlook import way_of
from seamwise.advice.records import Expense, FailedTrial, Shifted
from seamwise.arrays import Float, NDArray
from seamwise.bootstrap import Bootstrap
from seamwise.items import Items, read_groups
from seamwise.runs import Row, Study
from seamwise.trial import Trial


def expenses(study: Study) -> tuple[Expense, ...]:
    """Of every way, at the largest budget."""
    return tuple(_expense(study, row, trials) for row, trials in _finished(study))


def shifts(study: Study) -> tuple[Shifted, ...]:
    """Of every way that was tried on items from elsewhere, at the largest budget."""
    path = study.run / "there.npz"
    if not path.is_file():
        return ()
    there = Bootstrap(read_groups(path))
    shifted = [(row, [t for t in trials if t.shift is not None]) for row, trials in _finished(study)]
    return tuple(_shifted(study, there, row, trials) for row, trials in shifted if trials)


def failed_trials(study: Study) -> tuple[FailedTrial, ...]:
    """Those that failed, then those that did not train."""
    return tuple(
        FailedTrial(
            id=t.id,
            way=way_of(study, t.row),
            n=t.budget[study.record.vary],
            seed=t.seed,
            status="failed" if t.status == "failed" else "did not train",
            why=t.message if t.status == "failed" else study.untrained[t.id],
        )
        for t in sorted(study.trials, key=lambda t: t.status != "failed")
        if t.status == "failed" or t.id in study.untrained
    )


def _finished(study: Study) -> list[tuple[Row, list[Trial]]]:
    n = study.compared_at
    rows = in_panel_order(study) if n is not None else []
    return [(row, trials) for row in rows if (trials := study.at(row, n or 0))]


def _expense(study: Study, row: Row, trials: Sequence[Trial]) -> Expense:
    latencies = [t.latency_ms for t in trials if t.latency_ms is not None]
    seconds, n_steps, n_parameters = np.mean([(t.seconds, t.n_steps, t.n_parameters) for t in trials], axis=0)
    return Expense(
        way=way_of(study, row),
        error=study.bootstrap.interval(study.errors(row, trials[0].budget[study.record.vary])),
        n_seeds=len(trials),
        seconds=float(seconds),
        n_steps=float(n_steps),
        n_parameters=float(n_parameters),
        latency_ms=float(np.mean(latencies)) if latencies else None,
    )


def _shifted(study: Study, there: Bootstrap, row: Row, trials: Sequence[Trial]) -> Shifted:
    kept = [study.items(t) for t in trials]
    first = trials[0].shift
    assert first is not None
    errors = _stack(kept, "there.error", len(there.groups))
    all_again = all("there.retrained" in items for items in kept)
    again = _stack(kept, "there.retrained", len(there.groups)) if all_again else None
    return Shifted(
        way=way_of(study, row),
        here=study.bootstrap.interval(_stack(kept, "error", len(study.bootstrap.groups))),
        there=there.interval(errors),
        trivial_there=first.trivial,
        stage=first.stage,
        n_labels=first.n_labels,
        retrained=None if again is None else there.interval(again),
        won_back=None if again is None else there.interval(errors - again),
        note=first.note,
    )


def _stack(kept: Sequence[Items], name: str, n: int) -> Float[NDArray, "seeds items"]:
    return np.stack([items.numbers(name, n) for items in kept])
