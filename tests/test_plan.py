import pytest
from tiny import N_ANSWERS, N_STAGES, make_task

from seamwise.errors import SupplyError, TaskError
from seamwise.plan import make_plan

TASK = make_task()


def cells(plan):
    return {(s.variant, s.regime, tuple(sorted(s.budget.items())), s.seed) for s in plan.specs}


def test_the_default_plan_doubles_the_answers_and_halves_each_other_field_at_the_top():
    plan = make_plan(TASK, n_seeds=2)
    assert plan.budgets == (12, 24, 48, N_ANSWERS)
    top = {"answer": N_ANSWERS, "colour": N_STAGES, "shape": N_STAGES}
    sweep = [s for s in plan.specs if s.budget["colour"] == s.budget["shape"] == N_STAGES]
    assert len(sweep) == 4 * 6 * 2
    halved = [s for s in plan.specs if s not in sweep]
    assert {tuple(sorted(top.items() - s.budget.items())) for s in halved} == {(("colour", 64),), (("shape", 64),)}
    assert {s.regime for s in halved} == {"independent", "sequential", "tuned", "joint"}
    assert len({s.id for s in plan.specs}) == len(plan.specs)
    budgets = [s.budget["answer"] for s in sweep]
    assert budgets == sorted(budgets)


def test_another_field_may_be_swept_or_all_together():
    swept = make_plan(TASK, vary="colour", budgets=[16, 8], n_seeds=1, halvings=False)
    assert swept.budgets == (8, 16)
    assert {s.budget["answer"] for s in swept.specs} == {N_ANSWERS}
    together = make_plan(TASK, together=True, budgets=[48], n_seeds=1)
    assert {tuple(s.budget.values()) for s in together.specs} == {(48, 32, 32)}


def test_regimes_and_seeds_are_those_asked_for():
    plan = make_plan(TASK, regimes=["direct", "endtoend"], budgets=[12], n_seeds=3)
    assert {(s.variant, s.regime) for s in plan.specs} == {("chain", "endtoend"), ("direct", "direct")}
    assert {s.seed for s in plan.specs} == {0, 1, 2}
    assert "direct" not in make_plan(make_task(direct=None)).regimes


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"regimes": ["alone"]}, "no regime 'alone'"),
        ({"variants": ["soft"]}, "no variant 'soft'"),
        ({"vary": "tone"}, "cannot vary 'tone'"),
        ({"budgets": [97]}, "97 labels of 'answer'"),
        ({"budgets": [0, 4]}, "0 labels of 'answer'"),
        ({"n_seeds": 0}, "0 seeds"),
    ],
)
def test_what_is_not_there_is_told(asked, told):
    with pytest.raises((TaskError, SupplyError), match=told):
        make_plan(TASK, **asked)


def test_ids_tell_what_a_trial_is_and_change_with_what_decides_it():
    (one,) = make_plan(TASK, regimes=["joint"], budgets=[12], n_seeds=1, halvings=False).specs
    assert one.id.startswith("chain.joint.12.s0.")
    other = make_task(fit=TASK.fit.__class__(max_steps=7))
    (two,) = make_plan(other, regimes=["joint"], budgets=[12], n_seeds=1, halvings=False).specs
    assert one.id != two.id
    assert cells(make_plan(TASK)) == cells(make_plan(make_task()))
    assert [s.id for s in make_plan(TASK).specs] == [s.id for s in make_plan(make_task()).specs]


def test_a_field_without_training_labels_has_a_budget_of_none():
    task = make_task()
    task.supply.present["colour"][task.supply.rows("train")] = False
    assert {s.budget["colour"] for s in make_plan(task).specs} == {0}
