import json
from dataclasses import replace

import numpy as np
import pytest
from fakes import N_ITEMS, as_failed, flat, make_run, power, wrong

from seamwise.advice import Advice, advise, write_advice
from seamwise.advice.outlook import crossings
from seamwise.advice.seams import instead_of
from seamwise.errors import InputError, RunError
from seamwise.runs import open_run
from seamwise.trial import SeamRecord, StageScore

INDEPENDENT, TUNED, ENDTOEND = ("found", "independent"), ("found", "tuned"), ("found", "endtoend")
GIVEN, DIRECT = ("given", "tuned"), ("direct", "direct")
KEYS = {"best_now", "p_best", "crossovers", "stages", "variants", "seams", "buy_next", "costs", "abstained"}
KEYS |= {"failed_trials"}


def p_best(advice, n):
    return {(o.way.variant, o.way.regime): o.p_best for o in advice.p_best if o.n == n}


def what(advice):
    return "; ".join(f"{u.what}: {u.why}: {u.trial}" for u in advice.abstained)


@pytest.fixture
def plain(tmp_path):
    """Independent leads, endtoend passes it at about 800 labels; direct is nowhere near."""
    curves = {INDEPENDENT: flat(0.2), ENDTOEND: power(16.0, 0.65), DIRECT: flat(0.9)}
    return make_run(tmp_path, curves, budgets=(100, 200, 400, 800, 1600, 3200))


def test_best_now_is_the_least_error_at_the_largest_budget(plain):
    best = advise(plain).best_now
    assert (best.way.regime, best.n, best.n_compared) == ("endtoend", 3200, 3)
    assert best.error.mean == pytest.approx(plain.errors(ENDTOEND, 3200).mean())
    assert best.probability > 0.99


def test_p_best_sums_to_one_at_every_budget_up_to_16_times(plain):
    advice = advise(plain)
    assert advice.at == (100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200)
    for n in advice.at:
        assert sum(p_best(advice, n).values()) == pytest.approx(1)
    assert p_best(advice, 100)[INDEPENDENT] > 0.99
    assert p_best(advice, 51200)[ENDTOEND] > 0.8


def test_measured_budgets_are_measured(plain):
    for o in advise(plain).p_best:
        assert o.measured == (o.n <= 3200)
        if o.measured:
            errors = plain.errors((o.way.variant, o.way.regime), o.n)
            assert o.error == plain.bootstrap.interval(errors)
            assert not o.abstained


def test_a_way_that_does_not_use_the_swept_labels_stays_where_it_is(plain):
    ahead = [o for o in advise(plain).p_best if o.way.regime == "independent" and not o.measured]
    assert {o.error.mean for o in ahead} == {float(plain.errors(INDEPENDENT, 3200).mean())}
    assert not any(o.abstained for o in ahead)


def test_a_crossover_is_told_where_its_interval_is_narrow(plain):
    (crossing,) = advise(plain).crossovers
    assert (crossing.before.regime, crossing.after.regime) == ("independent", "endtoend")
    assert 600 <= crossing.low <= crossing.n <= crossing.high <= 1100  # 16 n^-.65 = .2 at 846
    assert crossing.high < 4 * crossing.low


def test_a_crossover_far_away_is_not_told(tmp_path):
    study = make_run(tmp_path, {INDEPENDENT: flat(0.1), ENDTOEND: power(1.2, 0.2)}, budgets=(100, 200, 400, 800, 1600))
    advice = advise(study)
    assert not advice.crossovers
    assert advice.best_now.way.regime == "independent"


def test_crossings_are_where_a_difference_falls_below_zero_for_good():
    at = np.array([0.0, 1.0, 2.0, 3.0])
    apart = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [-1, -1, -1, -1], [1, 1, 1, 1], [-1, 1, 3, -1]], dtype=float)
    assert crossings(at, apart).tolist() == [1.5, 2.5, -np.inf, np.inf, 2.75]


def test_budgets_asked_for_are_told_whether_measured_or_not(plain):
    advice = advise(plain, at=[1000, 3200, 20000])
    assert {1000, 20000} <= set(advice.at)
    assert sum("20,000 labels" in s for s in advice.sentences) == 1
    assert sum("With 1,000 labels" in s for s in advice.sentences) == 1
    inside = next(o for o in advice.p_best if o.n == 1000 and o.way.regime == "endtoend")
    left, right = (plain.errors(ENDTOEND, n).mean() for n in (800, 1600))
    assert right < inside.error.mean < left
    assert not inside.abstained


def test_a_target_below_the_labels_at_hand_says_what_is_missing(plain):
    advice = advise(plain, at=[10])
    assert 10 not in advice.at
    assert "the best at 10 labels" in what(advice)
    assert advice.best_now is not None


@pytest.mark.parametrize(
    ("at", "prices", "named"),
    [([0], {}, "0 labels"), ([], {"sum": -1}, "sum"), ([], {"box": 1}, "box"), ([], {"sum": float("nan")}, "sum")],
)
def test_prices_and_budgets_that_cannot_be(plain, at, prices, named):
    with pytest.raises(InputError, match=named):
        advise(plain, at, prices)


def test_advice_json_has_every_key_and_reads_back(plain):
    advice = advise(plain)
    path = write_advice(plain, advice)
    record = json.loads(path.read_text())
    assert set(record) >= KEYS
    assert record["best_now"]["regime"] == "endtoend"
    assert {"variant", "regime", "name", "n", "p_best"} <= set(record["p_best"][0])
    assert Advice.model_validate(record) == advice
    assert "NaN" not in path.read_text()
    assert "Infinity" not in path.read_text()


# what a run may lack


def test_no_trial(tmp_path):
    advice = advise(make_run(tmp_path, {TUNED: flat(0.1)}, change=lambda t: None))
    assert advice.best_now is None
    assert "no trial is finished" in what(advice)
    assert advice.sentences


def test_failed_trials_alone(tmp_path):
    advice = advise(make_run(tmp_path, {TUNED: flat(0.1), DIRECT: flat(0.5)}, change=as_failed))
    assert advice.best_now is None
    assert {t.why for t in advice.failed_trials} == {"ValueError: no such thing"}
    assert "all 30 trials that were run failed" in what(advice)
    assert "30 of 30 trials failed." in advice.sentences


def test_one_budget(tmp_path):
    advice = advise(make_run(tmp_path, {TUNED: flat(0.1), DIRECT: flat(0.5)}, budgets=(400,)))
    assert advice.best_now.way.regime == "tuned"
    assert "how it changes with more labels" in what(advice)
    assert "100, 200" in what(advice)
    assert all(o.abstained for o in advice.p_best if not o.measured)


def test_one_seed(tmp_path):
    advice = advise(make_run(tmp_path, {TUNED: power(1, 0.3), DIRECT: flat(0.5)}, seeds=1))
    assert advice.best_now.way.regime == "tuned"
    assert "one seed" in what(advice)


def test_half_written(tmp_path):
    def change(trial):
        return None if trial.budget["sum"] == 1600 and trial.regime == "tuned" else {}

    study = make_run(tmp_path, {TUNED: power(1, 0.3), DIRECT: flat(0.5)}, change=change)
    with (study.run / "trials.jsonl").open("a") as file:
        file.write('{"id": "cut sho')
    advice = advise(open_run(study.run))
    assert advice.best_now.n == 800
    assert "not run yet: 3 of 30 planned trials" in what(advice)
    assert "not finished there: tuned" in what(advice)


def test_another_version_is_refused(plain):
    record = json.loads((plain.run / "run.json").read_text())
    (plain.run / "run.json").write_text(json.dumps(record | {"format": 1}))
    with pytest.raises(RunError, match="another format"):
        open_run(plain.run)
    (plain.run / "run.json").write_text(json.dumps(record)[:200])
    with pytest.raises(RunError, match="damaged"):
        open_run(plain.run)


def test_trials_that_did_not_train_are_told_and_left_out_of_forecasts(tmp_path):
    def change(trial):
        return {"untrained": "no better than trivial", "error": 0.9} if trial.seed == 0 and trial.row == TUNED else {}

    advice = advise(make_run(tmp_path, {TUNED: power(2, 0.4), DIRECT: flat(0.5)}, change=change))
    assert {t.status for t in advice.failed_trials} == {"did not train"}
    ahead = next(o for o in advice.p_best if o.n == 3200 and o.way.regime == "tuned")
    assert ahead.error.mean == pytest.approx((2 * 2 * 3200**-0.4 + 0.9) / 3, abs=0.03)  # one of three does not


# which trial would tell most


def test_an_unclear_best_names_the_trial_that_would_tell_most(tmp_path):
    def change(trial):  # seeds differ by far more than items do
        return {"error": trial.error + 0.2 * (trial.seed - 1) * (1 if trial.row == TUNED else -1)}

    study = make_run(tmp_path, {TUNED: flat(0.25), ENDTOEND: flat(0.28)}, change=change)
    advice = advise(study)
    assert advice.best_now.close
    assert "more seeds of" in what(advice)


def test_a_plateau_at_chance_abstains(tmp_path):
    advice = advise(make_run(tmp_path, {TUNED: power(1, 0.3), DIRECT: flat(0.9)}))
    ahead = [o for o in advice.p_best if o.way.regime == "direct" and not o.measured]
    assert all("plateau" in o.abstained for o in ahead)
    assert "direct beyond 1,600 labels" in what(advice)


# stages


def with_stages(place_error, unit="share wrong", on_gold=None):
    score = StageScore(
        field="place", stage="find", error=place_error, error_on_gold_input=on_gold, trivial=0.9, unit=unit
    )
    answer = StageScore(field="sum", stage="read", error=0.2, error_on_gold_input=0.08, trivial=0.9, unit=unit)
    return (score, answer)


def test_stage_costs_are_what_the_pins_say(tmp_path):
    def extra(trial):
        pinned = {"pinned.place": wrong(0.08, trial.seed), "alone.place": wrong(0.08, trial.seed)}
        own = {"error.place": wrong(0.15, trial.seed), "error.sum": wrong(0.2, trial.seed)}
        return pinned | own | {"wrong.place": wrong(0.15, trial.seed), "wrong.sum": wrong(0.08, trial.seed + 7)}

    study = make_run(tmp_path, {INDEPENDENT: flat(0.2)}, change=lambda t: {"stages": with_stages(0.15)}, extra=extra)
    advice = advise(study)
    place, answer = advice.stages
    assert place.pinned.mean == pytest.approx(0.12)
    assert place.pinned.low < 0.12 < place.pinned.high
    assert place.marginal.mean == pytest.approx(0.12)
    assert answer.pinned is None
    (chain,) = advice.chains
    assert chain.rest.mean == pytest.approx(0.08)
    assert chain.compounding.mean == pytest.approx(0.2 / (1 - 0.85 * 0.92))
    assert any("costliest stage of independent is find" in s for s in advice.sentences)


def test_a_pin_is_refused_where_the_stage_left_its_meaning(tmp_path):
    def extra(trial):
        own = wrong(0.6 if trial.regime == "endtoend" else 0.1, trial.seed)
        return {"error.place": own, "error.sum": wrong(0.2), "pinned.place": wrong(0.9), "alone.place": wrong(0.9)}

    def change(trial):
        return {"stages": with_stages(0.6 if trial.regime == "endtoend" else 0.1)}

    study = make_run(tmp_path, {INDEPENDENT: flat(0.2), ENDTOEND: flat(0.1)}, change=change, extra=extra)
    advice = advise(study)
    by_way = {(s.way.regime, s.field): s for s in advice.stages}
    refused = by_way["endtoend", "place"]
    assert refused.pinned is None
    assert "left what its labels mean" in refused.refused
    assert refused.own.mean == pytest.approx(0.6)
    assert by_way["independent", "place"].pinned is not None
    assert "what the stages of endtoend cost" in what(advice)


def test_without_a_rate_of_wrong_items_nothing_compounds(tmp_path):
    def extra(trial):
        return {
            "wrong.sum": wrong(0.1),
            "error.place": np.full(N_ITEMS, 2.5, np.float32),
            "spread.place": np.full(N_ITEMS, 4.0, np.float32),
        }

    study = make_run(
        tmp_path, {INDEPENDENT: flat(0.2)}, change=lambda t: {"stages": with_stages(2.5, "px")[:1]}, extra=extra
    )
    advice = advise(study)
    assert advice.chains[0].compounding is None
    assert "the error of place is no rate" in advice.chains[0].refused
    assert advice.stages[0].spread.mean == pytest.approx(2.0)


def test_exposure_is_trained_on_gold_less_trained_on_predictions(tmp_path):
    def extra(trial):
        return {"error.sum": wrong(0.3 if trial.regime == "independent" else 0.2), "error.place": wrong(0.1)}

    curves = {INDEPENDENT: flat(0.3), ("found", "sequential"): flat(0.2)}
    study = make_run(tmp_path, curves, change=lambda t: {"stages": with_stages(0.1)}, extra=extra)
    costs = {(s.way.regime, s.field): s for s in advise(study).stages}
    assert costs["independent", "sum"].exposure.mean == pytest.approx(0.1)
    assert costs["sequential", "sum"].exposure is None


# variants, seams, labels, costs


def test_the_gain_of_the_hand_made_stage_and_where_it_ends(tmp_path):
    study = make_run(tmp_path, {TUNED: power(2, 0.4), GIVEN: lambda n: min(0.2, 2 * n**-0.4)})
    (gain,) = advise(study).variants
    assert (gain.variant, gain.other, gain.designed, gain.stages) == ("given", "found", True, ("find",))
    assert gain.gains[100].low > 0
    assert gain.gains[1600].mean == pytest.approx(0)
    assert gain.ends == 400


def test_seams_that_stop_gradient_and_what_would_serve(tmp_path):
    stopped = SeamRecord(
        field="place", writer="find", reader="read", hard=True, passes=False, gradient=0.0, stopped_by="argmax in find"
    )
    study = make_run(tmp_path, {TUNED: flat(0.2)}, change=lambda t: {"seams": (stopped,)})
    (seam,) = advise(study).seams
    assert "softmax" in seam.instead
    assert any("No gradient crosses place" in s for s in advise(study).sentences)


@pytest.mark.parametrize("operation", ["argmax", "round in cut", "estimator forest", "outside api", "numpy", "odd"])
def test_every_stopped_seam_has_a_remedy(operation):
    assert instead_of(operation)


def test_what_to_buy_next_follows_the_prices(tmp_path):
    curves = {TUNED: power(4, 0.4)}
    study = make_run(tmp_path, curves, halved={(TUNED, "place"): 0.35})
    dear = advise(study, prices={"sum": 100.0, "place": 1.0}).buy_next
    cheap = advise(study, prices={"sum": 0.001, "place": 100.0}).buy_next
    assert dear[0].field == "place"
    assert cheap[0].field == "sum"
    assert {p.field: p.n_more for p in dear} == {"place": 50, "sum": 1600}
    assert dear[0].worth == pytest.approx(dear[0].gain.mean / 50)
    free = advise(study, prices={"sum": 0.0}).buy_next
    assert free[0].worth is None


def test_labels_that_were_neither_swept_nor_halved_are_named(plain):
    assert "what more labels of place are worth" in what(advise(plain))


def test_costs_stand_beside_scores(plain):
    cost = next(c for c in advise(plain).costs if c.way.regime == "endtoend")
    assert (cost.seconds, cost.n_parameters, cost.latency_ms, cost.n_seeds) == (10, 1000, 1.5, 3)
    assert cost.error.mean == pytest.approx(plain.errors(ENDTOEND, 3200).mean())


def test_advice_does_without_torch():
    import subprocess
    import sys

    code = "import sys, seamwise.advice; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"


# what a review found


def test_ways_are_paired_by_seed_whichever_are_missing(tmp_path):
    def change(trial):
        missing = (trial.row == TUNED and trial.seed == 2) or (trial.row == ENDTOEND and trial.seed == 0)
        return None if missing else {"error": 0.1 + 0.2 * trial.seed}

    study = make_run(tmp_path, {TUNED: flat(0), ENDTOEND: flat(0)}, change=change)
    advice = advise(study)
    assert 0.05 < advice.best_now.probability < 0.95
    assert len(advice.best_now.close) == 1


def test_the_stage_that_writes_the_answer_may_be_the_costliest(tmp_path):
    def extra(trial):
        pinned = {"pinned.place": wrong(0.28, trial.seed), "alone.place": wrong(0.28, trial.seed)}
        return pinned | {"error.place": wrong(0.02, trial.seed), "error.sum": wrong(0.3, trial.seed)}

    study = make_run(tmp_path, {INDEPENDENT: flat(0.3)}, change=lambda t: {"stages": with_stages(0.02)}, extra=extra)
    assert any("costliest stage of independent is read" in s for s in advise(study).sentences)


def test_pins_start_from_the_items_that_have_all_the_gold(tmp_path):
    def extra(trial):
        pinned = wrong(0.2, trial.seed)
        pinned[: N_ITEMS // 2] = np.nan
        return {"pinned.place": pinned, "error.place": wrong(0.1), "error.sum": wrong(0.3, trial.seed)}

    study = make_run(tmp_path, {INDEPENDENT: flat(0.3)}, change=lambda t: {"stages": with_stages(0.1)}, extra=extra)
    advice = advise(study)
    (chain,), place = advice.chains, advice.stages[0]
    assert chain.gold_items == N_ITEMS // 2
    assert chain.start.mean - place.pinned.mean == pytest.approx(chain.rest.mean)
    assert any("on the 200 items with all gold" in s for s in advice.sentences)


def test_trainings_that_fail_as_often_ahead_gain_nothing_by_labels(tmp_path):
    def change(trial):
        lost = trial.row == ENDTOEND and trial.seed == 2
        return {"error": 0.88, "untrained": "no better"} if lost else {}

    curves = {ENDTOEND: power(0.3, 0.13), INDEPENDENT: flat(0.3)}
    advice = advise(make_run(tmp_path, curves, change=change))
    ahead = next(o for o in advice.p_best if o.n == 3200 and o.way.regime == "endtoend")
    assert ahead.error.mean > 0.3
    assert "how often endtoend trains" in what(advice)
    assert all(p.gain.low <= 0 for p in advice.buy_next)


def test_halvings_at_a_budget_that_is_not_compared_are_left_out(tmp_path):
    def change(trial):
        return as_failed(trial) if trial.row == ENDTOEND and trial.budget["sum"] == 1600 else {}

    curves = {TUNED: power(4, 0.4), ENDTOEND: flat(0.5)}
    advice = advise(make_run(tmp_path, curves, halved={(TUNED, "place"): 0.8}, change=change))
    assert advice.n == 800
    assert [p.field for p in advice.buy_next] == ["sum"]


def test_fields_that_grow_together_are_bought_together(tmp_path):
    budgets = (100, 200, 400, 800, 1600)
    full = {n: {"sum": n, "place": n // 32} for n in budgets}
    study = make_run(tmp_path, {TUNED: flat(0.2)}, budgets=budgets, full=full)
    trials = [
        t.model_copy(update={"budget": full[t.budget["sum"]], "error": 4 * t.budget["sum"] ** -0.4})
        for t in study.trials
    ]
    advice = advise(replace(study, trials=tuple(trials)), prices={"sum": 1, "place": 100})
    (offer,) = advice.buy_next
    assert offer.together_with == ("place",)
    assert offer.n_more * offer.price == pytest.approx(1600 + 50 * 100)
    assert "halvings" not in what(advice)


def test_free_labels_do_not_hide_a_clear_purchase(tmp_path):
    study = make_run(tmp_path, {TUNED: power(4, 0.4)}, halved={(TUNED, "place"): 0.22})
    advice = advise(study, prices={"place": 0.0})
    assert advice.buy_next[0].field == "place"
    assert any(s.startswith("Clearly worth buying: 1,600 more of sum") for s in advice.sentences)


def test_labels_that_the_best_way_does_not_use_gain_nothing(tmp_path):
    curves = {INDEPENDENT: flat(0.1), ENDTOEND: flat(0.6)}
    (offer,) = advise(make_run(tmp_path, curves)).buy_next
    assert (offer.way.regime, offer.gain.mean, offer.worth) == ("independent", 0, 0)


def test_a_reason_belongs_to_its_budget(plain):
    advice = advise(plain, at=[51200, 10**12])
    by_n = {o.n: o.abstained for o in advice.p_best if o.way.regime == "endtoend"}
    assert "too far" not in by_n[51200]
    assert "too far" in by_n[10**12]
    with pytest.raises(InputError, match="labels"):
        advise(plain, at=[10**13])


def test_what_else_is_asked_for_changes_no_answer(plain):
    usual, more = advise(plain), advise(plain, at=[150, 5000, 20000, 10**6])
    assert p_best(usual, 6400) == p_best(more, 6400)
    assert p_best(usual, 51200) == p_best(more, 51200)


def test_results_that_cannot_be_read_are_named_and_left_out(plain):
    ids = [t.id for t in plain.trials if t.row == DIRECT]
    (plain.run / "predictions" / f"{ids[0]}.npz").write_bytes(b"")
    (plain.run / "predictions" / f"{ids[1]}.npz").unlink()
    np.savez(plain.run / "predictions" / f"{ids[2]}.npz", error=np.full(N_ITEMS, np.nan))
    np.savez(plain.run / "predictions" / f"{ids[3]}.npz", error=np.zeros(3))
    np.savez(plain.run / "predictions" / f"{ids[4]}.npz", other=np.zeros(3))
    study = open_run(plain.run)
    assert study.damaged == tuple(ids[:5])
    advice = advise(study)
    assert advice.best_now.way.regime == "endtoend"
    assert ids[0] in what(advice)


def test_a_budget_below_all_is_answered(plain):
    assert any("With 10 labels of sum nothing can be told" in s for s in advise(plain, at=[10]).sentences)


def test_compounding_is_told_only_where_it_is_determined(tmp_path):
    def extra(trial):
        rates = {"wrong.place": wrong(0.02, trial.seed), "wrong.sum": wrong(0.01, trial.seed)}
        return rates | {"pinned.place": wrong(0.01, trial.seed), "error.place": wrong(0.02), "error.sum": wrong(0.03)}

    study = make_run(tmp_path, {INDEPENDENT: flat(0.03)}, change=lambda t: {"stages": with_stages(0.02)}, extra=extra)
    advice = advise(study)
    k = advice.chains[0].compounding
    assert k.low < 1 < k.high
    assert not any("absorbs" in s or "amplifies" in s for s in advice.sentences)
