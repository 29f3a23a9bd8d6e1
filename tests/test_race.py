"""Which trials a study that stops when it is sure runs, on runs made by hand and on a small real one."""

import random
from dataclasses import dataclass

import pytest
from fakes import as_failed, flat, make_run, power
from tiny import make_task
from typer.testing import CliRunner

from seamwise import study
from seamwise.advice.race import next_round, standing
from seamwise.cli import app
from seamwise.errors import InputError
from seamwise.plan import make_plan
from seamwise.progress import Progress
from seamwise.rounds import Rounds
from seamwise.runs import Study, open_run
from seamwise.trial import write_json

BUDGETS = (100, 200, 400, 800)
BEST = ("found", "endtoend")
CLEAR = {
    ("found", "independent"): flat(0.4),
    ("found", "tuned"): power(2.0, 0.4),
    BEST: power(3.0, 0.7),
    ("direct", "direct"): power(1.5, 0.15),
}
CLOSE = {BEST: power(3.0, 0.5), ("direct", "direct"): power(3.0, 0.5, 0.003), ("found", "independent"): flat(0.6)}
TINY = {"budgets": [12, 24, 48, 96], "seeds": 2, "jobs": 1, "quiet": True}
TINY |= {"regimes": ["independent", "tuned", "direct"]}


@dataclass(frozen=True)
class Planned:
    id: str
    variant: str
    regime: str
    budget: dict
    seed: int


def plan_of(run):
    return [Planned(t.id, t.variant, t.regime, t.budget, t.seed) for t in run.trials]


def race(run, sure=0.95):
    """All rounds: (what was run, the last round, the rounds' trials)."""
    ids, rounds, plan = [], [], plan_of(run)
    while (found := next_round(run.only(ids), plan, sure)).trials:
        assert set(found.trials) <= set(found.ahead)
        assert not set(found.trials) & set(ids)
        ids += found.trials
        rounds.append(found.trials)
    assert found.why
    assert not found.ahead
    return run.only(ids), found, rounds


def stopped_run(folder, curves, **changes):
    """A run folder as a study leaves it that stopped when it was sure."""
    full = make_run(folder, curves, budgets=BUDGETS, **changes)
    raced, _, _ = race(full)
    left_out = [t.id for t in full.trials if t not in raced.trials]
    record = full.record.model_copy(update={"sure": 0.95, "left_out": tuple(left_out)})
    write_json(full.run / "run.json", record.model_dump(mode="json"))
    (full.run / "trials.jsonl").write_text("".join(t.model_dump_json() + "\n" for t in raced.trials))
    return open_run(full.run)


def test_the_largest_budget_comes_first_every_way_one_seed(tmp_path):
    run = make_run(tmp_path, CLEAR, budgets=BUDGETS)
    _, _, (first, *_) = race(run)
    assert {(t.row, t.budget["sum"], t.seed) for t in run.only(first).trials} == {(row, 800, 0) for row in CLEAR}
    assert len(first) == len(CLEAR)


def test_it_stops_when_the_best_is_clear_and_drops_what_cannot_be(tmp_path):
    run = make_run(tmp_path, CLEAR, budgets=BUDGETS)
    raced, last, _ = race(run)
    assert last.standing.best == BEST
    assert last.standing.probability >= 0.95
    assert "endtoend is the best at 800 labels of sum with probability" in last.why
    assert len(raced.at(("direct", "direct"), 800)) == 1
    assert len(raced.at(BEST, 800)) >= 2
    assert len(raced.trials) < 0.4 * len(run.trials)


def test_a_way_that_learns_only_from_many_labels_is_not_lost(tmp_path):
    """With half of the labels it has learned nothing, and with all of them it leads."""
    late = lambda n: 0.9 if n < 800 else 0.02  # noqa: E731
    run = make_run(tmp_path, CLEAR | {("found", "joint"): late}, budgets=BUDGETS)
    assert race(run)[1].standing.best == ("found", "joint")


def test_close_ways_run_to_the_end_of_what_tells_and_that_is_said(tmp_path):
    run = make_run(tmp_path, CLOSE, budgets=BUDGETS, change=lambda t: {"error": t.error + 0.01 * (-1) ** t.seed})
    raced, last, _ = race(run)
    assert len(raced.at(BEST, 800)) == len(raced.at(("direct", "direct"), 800)) == 3
    assert last.standing.probability < 0.95
    assert "short of 0.95" in last.why


def test_the_curves_of_the_ways_that_ran_longest_come_last_one_seed(tmp_path):
    raced, _, rounds = race(make_run(tmp_path, CLOSE, budgets=BUDGETS))
    assert all(len(raced.at(BEST, n)) == 1 for n in BUDGETS[:-1])
    assert not raced.at(("found", "independent"), 100)
    assert {t.budget["sum"] for t in raced.only(rounds[-1]).trials} == set(BUDGETS[:-1])


@pytest.mark.parametrize("curves", [CLEAR, CLOSE])
def test_where_it_was_stopped_and_the_order_of_finishing_change_nothing(tmp_path, curves):
    run = make_run(tmp_path, curves, budgets=BUDGETS)
    whole, last, rounds = race(run)
    rng = random.Random(0)
    for k, now in enumerate(rounds):
        done = [i for earlier in rounds[:k] for i in earlier] + rng.sample(now, len(now) // 2)
        some = run.only(done)
        shuffled = Study(run.run, run.record, tuple(rng.sample(some.trials, len(some.trials))))
        for found in (next_round(some, plan_of(run), 0.95), next_round(shuffled, plan_of(run), 0.95)):
            assert set(found.trials) == set(now) - set(done)
    assert next_round(run, plan_of(run), 0.95) == last  # trials that it did not ask for change nothing either
    assert next_round(whole, plan_of(run), 0.95) == last


def test_tuned_stays_while_independent_does(tmp_path):
    curves = {("found", "independent"): power(1.0, 0.5), ("found", "tuned"): flat(0.5), BEST: power(1.0, 0.5, 0.01)}
    raced, last, _ = race(make_run(tmp_path, curves, budgets=BUDGETS))
    assert ("found", "independent") in last.racing
    assert ("found", "tuned") in last.racing
    assert len(raced.at(("found", "tuned"), 800)) >= 2


def test_ways_that_are_equal_need_not_be_told_apart(tmp_path):
    same = power(2.0, 0.6)
    run = make_run(tmp_path, {("found", "tuned"): same, ("found", "joint"): same, BEST: flat(0.5)}, budgets=BUDGETS)
    raced, last, _ = race(run)
    assert last.standing.probability >= 0.95
    assert len(raced.at(("found", "joint"), 800)) == 2
    assert last.standing.chances["found", "joint"] < 0.6


def test_failed_trials_neither_stall_nor_win(tmp_path):
    all_failed = make_run(tmp_path / "a", CLEAR, budgets=BUDGETS, change=as_failed)
    _, last, rounds = race(all_failed)
    assert last.standing.best is None
    assert last.why == "no trial could be finished"
    assert len(rounds) == 2
    at_top = make_run(
        tmp_path / "b",
        CLEAR,
        budgets=BUDGETS,
        change=lambda t: as_failed(t) if t.row == BEST and t.budget["sum"] == 800 else {},
    )
    raced, last, _ = race(at_top)
    assert last.standing.best == ("found", "tuned")
    assert BEST not in last.standing.chances
    assert sum(t.row == BEST for t in raced.failed) == 2


@pytest.mark.parametrize("lost", [0, 1])
def test_a_way_whose_one_trial_failed_is_tried_again_and_may_win(tmp_path, lost):
    def change(t):
        return as_failed(t) if t.row == BEST and t.seed == lost and t.budget["sum"] == 800 else {}

    raced, last, _ = race(make_run(tmp_path, CLEAR, budgets=BUDGETS, change=change))
    assert last.standing.best == BEST
    assert len(raced.at(BEST, 800)) == 2


def test_no_error_on_few_items_is_no_proof_of_being_the_best(tmp_path):
    run = make_run(tmp_path, {BEST: flat(0.0), ("found", "tuned"): flat(0.0025)}, budgets=BUDGETS, seeds=1)
    assert race(run, 0.99)[1].standing.probability < 0.99


def test_ways_that_do_not_train_neither_stall_nor_win(tmp_path):
    lost = {"untrained": "no better than trivial", "error": 0.89}
    run = make_run(tmp_path / "a", CLEAR, budgets=BUDGETS, change=lambda t: lost if t.row == BEST else {})
    raced, last, _ = race(run)
    assert last.standing.best == ("found", "tuned")
    assert len(raced.at(BEST, 800)) == 1
    none = make_run(tmp_path / "b", CLEAR, budgets=BUDGETS, change=lambda t: lost)
    assert race(none)[1].standing.best is not None


def test_a_seed_without_an_error_does_not_make_all_seeds_seem_to_differ(tmp_path):
    """A task so easy that some seeds make no mistake at all is soon sure."""
    shares = {BEST: {0: 0.02, 1: 0.0, 2: 0.0}, ("direct", "direct"): {0: 0.24, 1: 0.25, 2: 0.23}}
    change = lambda t: {"error": shares[t.row][t.seed]}  # noqa: E731
    raced, last, _ = race(make_run(tmp_path, dict.fromkeys(shares, flat(0)), budgets=BUDGETS, change=change))
    assert last.standing.best == BEST
    assert last.standing.probability >= 0.95
    assert len(raced.at(("direct", "direct"), 800)) == 1


def test_halvings_are_run_last_and_of_the_best_way_alone(tmp_path):
    halved = {(row, "place"): 0.3 for row in CLEAR}
    run = make_run(tmp_path, CLEAR, budgets=BUDGETS, halved=halved)
    raced, _last, rounds = race(run)
    chosen = [t for t in run.only(rounds[-1]).trials if t.budget["sum"] == 800]
    assert {t.row for t in chosen} == {BEST}
    assert {t.budget["place"] for t in chosen} == {25}
    assert {t.seed for t in chosen} == {t.seed for t in raced.at(BEST, 800)}


@pytest.mark.parametrize(("budgets", "seeds"), [((100,), 3), ((100, 200), 2), ((100, 200, 400), 1), (BUDGETS, 1)])
def test_few_budgets_or_seeds_end_too(tmp_path, budgets, seeds):
    run = make_run(tmp_path, CLEAR, budgets=budgets, seeds=seeds)
    raced, last, _ = race(run)
    assert last.standing.best == standing(run, CLEAR).best
    assert len(raced.at(last.standing.best, budgets[-1])) >= min(2, seeds)


def test_the_advice_says_what_was_left_out_and_compares_where_it_stopped(tmp_path):
    run = stopped_run(tmp_path, CLEAR)
    advice = run.advise()
    assert run.compared_at == 800
    assert not run.missing
    assert advice.best_now.way.regime == "endtoend"
    assert advice.best_now.n == 800
    told = advice.stopped
    assert told.way == advice.best_now.way
    assert told.probability >= told.sure == 0.95
    assert told.n_left_out == len(run.record.left_out)
    assert told.n_planned == 48
    assert {d.way.name for d in told.dropped} >= {"direct", "independent"}
    assert all(d.p_best <= 0.05 for d in told.dropped)
    assert advice.best_now.n_compared == len(CLEAR)
    assert advice.sentences[1] == (
        "The study stopped when it was sure (no way is better than endtoend with 800 labels of sum: over 0.99, "
        f"0.95 was asked for); {told.n_left_out} of 48 trials were not run."
    )
    assert advice.sentences[2].startswith("Run no further with 800 labels of sum, as unlikely to be the best: ")
    assert not any("not run yet" in u.why or "not finished" in u.why for u in advice.abstained)
    page = run.report().read_text()
    assert "with fewer labels only the ways that were run there compare" in page
    assert "planned trials not run yet" not in page
    assert "left out once the best way was sure" in page
    assert type(advice).model_validate(advice.record()) == advice


def test_a_study_that_was_killed_on_its_way_is_still_unfinished(tmp_path):
    run = stopped_run(tmp_path, CLEAR)
    write_json(run.run / "run.json", run.record.model_copy(update={"left_out": ()}).model_dump(mode="json"))
    advice = open_run(run.run).advise()
    assert advice.stopped is None
    assert any("not run yet" in u.why for u in advice.abstained)


def test_a_real_study_stops_goes_on_and_runs_the_rest(tmp_path):
    task, plan = make_task(), make_plan(make_task(), budgets=TINY["budgets"], n_seeds=2, regimes=TINY["regimes"])
    first = study(task, tmp_path / "run", sure=0.8, **TINY)
    assert first.record.sure == 0.8
    assert not first.missing
    assert {t.id for t in first.trials} | set(first.record.left_out) == {s.id for s in plan.specs}
    assert first.record.left_out
    assert first.compared_at == 96
    assert first.advise().stopped is not None
    before = (tmp_path / "run" / "trials.jsonl").read_text().splitlines()
    kept = before[: len(before) // 2]
    (tmp_path / "run" / "trials.jsonl").write_text("\n".join(kept) + "\n")
    again = study(task, tmp_path / "run", sure=0.8, **TINY)
    assert {t.id for t in again.trials} == {t.id for t in first.trials}
    assert again.record.left_out == first.record.left_out
    rest = Rounds(tmp_path / "run", task, plan, None).todo
    assert {s.id for s in rest} == set(first.record.left_out)


@pytest.mark.parametrize("sure", [0.5, 1.0, 95.0, float("nan")])
def test_a_probability_that_is_none_is_refused(tmp_path, sure):
    with pytest.raises(InputError, match="to be sure with probability"):
        study(make_task(), tmp_path / "run", sure=sure)
    asked = CliRunner().invoke(app, ["study", "digits", "--out", str(tmp_path / "cli"), "--stop-when-sure", str(sure)])
    assert isinstance(asked.exception, InputError) or asked.exit_code == 2
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "cli").exists()


def test_the_bar_counts_what_may_be_to_do_yet(capsys):
    specs = make_plan(make_task(), budgets=[12], n_seeds=2, halvings=False).specs
    with Progress(specs, n_done=1, n_jobs=1, at_most=True) as progress:
        progress.expect(specs[:2])
        assert progress.n_all == 3
        progress.expect([])
    assert "1/at most 1 trials" in capsys.readouterr().err
