"""Did end to end rediscover the stages? What linear probes read from a study's networks, kept in RUN/rediscovered.json.

Of the largest budget and its first seed: a network trained stage by stage, the one trained end to end, the direct one,
and each before any training. What was read is kept by the trials' trainings, so that a second report takes no time.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from seamwise.advice.numbers import name_of
from seamwise.errors import RunError, SeamwiseError
from seamwise.look.probing.score import ProbeScore
from seamwise.report.figures import Style
from seamwise.report.parts import Part, Words
from seamwise.report.probed import STAGED, Network, probed_parts
from seamwise.runs import Row, Study
from seamwise.trial import Trial, write_json

if TYPE_CHECKING:
    from seamwise.chain import ChainNet
    from seamwise.task import Task

FORMAT = 1  # of rediscovered.json
FILE = "rediscovered.json"
MOST_SECONDS = 30.0
MOST_ITEMS, FEWEST_ITEMS = 1000, 100  # of each split
MOST_FEATURES = 1024
GONE = "Not looked into: the networks are no longer in the study's folder, and nothing was read from them before."
N_TIMED = 16  # items by which the time is reckoned


@final
@dataclass(frozen=True)
class Rediscovered:
    """The networks that were read, and why others were not."""

    networks: tuple[Network, ...] = ()
    note: str = ""


def rediscovered_parts(study: Study, names: Mapping[str, Style], found: Rediscovered) -> Iterator[Part]:
    """The section of a report; nothing where nothing was read and nothing is to be said of it."""
    if found.networks:
        yield from probed_parts(study, names, found.networks)
    if found.note:
        yield Words((found.note,), soft=True)


def read_rediscovered(study: Study, task: "Task | None") -> Rediscovered:
    """What probes read from the networks of a study, now or before. Empty where there is nothing to compare."""
    trials = _trials(study)
    if not any(regime in trials for regime in ("endtoend", "direct")):
        return Rediscovered()
    key = _key(trials.values())
    kept = _kept(study, key)
    if kept is not None:
        return kept
    hashes = {hash_ for trial in trials.values() for hash_ in trial.trainings}
    if task is None or not hashes:
        return Rediscovered()
    found, lost = _read(study, task, trials)
    if not lost and (found.networks or found.note):
        content = {"format": FORMAT, "key": key, "networks": [asdict(n) for n in found.networks], "note": found.note}
        with suppress(SeamwiseError, OSError):  # a folder that cannot be written does not cost the report
            write_json(study.run / FILE, content)
    return found


def _trials(study: Study) -> dict[str, Trial]:
    """{regime: the trial that is read}: one staged regime of a variant, its endtoend, and the first direct network."""
    n = study.compared_at
    if n is None:
        return {}
    firsts = {row: min(own, key=lambda t: t.seed) for row in study.rows if (own := study.at(row, n))}
    variants = [variant for variant, regime in firsts if regime == "endtoend"]
    variants += [variant for variant, regime in firsts if regime != "direct"]
    rows: list[Row] = []
    if variants:
        rows += [(variants[0], regime) for regime in STAGED if (variants[0], regime) in firsts][:1]
        rows += [(variants[0], "endtoend")]
    rows += [row for row in firsts if row[1] == "direct"][:1]
    return {row[1]: firsts[row] for row in rows if row in firsts}


def _key(trials: Iterable[Trial]) -> str:
    parts = [(t.id, t.trainings) for t in trials]
    return hashlib.sha256(repr((FORMAT, MOST_ITEMS, MOST_FEATURES, parts)).encode()).hexdigest()[:16]


def _kept(study: Study, key: str) -> Rediscovered | None:
    """What was read before, of the same trainings."""
    try:
        content = json.loads((study.run / FILE).read_text())
        if content["key"] != key:
            return None
        networks = tuple(_network_of(kept) for kept in content["networks"])
        return Rediscovered(networks, content["note"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _network_of(kept: Mapping[str, Any]) -> Network:
    trained, untrained = (tuple(ProbeScore(**reading) for reading in kept[part]) for part in ("trained", "untrained"))
    return Network(kept["name"], trained, untrained, kept["own"])


def _read(study: Study, task: "Task", trials: Mapping[str, Trial]) -> tuple[Rediscovered, bool]:
    """Every network in turn, as long as there is time; and whether some were lost, so that it is not to be kept.

    Nothing that goes wrong here costs the report.
    """
    from seamwise.look.probing.probe import stage_fields

    networks, lost = list[Network](), list[str]()
    try:
        if not stage_fields(task):
            return Rediscovered(), False
        if not any((study.run / "stages" / hash_).is_dir() for trial in trials.values() for hash_ in trial.trainings):
            return Rediscovered(note=GONE), True
        changed = _changed(study, task, trials)
        if changed:
            return Rediscovered(note=f"Not looked into: {changed}."), False
        nets = _nets(study, task, trials, lost)
        note = _probed(task, trials, nets, networks)
    except Exception as error:  # whatever the task's own networks and functions raise
        lost.append(f"Not looked into{' any further' if networks else ''}: {_brief(error)}.")
        note = ""
    return Rediscovered(tuple(networks), " ".join([*lost, *([note] if note else [])])), bool(lost)


def _nets(study: Study, task: "Task", trials: Mapping[str, Trial], lost: list[str]) -> "dict[str, ChainNet]":
    """The networks that can be read."""
    nets = {}
    for regime, trial in trials.items():
        try:
            nets[regime] = _net(study, task, trial)
        except Exception as error:  # one costs only itself
            lost.append(f"Not looked into {regime}: {_brief(error)}.")
    return nets


def _probed(task: "Task", trials: Mapping[str, Trial], nets: "Mapping[str, ChainNet]", networks: list[Network]) -> str:
    """What is read from each, added to `networks`; and why there are no more, in words."""
    from seamwise.look.probing.probe import rediscovered

    if not nets:
        return ""
    start, n_items = time.monotonic(), _affordable(task, nets)
    if n_items < FEWEST_ITEMS:
        return f"Not looked into: that would take more than {MOST_SECONDS:g} s."
    for probed in rediscovered(task, nets, max_items=n_items, max_features=MOST_FEATURES):
        networks.append(_network(probed, trials[probed.name]))
        if time.monotonic() - start > MOST_SECONDS and len(networks) < len(nets):
            return f"Not looked into after {MOST_SECONDS:g} s: {', '.join(list(nets)[len(networks) :])}."
    return ""


def _brief(error: Exception) -> str:
    """What went wrong, on a line."""
    if isinstance(error, SeamwiseError):
        return str(error).splitlines()[0]
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def _changed(study: Study, task: "Task", trials: Mapping[str, Trial]) -> str:
    """Why the task is not the one that the networks were trained for, in words; empty where it is."""
    for trial in trials.values():
        if task.signature.get(trial.variant) != study.record.signatures[trial.variant]:
            return f"the stages of {trial.variant} have changed since they were trained"
    items = task.supply.rows("test", task.answer.field)
    with np.load(study.run / "test.npz", allow_pickle=False) as test:
        same = np.array_equal(items, test["items"]) and np.array_equal(task.supply.groups[items], test["groups"])
    return "" if same else "the task's data have changed since the study"


def _net(study: Study, task: "Task", trial: Trial) -> "ChainNet":
    """A trial's network, put together from the trainings that compose it."""
    from safetensors import SafetensorError

    from seamwise.store import load_training
    from seamwise.training import install

    net = task.chain_of(trial.variant).build(trial.seed)
    for hash_ in trial.trainings:  # where a stage was trained twice, the later one counts
        try:
            install(net, load_training(study.run / "stages" / hash_))
        except (OSError, SafetensorError, ValueError, KeyError, RuntimeError) as error:
            raise RunError(f"{study.run / 'stages' / hash_}: cannot be read", given=str(error)) from None
    return net.eval()


def _affordable(task: "Task", nets: Mapping[str, "ChainNet"]) -> int:
    """How many items of each split the networks, and as many untrained ones, can write in half of the time."""
    from seamwise.look.probing.layers import LayerReader

    rows = task.supply.rows("train")[:N_TIMED]
    seconds = 0.0
    for net in nets.values():
        reader = LayerReader(net, task.supply, MOST_FEATURES)
        start = time.perf_counter()
        for _ in reader.read(rows):
            pass
        seconds += (time.perf_counter() - start) / len(rows)
    return min(MOST_ITEMS, int(MOST_SECONDS / 2 / max(2 * 3 * seconds, 1e-9)))


def _network(probed: Any, trial: Trial) -> Network:
    fields = {score.field for score in probed.scores}
    own = {s.field: s.error for s in trial.stages if s.field in fields}
    return Network(name_of(trial.row), probed.scores, probed.untrained, own)
