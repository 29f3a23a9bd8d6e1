"""What needs a cluster of two nodes on the loopback device; tests/test_cluster.py runs it in a process of its own."""

import os
import signal
import time

import pytest
from tiny import both, judge, look, make_task, tell_name

from seamwise import Designed, pool
from seamwise.cluster import run_on_ray
from seamwise.plan import make_plan

OBJECTS = 80_000_000  # bytes, of the smallest object store
BEAT = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 8}

pytestmark = [  # what Ray itself leaves open, and warns of
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore:.*Ray.*:FutureWarning"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes: the first, where studies are started, of one CPU; the second of two."""
    from ray.cluster_utils import Cluster

    node = {"object_store_memory": OBJECTS, "include_dashboard": False}
    first = node | {"num_cpus": 1, "node_ip_address": "127.0.0.2", "_system_config": BEAT}
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_AUTH_MODE", "disabled")  # on the loopback device, for a minute
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        environment.setenv("SEAMWISE_CACHE", str(tmp_path_factory.mktemp("cache")))
        nodes = Cluster()
        try:
            for options in (first, node | {"num_cpus": 2, "node_ip_address": "127.0.0.3"}):
                add_node(nodes, options)
            environment.setenv("RAY_ADDRESS", nodes.address)
            yield nodes
        finally:
            nodes.shutdown()


def add_node(nodes, options, tries=3):
    """Ray gives a node 30 s to start; on a busy machine it may want more."""
    try:
        nodes.add_node(**options)
    except Exception as error:
        if tries == 1 or "timed out during startup" not in str(error):
            raise
        add_node(nodes, options, tries - 1)


def task_with(work, **changes):
    return make_task([look, Designed("both", work, ("colour", "tone"), "both"), judge, tell_name], **changes)


def slow_task(marks):
    def slowly(colour, tone):
        (marks / str(os.getppid())).touch()  # of a worker of Ray's, its node
        time.sleep(0.01)
        return both.work(colour, tone)

    return task_with(slowly)


def plan(task, regimes, n_seeds=1, variants=None):
    return make_plan(task, budgets=[24], n_seeds=n_seeds, regimes=regimes, variants=variants, halvings=False).specs


def keep(trials):
    return lambda trial, seconds: trials.append(trial)


def scores(trials):
    """By trial; each is there once."""
    found = {t.id: (t.status, t.error, t.train_error) for t in trials}
    assert len(found) == len(trials)
    return found


def test_a_study_outlives_a_node_and_goes_on_from_the_storage(cluster, tmp_path, capfd):
    marks, storage = tmp_path / "marks", str(tmp_path / "shared")
    marks.mkdir()
    task = slow_task(marks)
    specs = plan(task, ["independent", "endtoend", "direct"], n_seeds=2)
    second = next(iter(cluster.worker_nodes))
    mark = marks / str(second.all_processes["raylet"][0].process.pid)
    done, shares, last = [], [], [[specs[-1]]]

    def finished(trial, seconds):
        done.append(trial)
        if second in cluster.worker_nodes and mark.exists():
            cluster.remove_node(second, allow_graceful=False)

    def more():
        return last.pop() if last else []

    def at(spec, share):
        shares.append(share)

    capfd.readouterr()
    run_on_ray(task, specs[:-1], tmp_path / "one", None, finished, at, more=more, storage=storage)
    assert capfd.readouterr().out == ""
    assert second not in cluster.worker_nodes, "the second node was never at work"
    assert shares
    assert {p.name for p in (tmp_path / "one" / "predictions").iterdir()} == {f"{s.id}.npz" for s in specs}
    on_this_machine = []
    pool.run_all(task, specs, tmp_path / "pool", 1, keep(on_this_machine))
    assert scores(done) == scores(on_this_machine)

    for spec in specs[:3]:  # as if the first had stopped before
        (tmp_path / "shared" / "trials" / f"{spec.id}.json").unlink()
    again = []
    run_on_ray(task, specs, tmp_path / "two", 1, keep(again), storage=storage)
    assert scores(again) == scores(done)
    # of training: had one been made again, it would have taken others
    assert {t.id: t.seconds for t in again} == {t.id: t.seconds for t in done}


def test_trials_that_kill_hang_or_raise_fail_and_the_others_do_not(cluster, tmp_path):
    deaths, here = tmp_path / "deaths", os.getpid()

    def in_workers(act):
        def work(colour, tone):
            if os.getpid() != here:  # a task's stages are tried when it is made
                act()
            return both.work(colour, tone)

        return task_with(work).chain

    def kill():
        with deaths.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    def fail():
        raise RuntimeError("mine")

    acts = {"kills": kill, "hangs": lambda: time.sleep(1000), "raises": fail}
    chains = {name: in_workers(act) for name, act in acts.items()}
    task = make_task(chain={"well": task_with(both.work).chain} | chains)
    trials, specs = [], plan(task, ["endtoend"], variants=list(task.variants))
    run_on_ray(task, specs, tmp_path / "run", 2, keep(trials), limit_s=15.0)
    told = {t.variant: (t.status, t.message) for t in trials}
    assert len(trials) == len(told) == 4
    assert told["well"] == ("done", "")
    assert "its process died 3 times" in told["kills"][1]
    assert deaths.read_text() == "xxx"
    assert "longer than the time limit, 15 s" in told["hangs"][1]
    assert "RuntimeError: mine" in told["raises"][1]
    assert all(t.status == "failed" for t in trials if t.variant != "well")
