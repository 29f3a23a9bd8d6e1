"""Does a network know the room or the clothes in place of the face? People of the test in another's room and clothes.

Some people are enrolled with a picture as they usually are. Two kinds of probes follow, as many of each and of the
same people: as they usually are, and each in the room and the clothes of another of them, always the same one's. The
error is the gate's, at the threshold of validation: half of what is asked are strangers. `as host` is the share of
swapped probes that are let in as the one whose room it is, where that one is enrolled.

Enrolling swapped pictures too would show nothing: who is always in one room is told by it, be it another's.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from seamwise import load_model, load_task
from seamwise.bootstrap import Bootstrap
from seamwise.chain import ChainNet
from seamwise.errors import RunError
from seamwise.fit import write
from seamwise.regimes import REGIME_FUNCTIONS
from seamwise.runs import open_run
from seamwise.store import load_training
from seamwise.systems.gate import world
from seamwise.systems.gate.answer import GateError
from seamwise.task import Task
from seamwise.training import Job

N_ROUNDS = 50


@dataclass(frozen=True)
class Pictures:
    """What a network wrote for some pictures, of length 1, and whose they are."""

    likeness: np.ndarray
    person: np.ndarray


def networks(place: Path) -> Iterator[tuple[str, Task, ChainNet]]:
    """That of a model folder, or all that a run trained on most labels: name, task, network."""
    if (place / "model.json").is_file():
        model = load_model(place)
        yield f"{model.record.regime}, {place.name}", model.task, model.net
        return
    run = open_run(place)
    task = load_task(run.record.source)

    def kept(hash_, make):
        if not (place / "stages" / hash_).is_dir():
            raise RunError(f"{place}: not the trainings of this version", remedy="run the study again")
        return load_training(place / "stages" / hash_)

    for row in run.rows:
        for trial in run.at(row, run.record.budgets[-1]):
            job = Job(task, trial.variant, trial.budget, trial.seed, kept)
            yield f"{trial.regime}, {trial.variant}, seed {trial.seed}", task, REGIME_FUNCTIONS[trial.regime](job).net


def calibrated(task: Task, net: ChainNet) -> GateError:
    """The task's metric with its threshold set on validation, as `evaluate` does it."""
    rows = task.supply.rows("validation", task.answer.field)
    labels = task.supply.take([task.answer.field], rows)[task.answer.field]
    metric = task.answer.calibrate(likeness(net, task.supply.take(net.chain.inputs, rows)["image"]), labels)
    assert isinstance(metric, GateError)
    return metric


def likeness(net: ChainNet, image: torch.Tensor) -> torch.Tensor:
    return write(net, {"image": image}, ["person"])["person"]


def seen(net: ChainNet, drawn: world.Pictures) -> Pictures:
    written = likeness(net, torch.from_numpy(drawn.image)).numpy()
    length = np.linalg.norm(written, axis=1, keepdims=True)
    return Pictures(written / np.maximum(length, 1e-12), drawn.person)


def errors(enrolled: Pictures, probes: Pictures, metric: GateError) -> tuple[np.ndarray, float]:
    """Each person's error, the mean of that as enrolled and that as a stranger; the share let in as their host."""
    rng = np.random.default_rng(20)  # the same people and pictures are enrolled whatever is asked
    names, who = np.unique(probes.person, return_inverse=True)
    host = world.partner(probes.person, "test")
    failed, asked = np.zeros((2, 2, len(names)))
    as_host = n_hosts = 0
    for _ in range(N_ROUNDS):
        gallery = np.sort(rng.permutation(names)[: metric.n_enrolled])
        rows = [rng.choice(np.flatnonzero(enrolled.person == name)) for name in gallery]
        similar = probes.likeness @ enrolled.likeness[rows].T
        named, let_in = gallery[similar.argmax(1)], similar.max(1) > metric.threshold
        own, hosted = np.isin(probes.person, gallery), np.isin(host, gallery)
        wrong = np.where(own, ~let_in | (named != probes.person), let_in)
        for kind, chosen in enumerate((own, ~own)):
            failed[kind] += np.bincount(who[chosen], wrong[chosen], len(names))
            asked[kind] += np.bincount(who[chosen], minlength=len(names))
        as_host += (hosted & let_in & (named == host)).sum()
        n_hosts += hosted.sum()
    return (failed / np.maximum(asked, 1)).mean(0), as_host / n_hosts


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("places", nargs="+", type=Path, metavar="RUN_OR_MODEL", help="run folders or model folders")
    asked.add_argument("--pictures", type=int, default=1000, help="probes of each kind")
    options = asked.parse_args()
    usual, probes, swapped = (
        world.draw("test", options.pictures, seed, swapped=seed == 5) for seed in (3, 4, 5)
    )  # the first are the task's own test pictures
    print(f"{'':<40}{'task error':>11}{'as they are':>13}{'swapped':>9}   difference [90 %, by person]  as host")
    for place in options.places:
        for name, task, net in networks(place):
            metric, enrolled = calibrated(task, net), seen(net, usual)
            own = metric(torch.from_numpy(enrolled.likeness), torch.from_numpy(enrolled.person)).mean()
            plain, _ = errors(enrolled, seen(net, probes), metric)
            other, as_host = errors(enrolled, seen(net, swapped), metric)
            change = Bootstrap(np.arange(len(plain))[:, None]).interval((other - plain)[None])
            shown = f"{name:<40}{own:>11.3f}{plain.mean():>13.3f}{other.mean():>9.3f}   {change!s:<28}"
            print(f"{shown}{as_host:>9.3f}", flush=True)


if __name__ == "__main__":
    main()
