"""A model asked about one radiograph: the age with an interval, the bones' lengths, and which bones drove it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch

from seamwise import Supply
from seamwise.errors import InputError, ModelError
from seamwise.model import Model, load_model, record_of
from seamwise.pins import Part, behind
from seamwise.shapes import Float, NDArray, Tensor
from seamwise.systems.age import growth
from seamwise.systems.age.data import LONG_SIDE_MM, framed
from seamwise.systems.age.dicom import MM_PER_PX
from seamwise.systems.age.reading import Radiograph
from seamwise.systems.age.refuse import Hand, check_hand
from seamwise.systems.age.shape import BONE_ENDS, JOINTS, bone_lengths
from seamwise.task import Task

N_DROVE = 5
APART: Final = 0.3  # of a bone's mean length: landmarks of the model so far from the finder's are refused
ODD_SCALE, NO_SCALE = 1.35, 2.0  # times longer or shorter than usual at that age: told; then no scale is believed
OLDEST_MONTHS: Final = 228.0  # bones are mature; higher answers are cut to it
FAR_BELOW_MONTHS: Final = -12.0
WRIST_NAME: Final = "wrist"
MEASURED: Final = ("lengths", "joints", "wrist")
STARTS: Final = {joint[0]: k for k, joint in enumerate(JOINTS)}


@final
@dataclass(frozen=True)
class Answer:
    """What a model says of a radiograph.

    low_months, high_months: of nine in ten, None where the model has too few validation items to tell
    lengths:  of the bones, by name: in mm where the scale is known, else in mean lengths of the hand's bones; a bone
              whose tip is at the edge of the picture has none
    drove:    (bone, by how many months it raised the estimate), the most first
    """

    age_months: float
    low_months: float | None
    high_months: float | None
    scale_known: bool
    lengths: Mapping[str, float]
    drove: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]
    hand: Hand
    place: Float[NDArray, "25 2"] | None  # the model's own landmarks, from -1 to 1

    def flat(self) -> dict[str, Any]:
        """For machines."""
        lengths = {bone: round(length, 4) for bone, length in self.lengths.items()}
        return {
            "age_months": round(self.age_months, 2),
            "low_months": None if self.low_months is None else round(self.low_months, 2),
            "high_months": None if self.high_months is None else round(self.high_months, 2),
            "scale": "known" if self.scale_known else "unknown",
            "lengths_mm": lengths if self.scale_known and lengths else None,
            "lengths_relative": None if self.scale_known or not lengths else lengths,
            "drove": [{"bone": bone, "months": round(months, 2)} for bone, months in self.drove],
            "warnings": list(self.warnings),
        }


def load(folder: Path) -> Model:
    """A model of the age task, whose training data need not be at hand. Raises ModelError."""
    record = record_of(folder)
    if record.task != "age":
        raise ModelError(f"{folder}: a model of the task {record.task!r}", expected="one of the task 'age'")
    return load_model(folder, stand_in("plates" in record.budget, "landmarks" in record.budget))


@lru_cache
def stand_in(simulated: bool, marked: bool) -> Task:
    """The task on a few pictures of noise, for its chains."""
    from seamwise.systems.age import task

    n, px = 24, 128
    rng = np.random.default_rng(0)
    table: dict[str, NDArray] = {
        "picture": rng.integers(0, 255, (n, 1, px, px), dtype=np.uint8),
        "sex": (np.arange(n) % 2).astype(np.uint8),
        "mm_per_px": np.full(n, 1.5, np.float32),
        "age": np.linspace(12, 200, n, dtype=np.float32),
        "split": np.where(np.arange(n) < 16, "train", np.where(np.arange(n) < 20, "validation", "test")),
    }
    if marked or simulated:
        table["landmarks"] = rng.normal(0, 50, (n, 25, 2)).astype(np.float32)
    if simulated:
        shapes = {"lengths": 19, "plates": 21, "carpals": 8}
        table |= {name: rng.random((n, k), dtype=np.float32) + 0.1 for name, k in shapes.items()}
        table["bones"] = rng.integers(0, 20, (n, 64, 64), dtype=np.uint8)
    supply = Supply({"radiographs": table})
    return task.simulated(supply) if simulated else task.real(supply)


@final
@dataclass(frozen=True)
class _Asked:
    """What went into a chain, and what it wrote; the age as it came out."""

    hand: Hand
    fields: dict[str, Tensor]
    scale_known: bool
    told: tuple[str, ...] = ()

    @property
    def raw_months(self) -> float:
        return float(self.fields["age"][0])

    @property
    def age_months(self) -> float:
        return min(max(self.raw_months, 0.0), OLDEST_MONTHS)

    @property
    def half_mm(self) -> float:
        """Of the picture's side."""
        return float(self.fields["mm_per_px"][0]) * int(self.hand.picture.shape[-1]) / 2

    @property
    def place(self) -> Float[NDArray, "25 2"] | None:
        """The model's own landmarks, from -1 to 1."""
        if "landmarks" not in self.fields:
            return None
        place: Float[NDArray, "25 2"] = (self.fields["landmarks"][0] / self.half_mm).numpy()
        return place

    @property
    def lengths_mm(self) -> Float[NDArray, "19"] | None:
        return self.fields["lengths"][0].numpy() if "lengths" in self.fields else None


def age_of(model: Model, seen: Radiograph, sex: str, mm_per_px: float | None, name: str) -> float:
    """The age in months alone; see `answer`."""
    return _ask(model, seen, sex, mm_per_px, name).age_months


def answer(
    model: Model,
    seen: Radiograph,
    sex: str,
    mm_per_px: float | None = None,
    name: str = "picture",
    told: tuple[str, ...] = (),
) -> Answer:
    """Ask a model about a radiograph; mm_per_px is of the file's pixels. Raises InputError where it shows no hand.

    told: warnings that the answer is to hold first.
    """
    asked, within = _ask(model, seen, sex, mm_per_px, name), model.record.validation_q90
    age, lengths, hand = asked.age_months, asked.lengths_mm, asked.hand
    every = [*told, *seen.warnings, *hand.warnings, *asked.told]
    if within is None:
        every.append("no interval: the model keeps no errors of ten validation items or more; train it again")
    whole = [end not in hand.cut for _, end in BONE_ENDS]
    if lengths is not None and not asked.scale_known:
        lengths = lengths / lengths[whole].mean()
    named = {} if lengths is None else dict(zip(growth.BONES, lengths.tolist(), strict=True))
    return Answer(
        age_months=age,
        low_months=None if within is None else max(0.0, age - within),
        high_months=None if within is None else min(OLDEST_MONTHS, age + within),
        scale_known=asked.scale_known,
        lengths={bone: named[bone] for bone, is_whole in zip(growth.BONES, whole, strict=True) if is_whole and named},
        drove=drove(model, asked.fields, sex, hand.cut),
        warnings=tuple(every),
        hand=hand,
        place=asked.place,
    )


def mm_per_px_of(hand: Hand, seen: Radiograph, stated: float | None) -> Float[NDArray, ""]:
    """Of the hand's picture. stated: of the file's pixels; without it a picture's long side is taken for 270 mm."""
    if stated is None and hand.zoom != 1:
        return np.array(LONG_SIDE_MM / hand.picture.shape[-1], dtype=np.float32)
    return np.array(framed(seen, stated)[0]["mm_per_px"] / hand.zoom, dtype=np.float32)


def _ask(model: Model, seen: Radiograph, sex: str, mm_per_px: float | None, name: str) -> _Asked:
    """Ask a model, a second time without the scale where that cannot be right."""
    stated, told = mm_per_px if mm_per_px is not None else seen.mm_per_px, []
    if stated is not None and not MM_PER_PX[0] <= stated <= MM_PER_PX[1]:
        told.append(f"{stated:.4g} mm a pixel is not that of a radiograph: the scale was taken for unknown")
        stated = None
    hand = check_hand(framed(seen)[0]["picture"], name)
    asked = _once(model, hand, mm_per_px_of(hand, seen, stated), sex, stated is not None, name)
    longer = _longer(asked, sex)
    if stated is not None and not 1 / NO_SCALE <= longer <= NO_SCALE:
        told.append(f"bones {longer:.2f} times as long as usual at that age: the scale was taken for unknown")
        asked = _once(model, hand, mm_per_px_of(hand, seen, None), sex, False, name)
    elif stated is not None and not 1 / ODD_SCALE < longer < ODD_SCALE:
        told.append(f"bones {longer:.2f} times as long as usual at that age: is the scale right?")
    raw = asked.raw_months
    if raw > OLDEST_MONTHS or raw < FAR_BELOW_MONTHS:
        told.append(f"the model's own answer was {raw:.0f} months, where there is no bone age: do not rely on it")
    return replace(asked, told=tuple(told))


def _once(model: Model, hand: Hand, mm_per_px: Float[NDArray, ""], sex: str, scale_known: bool, name: str) -> _Asked:
    inputs = {"picture": hand.picture, "mm_per_px": mm_per_px, "sex": np.uint8(sex == "M")}
    batch = {field: np.asarray(value)[None] for field, value in inputs.items()}
    fields = {field: torch.from_numpy(value) for field, value in (batch | model.predict(batch)).items()}
    if not torch.isfinite(fields["age"]).all():
        raise InputError(f"{name}: the model gives no age", given=f"{fields['age']}", remedy="train it again")
    asked = _Asked(hand, fields, scale_known)
    apart = _apart(asked)
    if apart > APART:
        raise InputError(
            f"{name}: its bones are not found for sure",
            given=f"two finders place them {apart:.1f} mean bones apart",
            expected=f"{APART:g} at most",
            remedy="crop the picture to the hand, or give another one",
        )
    return asked


def _apart(asked: _Asked) -> float:
    """How far the model's landmarks are from the finder's, in mean lengths of the bones."""
    place, found = asked.place, asked.hand.place
    if place is None:
        return 0.0
    size = float(np.mean([np.linalg.norm(found[a] - found[b]) for a, b in BONE_ENDS]))
    return float(np.linalg.norm(place - found, axis=1).mean()) / max(1e-6, size)


def _longer(asked: _Asked, sex: str) -> float:
    """How many times longer bones are than usual at that age; as the finder saw them where the model measures none."""
    lengths = asked.lengths_mm
    if lengths is None:
        lengths = bone_lengths(torch.from_numpy(asked.hand.place * asked.half_mm)[None])[0].numpy()
    usual = growth.lengths(np.array([int(sex == "M")]), np.array([asked.age_months]))[0][0]
    return float(np.exp(np.mean(np.log(lengths.clip(1e-3) / usual))))


def drove(
    model: Model, fields: Mapping[str, Tensor], sex: str, cut: tuple[int, ...] = ()
) -> tuple[tuple[str, float], ...]:
    """By how many months each bone raised the estimate, the largest changes; none where nothing is measured.

    The estimate is the one that came out, also where a cut one is told. Bones that end in a landmark of `cut` are left
    out.

    A bone is taken out where it was measured: its length becomes what the others' are, times what is usual at that age
    in relation to them, and the close-up of the joint at its near end flat, as bright as its border; for the wrist, its
    close-up alone. The stages behind are run again. (The joint at the head of a metacarpal counts for the phalanx.)
    Source: occlusion, Zeiler & Fergus 2014. Differs: at the seam, not in the picture.
    """
    if not all(name in fields for name in MEASURED):
        return ()
    n = len(growth.BONES) + 1
    lengths, joints, wrist = (fields[name].repeat(n, *[1] * (fields[name].ndim - 1)) for name in MEASURED)
    age = fields["age"]
    usual = growth.lengths(np.array([int(sex == "M")]), age.double().numpy().clip(0, OLDEST_MONTHS))[0][0]
    ratio = fields["lengths"][0] / torch.from_numpy(usual).float()
    for k, (start, _) in enumerate(BONE_ENDS):
        others = torch.cat([ratio[:k], ratio[k + 1 :]]).mean()
        lengths[k, k] = others * float(usual[k])
        if start in STARTS:
            joints[k, STARTS[start]] = _border(joints[k, STARTS[start]])
    wrist[-1] = _border(wrist[-1])
    values = dict(zip(MEASURED, (lengths, joints, wrist), strict=True))
    read = {f for stage in behind(model.net.chain, MEASURED) for f in stage.inputs if f in fields}
    whole = Part(torch.arange(n), {f: fields[f].repeat(n, *[1] * (fields[f].ndim - 1)) for f in read})
    change = (age - whole.with_values(model.net, values).fields["age"]).tolist()
    ends = (*(end for _, end in BONE_ENDS), -1)
    named = [
        (bone, months)
        for bone, months, end in zip((*growth.BONES, WRIST_NAME), change, ends, strict=True)
        if end not in cut
    ]
    return tuple(sorted(named, key=lambda bone: -abs(bone[1]))[:N_DROVE])


def _border(patch: Float[Tensor, "px px"]) -> Float[Tensor, ""]:
    return torch.cat([patch[0], patch[-1], patch[:, 0], patch[:, -1]]).mean()


def in_words(months: float) -> str:
    """Years and months: "10 years 4 months"."""
    years, rest = divmod(round(months), 12)
    return f"{years} year{'s' * (years != 1)} {rest} month{'s' * (rest != 1)}"
