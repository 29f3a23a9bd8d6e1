"""What a study runs next, in a run folder: all of its plan, or what seamwise.advice.race asks for until it is sure."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import final

from seamwise.advice.race import Round, next_round
from seamwise.plan import Plan
from seamwise.runs import open_run, read_run_record
from seamwise.task import Task
from seamwise.trial import Trial, write_json
from seamwise.worker import Spec, failed_trial


@final
class Rounds:
    """sure: None runs all that is not done. Trials that failed in an earlier study are tried again.

    todo: what to run now. ahead: all that may have to be run yet, `todo` too. why: in words, why the race is over
    """

    def __init__(self, run: Path, task: Task, plan: Plan, sure: float | None) -> None:
        self._run, self._task, self._specs, self.sure = run, task, plan.specs, sure
        self._ended: set[str] = set()
        self.why = ""
        self.next()

    @property
    def n_done(self) -> int:
        return len(self._finished())

    def ended(self, trial: Trial) -> None:
        """A trial ended, be it as failed: it is not asked for again."""
        self._ended.add(trial.id)

    def next(self) -> list[Spec]:
        """What to run once all that was asked for before has ended."""
        if self.sure is None:
            known = {t.id for t in self._finished()}
            self.todo = self.ahead = [s for s in self._specs if s.id not in known]
        else:
            found = self._raced(self.sure)
            self.todo, self.ahead, self.why = self._of(found.trials), self._of(found.ahead), found.why
        return self.todo

    def leave_out(self) -> str:
        """Write into run.json what was not run, and say it. Raises StorageError."""
        record = read_run_record(self._run)
        assert record is not None
        known = {t.id for t in self._finished()}
        left_out = tuple(i for i in record.trials if i not in known)
        write_json(self._run / "run.json", record.model_copy(update={"left_out": left_out}).model_dump(mode="json"))
        return f"{self.why}; {len(left_out):,} of {len(record.trials):,} trials were not run"

    def _raced(self, sure: float) -> Round:
        return next_round(replace(open_run(self._run), trials=self._finished()), self._specs, sure)

    def _finished(self) -> tuple[Trial, ...]:
        """What is done, and what ended as failed; what ended and cannot be read failed too."""
        lost = {s.id: failed_trial(self._task, s, "cannot be read") for s in self._specs if s.id in self._ended}
        done = {t.id: t for t in open_run(self._run).trials if t.status == "done" or t.id in self._ended}
        known = lost | done
        return tuple(known[s.id] for s in self._specs if s.id in known)

    def _of(self, ids: Collection[str]) -> list[Spec]:
        return [s for s in self._specs if s.id in ids]
