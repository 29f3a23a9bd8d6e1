"""The shipped tracker beside OpenCV's CSRT and KCF, and SiamFC's published network: the same sequences, one pass each.

Scored as `seamwise eval track` scores; seconds are the trackers' own, without reading frames. KCF is run without its
giving up (detect_thresh -1), which costs it more than half of its score. Of SiamFC, without --siamfc, the weights are
drawn by chance: its speed on the first frames counts then, and nothing else.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from seamwise.bootstrap import LEVEL, Bootstrap
from seamwise.systems.track.folders import Sequence as Labelled
from seamwise.systems.track.folders import check_scored, frames_of_sequence, sequences_of
from seamwise.systems.track.predict import Follows, Track, run
from seamwise.systems.track.presets import PRESETS
from seamwise.systems.track.protocol import scores
from seamwise.systems.track.published import Network, save_preset
from seamwise.systems.track.tracker import Tracker

N_FOR_SPEED = 15  # frames of each sequence, where speed alone is told
OURS, CSRT, KCF, SIAMFC = "seamwise", "CSRT", "KCF, not giving up", "SiamFC"


class OfOpenCV:
    """One of OpenCV's trackers: it takes whole px and BGR, and where it says that it failed, the last box stands."""

    def __init__(self, create: Callable[[], cv2.Tracker]) -> None:
        self._create, self.lost = create, False

    def start(self, frame: np.ndarray, box: np.ndarray) -> None:
        self._tracker, self._box, self.lost = self._create(), np.asarray(box, dtype=np.float64), False
        self._tracker.init(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [int(v) for v in np.rint(box)])

    def next(self, frame: np.ndarray) -> tuple[np.ndarray, float]:
        found, box = self._tracker.update(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        self.lost = not found
        if found:
            self._box = np.array(box, dtype=np.float64)
        return self._box, float(found)


def peers() -> dict[str, Follows]:
    """Those that this OpenCV has."""
    if not hasattr(cv2, "TrackerCSRT_create"):
        print("CSRT and KCF are left out: this OpenCV has neither, see benchmarks/requirements.txt")
        return {}
    settings = cv2.TrackerKCF_Params()
    settings.detect_thresh = -1
    return {CSRT: OfOpenCV(cv2.TrackerCSRT_create), KCF: OfOpenCV(lambda: cv2.TrackerKCF_create(settings))}


def siamfc(weights: Path | None) -> Tracker:
    """With these weights, or with some drawn by chance."""
    if weights is not None:
        return Tracker(weights)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_preset(path := Path(folder) / "siamfc.safetensors", Network(PRESETS["siamfc"]), {"steps": "0"})
        return Tracker(path)


def followed(name: str, tracker: Follows, sequences: Sequence[Labelled]) -> list[Track]:
    """One pass over each, from the first box on."""
    passes = []
    for sequence in sequences:
        passes.append(run(tracker, frames_of_sequence(sequence), sequence.boxes[0]))
        done = passes[-1]
        print(f"  {name}: {sequence.name}, {len(done.boxes):,} frames, {len(done.boxes) / done.seconds:.1f} a second")
    return passes


def beginnings(sequences: Sequence[Labelled]) -> list[Labelled]:
    """Enough of each to tell how fast a tracker is."""
    return [replace(s, frames=s.frames[:N_FOR_SPEED], boxes=s.boxes[:N_FOR_SPEED]) for s in sequences]


def scored(sequences: Sequence[Labelled], passes: Sequence[Track]) -> dict:
    """As `seamwise eval track` has it."""
    boxes, seconds, lost, sizes = zip(*((p.boxes, p.seconds, p.lost, p.size) for p in passes), strict=True)
    return scores(sequences, boxes, seconds, lost, sizes)


def ratio(ours: dict, other: dict, key: str) -> list[float]:
    """Of two means over sequences; with several, its interval: the same sequences drawn again for both."""
    pair = [np.array([row[key] for row in each["per_sequence"].values()]) for each in (ours, other)]
    drawn = Bootstrap(np.arange(len(pair[0]))[:, None])
    draws = drawn.means(pair[0][None]) / drawn.means(pair[1][None])
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    mean = float(pair[0].mean() / pair[1].mean())
    return [mean, float(low), float(high)] if len(pair[0]) > 1 else [mean]


def tell(told: dict[str, dict], ratios: dict[str, dict]) -> None:
    """The table, then the shipped tracker beside each."""
    print(f"\n{'':<22}{'AUC':>24}{'precision':>24}{'frames a second':>18}")
    for name, each in told.items():
        cells = (
            [_cell(each, key) for key in ("auc", "precision")] if "auc" in ratios.get(name, {"auc": 1}) else ["-"] * 2
        )
        print(f"{name:<22}{cells[0]:>24}{cells[1]:>24}{each['fps']:>18.1f}")
    for name, each in ratios.items():
        for key, (mean, *ends) in each.items():
            what = {"auc": "AUC", "fps": "frames a second"}[key]
            print(f"{OURS} / {name}: {what} x {mean:.2f}" + (f" [{ends[0]:.2f}, {ends[1]:.2f}]" if ends else ""))


def _cell(each: dict, key: str) -> str:
    low, high = each[f"{key}_low"], each[f"{key}_high"]
    return f"{each[key]:.3f}" + ("" if low is None else f" [{low:.3f}, {high:.3f}]")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--data", type=Path, action="append", required=True, help="a folder of annotated sequences")
    asked.add_argument("--model", type=Path, help="another model in the place of the shipped one")
    asked.add_argument("--siamfc", type=Path, metavar="FILE", help="weights that `recipe siamfc` wrote")
    asked.add_argument("--threads", type=int, default=2, help="for OpenCV and torch alike")
    asked.add_argument("--json", action="store_true", help="print JSON, last")
    options = asked.parse_args()
    cv2.setNumThreads(options.threads)
    torch.set_num_threads(options.threads)
    sequences = sequences_of(options.data)
    check_scored(sequences)
    trackers = {OURS: Tracker(options.model), **peers(), SIAMFC: siamfc(options.siamfc)}
    told = {}
    for name, tracker in trackers.items():
        some = beginnings(sequences) if name == SIAMFC and options.siamfc is None else sequences
        told[name] = scored(some, followed(name, tracker, some))
    keys = {name: ("fps",) if name == SIAMFC and options.siamfc is None else ("auc", "fps") for name in told}
    ratios = {name: {key: ratio(told[OURS], told[name], key) for key in keys[name]} for name in told if name != OURS}
    tell(told, ratios)
    if options.siamfc is None:
        print(f"{SIAMFC}: weights drawn by chance, so that its speed alone is told")
    if options.json:
        print(json.dumps({"threads": options.threads, "scores": told, "ratios": ratios}))


if __name__ == "__main__":
    main()
