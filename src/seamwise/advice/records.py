"""What advice consists of, as `advice.json` holds it.

Errors are of the answer, in its unit, unless a field says otherwise; intervals are 90 %.
"""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

from seamwise.bootstrap import Interval


class Said(BaseModel):
    """One finding. `words` puts it into a sentence."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)


class Way(Said):
    """One way of building the system: a variant trained by a regime. name: as tables and figures have it."""

    variant: str
    regime: str
    name: str


class OfWay(Said):
    """A finding about one way. In JSON `variant`, `regime` and `name` stand beside the others."""

    way: Way

    @model_serializer(mode="wrap")
    def _flat(self, handler: Any) -> dict[str, Any]:
        record = handler(self)
        return {**record.pop("way"), **record}

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, record: Any) -> Any:
        if isinstance(record, dict) and "way" not in record:
            return record | {"way": {name: record.get(name) for name in Way.model_fields}}
        return record


class Best(OfWay):
    """The way with the least error at a budget that was measured; probability: of being the best of those compared.

    close: those whose difference from it has an interval that holds 0. worthless: not clearly better than answering
    without looking.
    """

    n: int
    error: Interval
    probability: float
    n_compared: int
    close: tuple[Way, ...] = ()
    worthless: bool = False


class Outlook(OfWay):
    """One way at one budget: its error, measured or forecast, and the probability that it is the best there.

    error is None, with p_best 0, where there is nothing to say. abstained: why the forecast is not to be relied on,
    else empty.
    """

    n: int
    measured: bool
    error: Interval | None
    p_best: float
    abstained: str = ""


class Crossover(Said):
    """From about how many labels `after` is better than `before`; the interval spans less than two doublings."""

    before: Way
    after: Way
    n: int
    low: int
    high: int


class StageCost(OfWay):
    """What one stage of one way costs the answer, at the largest budget.

    own:        the stage's own error within the chain, in `unit`; on_gold: on gold input; trivial: without looking
    pinned:     the fall of the answer's error as this stage's gold is put in too, those before it being gold already
    marginal:   the fall where this stage alone is gold: what each mended item of it is worth
    perfect:    the Shapley value of a perfect stage in its place, where the task gives an oracle
    spread:     for numbers: the spread of the answer (its unit) that this stage's own noise makes, propagated
    exposure:   the stage's error trained on gold input, less trained on cross-fitted predictions, in `unit`; in the
                chain, so that from the third stage on it holds that of the stages before it too
    refused:    why the pins cannot be believed, else empty; pinned, marginal and spread are None then
    """

    stage: str
    field: str
    unit: str
    own: Interval
    on_gold: float | None = None
    trivial: float
    pinned: Interval | None = None
    marginal: Interval | None = None
    perfect: Interval | None = None
    spread: Interval | None = None
    exposure: Interval | None = None
    refused: str = ""


class Chained(OfWay):
    """How the errors of the stages become the answer's, for one way at the largest budget.

    gold_items:  of how many items all gold is known, and `start`: the chain's error on these, where the pins start
    rest:        the answer's error that is left on them with every stage gold
    compounding: the chain's error over 1 - product(1 - e_i), e_i the stages' errors on gold input: above 1 the chain
                 amplifies, below it absorbs; None, and why in `refused`, unless every e_i is a rate of wrong items
    """

    error: Interval
    gold_items: int = 0
    start: Interval | None = None
    rest: Interval | None = None
    compounding: Interval | None = None
    refused: str = ""


class VariantGain(Said):
    """What a variant's stage gains over another's, regime by regime: other's error less its own, at each budget.

    ends: the budget from which the gain is not clearly above 0 any more; None where it does not end.
    """

    variant: str
    other: str
    regime: str
    stages: tuple[str, ...]  # of the variant, in which the two differ; those made by hand, where it is for these
    designed: bool  # whether the variant's are made by hand where the other's learn
    gains: dict[int, Interval]
    ends: int | None = None


class SeamState(OfWay):
    """A seam, as it is in one trained chain. instead: what would let gradient through, where it stops something."""

    field: str
    writer: str
    reader: str
    hard: bool
    passes: bool
    gradient: float
    stopped_by: str = ""
    instead: str = ""


class Purchase(OfWay):
    """The next round of labels of one field: as many again as there are, for one way.

    gain: how much the answer's error falls below that of the best way now, 0 where that one would not use them
    worth: gain for each unit of price, None where the labels are free; probability: that the error falls at all
    together_with: fields that grow in proportion, whose labels are in the price
    abstained: why the forecast behind it is not to be relied on, else empty
    """

    field: str
    together_with: tuple[str, ...] = ()
    n_now: int
    n_more: int
    price: float
    gain: Interval
    worth: float | None
    probability: float
    abstained: str = ""


class Expense(OfWay):
    """What a way costs beside what it scores, at the largest budget, the mean over the seeds."""

    error: Interval
    n_seeds: int
    seconds: float
    n_steps: float
    n_parameters: float
    latency_ms: float | None = None


class Untold(Said):
    """What could not be told, why, and the trial that would tell most (empty where none would)."""

    what: str
    why: str
    trial: str = ""


class Dropped(OfWay):
    """A way that a study ran with fewer seeds at the largest budget, and how probably it is the best there."""

    p_best: float


class Stopped(OfWay):
    """A study that stops when it is sure: the way it chose, and what it left out.

    sure: the probability asked for. probability: that no way is better at the largest budget
    """

    sure: float
    probability: float
    n: int  # the largest budget
    n_left_out: int
    n_planned: int
    dropped: tuple[Dropped, ...]


class Shifted(OfWay):
    """A way on items from elsewhere: its error here and there, and with its first learned stage trained again there.

    won_back: the fall of the error there by retraining that one stage, paired. None where there is no stage to retrain
    or no labels there; `note` says so.
    """

    here: Interval
    there: Interval
    trivial_there: float
    stage: str = ""
    n_labels: int = 0
    retrained: Interval | None = None
    won_back: Interval | None = None
    note: str = ""


class FailedTrial(OfWay):
    """A trial that failed, or did not train (which counts in the tables, and in no forecast)."""

    id: str
    n: int
    seed: int
    status: str  # "failed" or "did not train"
    why: str


class Advice(Said):
    """What the trials of a run say. `sentences` is all of it that matters most, in words."""

    run: str
    version: str
    task: str
    answer: str
    unit: str
    trivial: float
    vary: str
    n_trials: int
    n: int | None  # the labels at which all ways are compared: the largest budget at which most are finished
    at: tuple[int, ...]  # the budgets of p_best: those measured, up to 16 times the largest, and those asked for
    best_now: Best | None
    stopped: Stopped | None = None  # where the study stopped because it was sure
    p_best: tuple[Outlook, ...]
    crossovers: tuple[Crossover, ...]
    stages: tuple[StageCost, ...]
    chains: tuple[Chained, ...]
    variants: tuple[VariantGain, ...]
    seams: tuple[SeamState, ...]
    buy_next: tuple[Purchase, ...]
    costs: tuple[Expense, ...]
    shifted: tuple[Shifted, ...]
    abstained: tuple[Untold, ...]
    failed_trials: tuple[FailedTrial, ...]
    sentences: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """As `advice.json` holds it."""
        return self.model_dump(mode="json")

    def _repr_html_(self) -> str:
        from seamwise.report.notebook import advice_html

        return advice_html(self)

    def __str__(self) -> str:
        return "\n".join(self.sentences)
