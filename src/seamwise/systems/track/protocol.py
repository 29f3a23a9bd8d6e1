"""How a tracker is scored: one pass over each sequence, with the measures of OTB and of GOT-10k.

Source: Wu, Lim & Yang 2015, Object Tracking Benchmark (PAMI 37): success and precision, one-pass evaluation;
Müller et al. 2018, TrackingNet: normalised precision; Huang, Zhao & Huang 2019, GOT-10k: average overlap and success
rates. Where their toolkits disagree with their papers, or with one another:

- success counts overlaps above a threshold, precision errors up to one, as all toolkits do; so that a perfect tracker
  has an AUC of 20/21;
- frames in which the object is absent are left out, as by GOT-10k's toolkit; the first one for OTB counted them as
  failures;
- a box that is not there, or empty, overlaps nothing and is infinitely far away; OTB's toolkit repeats the one before;
- for GOT-10k's measures alone, both boxes are put into the frame, where its size is known, as its toolkit does: the
  corner is moved to within, with the width and height it had, and then what lies beyond the far edges is cut.

Differs: a sequence may begin before its object does; the pass, and its first frame, begin where the object does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, final, runtime_checkable

import numpy as np

from seamwise.bootstrap import LEVEL, Bootstrap
from seamwise.errors import InputError
from seamwise.shapes import Bool, Float, NDArray
from seamwise.systems.track.boxes import Boxes, middle, overlap

OVERLAPS = np.linspace(0, 1, 21)
ERRORS_PX = np.arange(51.0)
RELATIVE_ERRORS = np.linspace(0, 0.5, 51)
QUOTED_PX = 20
RATES = {"sr50": 0.5, "sr75": 0.75}
OF_SEQUENCES = ("auc", "precision", "norm_precision")  # means over sequences
OF_FRAMES = ("ao", *RATES)  # means over the frames of all sequences


@runtime_checkable
class Labelled(Protocol):
    """A sequence whose boxes are known, NaN where the object is absent."""

    @property
    def name(self) -> str: ...
    @property
    def boxes(self) -> Float[NDArray, "n 4"]: ...


@final
@dataclass(frozen=True)
class Curves:
    """success: the share of frames with a greater overlap than each of `OVERLAPS`. precision: with a middle at most
    each of `ERRORS_PX` away. norm_precision: at most each of `RELATIVE_ERRORS`, in widths and heights of the object.
    """

    success: Float[NDArray, "21"]
    precision: Float[NDArray, "51"]
    norm_precision: Float[NDArray, "51"]

    @property
    def auc(self) -> float:
        """The mean of the success curve."""
        return float(self.success.mean())

    @property
    def precision_20(self) -> float:
        """The share of frames with a middle at most 20 px away."""
        return float(self.precision[QUOTED_PX])


def curves(truth: Float[NDArray, "n 4"], found: Float[NDArray, "n 4"]) -> Curves:
    """One sequence's curves, the first frame included. Raises InputError where the object is in no frame."""
    there = _there(truth, "sequence")
    truth, found = truth[there], found[there]
    overlaps = np.where(_is_box(found), overlap(truth, found), 0)[:, None]
    apart = np.where(_is_box(found)[:, None], middle(truth) - middle(found), np.inf)
    errors = np.linalg.norm(apart, axis=1)[:, None]
    relative = np.linalg.norm(apart / np.maximum(truth[:, 2:], 1), axis=1)[:, None]
    return Curves((overlaps > OVERLAPS).mean(0), (errors <= ERRORS_PX).mean(0), (relative <= RELATIVE_ERRORS).mean(0))


def mean_curves(each: Sequence[Curves]) -> Curves:
    """The mean over sequences."""
    return Curves(*(np.mean([getattr(c, name) for c in each], 0) for name in [field.name for field in fields(Curves)]))


def overlaps_after_first(
    truth: Float[NDArray, "n 4"], found: Float[NDArray, "n 4"], size: tuple[int, int] | None = None
) -> Float[NDArray, " k"]:
    """GOT-10k's overlaps: of all frames with the object but the first. size: the frame's width and height in px.

    Raises InputError where the object is in no frame.
    """
    there = _there(truth, "sequence")
    there[there.argmax()] = False
    truth, found = (boxes if size is None else _within(boxes, size) for boxes in (truth[there], found[there]))
    return np.asarray(np.where(_is_box(found), overlap(truth, found), 0))


def scores(
    sequences: Sequence[Labelled],
    boxes: Sequence[Float[NDArray, "_ 4"]],
    seconds: Sequence[float],
    lost: Sequence[Bool[NDArray, " _"]] | None = None,
    sizes: Sequence[tuple[int, int] | None] | None = None,
) -> dict[str, Any]:
    """Score the boxes found in one pass over each sequence; flat keys, and `per_sequence` by name.

    seconds: that the tracker took for each. lost: where it said so. sizes: each one's frames, width and height.

    `auc`, `precision` (at 20 px) and `norm_precision` (the mean up to .5) are means over sequences, the first frame
    included; `ao`, `sr50` and `sr75` over the frames of all, each sequence's first one dropped; `fps` is the mean over
    sequences. `_low` and `_high`: 90 %, by drawing sequences again; None with fewer than two.
    `lost_when_absent` and `lost_when_present`: the share of frames without and with the object, after the first with
    it, in which the tracker said lost; None where there are none. All are None where there is nothing to tell.

    Raises InputError without a sequence, where two have one name, boxes are too many or too few, or an object is in
    no frame.
    """
    sizes = sizes or [None] * len(sequences)
    _check(sequences, boxes)
    rows = {s.name: _row(s, boxes[k], seconds[k], sizes[k]) for k, s in enumerate(sequences)}
    told: dict[str, Any] = {}
    table = {key: np.array([row[key] for row in rows.values()], dtype=np.float64) for key in next(iter(rows.values()))}
    n = np.maximum(table["n_frames"] - 1, 0)
    for key in OF_SEQUENCES:
        told |= _interval(key, table[key], np.ones(len(rows)))
    for key in OF_FRAMES:
        told |= _interval(key, np.nan_to_num(table[key]) * n, n)
    said = None if lost is None else [(s.boxes, each) for s, each in zip(sequences, lost, strict=True)]
    return (
        told
        | {"fps": _mean(table["fps"]), "n_sequences": len(rows), "n_frames": int(table["n_frames"].sum())}
        | _lost(said)
        | {"per_sequence": rows}
    )


def _row(sequence: Labelled, found: Boxes, seconds: float, size: tuple[int, int] | None) -> dict[str, Any]:
    """One sequence's scores. n_frames: those with the object."""
    own = curves(sequence.boxes, found)
    overlaps = overlaps_after_first(sequence.boxes, found, size)
    told: dict[str, float | None] = {
        "auc": own.auc,
        "precision": own.precision_20,
        "norm_precision": float(own.norm_precision.mean()),
    }
    told |= {"ao": _mean(overlaps)} | {key: _mean(overlaps > least) for key, least in RATES.items()}
    n_looked_at = len(found) - int(_is_there(sequence.boxes).argmax())
    fps = n_looked_at / seconds if seconds > 0 else None
    return told | {"fps": fps, "n_frames": int(_is_there(sequence.boxes).sum())}


def _interval(key: str, sums: Float[NDArray, " n"], weights: Float[NDArray, " n"]) -> dict[str, float | None]:
    """The weighted mean of sequences, each as often as it was drawn."""
    if not weights.sum():
        return dict.fromkeys((key, f"{key}_low", f"{key}_high"))
    mean = float(sums.sum() / weights.sum())
    if len(sums) < 2:
        return {key: mean, f"{key}_low": None, f"{key}_high": None}
    drawn = Bootstrap(np.arange(len(sums))[:, None])
    over, under = drawn.means(sums[None]), drawn.means(weights[None])
    draws = over[under > 0] / under[under > 0]
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {key: mean, f"{key}_low": min(float(low), mean), f"{key}_high": max(float(high), mean)}


def _lost(said: Sequence[tuple[Float[NDArray, "_ 4"], Bool[NDArray, " _"]]] | None) -> dict[str, float | None]:
    absent, present = [], []
    for truth, lost in said or ():
        first = int(_is_there(truth).argmax()) + 1
        there = _is_there(truth)[first:]
        absent.append(lost[first:][~there])
        present.append(lost[first:][there])
    if not absent or not sum(map(len, absent)):
        return {"lost_when_absent": None, "lost_when_present": None}
    return {
        "lost_when_absent": _mean(np.concatenate(absent)),
        "lost_when_present": _mean(np.concatenate(present)),
    }


def _mean(values: Any) -> float | None:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else None


def _is_there(truth: Boxes) -> Bool[NDArray, "*n"]:
    return np.asarray(~np.isnan(truth).any(-1))


def _is_box(found: Boxes) -> Bool[NDArray, "*n"]:
    return np.asarray(np.isfinite(found).all(-1) & (found[..., 2:] > 0).all(-1))


def _there(truth: Float[NDArray, "n 4"], name: str) -> Bool[NDArray, " n"]:
    there = _is_there(truth)
    if not there.any():
        raise InputError(f"{name}: the object is in no frame", given=f"{len(truth):,} frames, all without a box")
    return there


def _within(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """Each box put into the frame."""
    corner = boxes[..., :2].clip(0, size)
    return np.concatenate([corner, boxes[..., 2:].clip(0, size - corner)], -1)


def _check(sequences: Sequence[Labelled], boxes: Sequence[Float[NDArray, "_ 4"]]) -> None:
    if not sequences:
        raise InputError("no sequence: there is no score", expected="at least one that was tracked")
    names = [s.name for s in sequences]
    for name in {name for name in names if names.count(name) > 1}:
        raise InputError(f"{name}: two sequences of this name", remedy="rename one, or score them apart")
    for sequence, found in zip(sequences, boxes, strict=True):
        _there(sequence.boxes, sequence.name)
        if len(found) != len(sequence.boxes):
            given = f"{len(found):,} boxes"
            raise InputError(f"{sequence.name}: not a box a frame", given=given, expected=f"{len(sequence.boxes):,}")
