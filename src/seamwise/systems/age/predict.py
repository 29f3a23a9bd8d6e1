"""A model asked about one radiograph: the age with an interval, the bones' lengths, and which bones drove it."""

from collections.abc import Mapping
from dataclasses import dataclass
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
from seamwise.systems.age.data import framed
from seamwise.systems.age.reading import Radiograph
from seamwise.systems.age.refuse import Hand, check_hand
from seamwise.systems.age.shape import BONE_ENDS, JOINTS
from seamwise.task import Task

N_DROVE = 5
APART: Final = 0.3  # of a hand's size: landmarks of the model so far from the finder's are told
ODD_SCALE: Final = 1.35  # times longer or shorter than usual at that age
WRIST_NAME: Final = "wrist"
MEASURED: Final = ("lengths", "joints", "wrist")
STARTS: Final = {joint[0]: k for k, joint in enumerate(JOINTS)}


@final
@dataclass(frozen=True)
class Answer:
    """What a model says of a radiograph.

    low_months, high_months: of nine in ten, None where the model has too few validation items to tell
    lengths:  of the bones, by name: in mm where the scale is known, else in mean lengths of the hand's bones
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
    """What went into a chain, and what it wrote."""

    hand: Hand
    fields: dict[str, Tensor]

    @property
    def age_months(self) -> float:
        return float(self.fields["age"][0])

    @property
    def place(self) -> Float[NDArray, "25 2"] | None:
        """The model's own landmarks, from -1 to 1."""
        if "landmarks" not in self.fields:
            return None
        half = float(self.fields["mm_per_px"][0]) * self.hand.picture.shape[-1] / 2
        place: Float[NDArray, "25 2"] = (self.fields["landmarks"][0] / half).numpy()
        return place

    @property
    def lengths_mm(self) -> Float[NDArray, "19"] | None:
        return self.fields["lengths"][0].numpy() if "lengths" in self.fields else None


def age_of(model: Model, seen: Radiograph, sex: str, mm_per_px: float | None, name: str) -> float:
    """The age in months alone; see `answer`."""
    return _ask(model, seen, sex, mm_per_px, name).age_months


def answer(model: Model, seen: Radiograph, sex: str, mm_per_px: float | None = None, name: str = "picture") -> Answer:
    """Ask a model about a radiograph; mm_per_px is of the file's pixels. Raises InputError where it shows no hand."""
    asked, within = _ask(model, seen, sex, mm_per_px, name), model.record.validation_q90
    age, lengths = asked.age_months, asked.lengths_mm
    scale_known = mm_per_px is not None or seen.mm_per_px is not None
    told = [*seen.warnings, *asked.hand.warnings, *_odd(asked, sex, scale_known)]
    if within is None:
        told.append("no interval: the model keeps no errors of ten validation items or more; train it again")
    if lengths is not None and not scale_known:
        lengths = lengths / lengths.mean()
    return Answer(
        age_months=age,
        low_months=None if within is None else max(0.0, age - within),
        high_months=None if within is None else age + within,
        scale_known=scale_known,
        lengths={} if lengths is None else dict(zip(growth.BONES, lengths.tolist(), strict=True)),
        drove=drove(model, asked.fields, sex),
        warnings=tuple(told),
        hand=asked.hand,
        place=asked.place,
    )


def _ask(model: Model, seen: Radiograph, sex: str, mm_per_px: float | None, name: str) -> _Asked:
    item, _, _ = framed(seen, mm_per_px if mm_per_px is not None else seen.mm_per_px)
    hand = check_hand(item["picture"], name)
    inputs = {"picture": hand.picture, "mm_per_px": item["mm_per_px"], "sex": np.uint8(sex == "M")}
    batch = {field: np.asarray(value)[None] for field, value in inputs.items()}
    fields = {field: torch.from_numpy(value) for field, value in (batch | model.predict(batch)).items()}
    if not torch.isfinite(fields["age"]).all():
        raise InputError(f"{name}: the model gives no age", given=f"{fields['age']}", remedy="train it again")
    return _Asked(hand, fields | {"age": fields["age"].clamp_min(0)})


def _odd(asked: _Asked, sex: str, scale_known: bool) -> list[str]:
    """What makes the answer doubtful."""
    told, hand, place, lengths = [], asked.hand, asked.place, asked.lengths_mm
    if place is not None:
        size = float(np.mean([np.linalg.norm(hand.place[a] - hand.place[b]) for a, b in BONE_ENDS]))
        if float(np.linalg.norm(place - hand.place, axis=1).mean()) > APART * size:
            told.append("two finders place the bones differently; look at the bones as they were drawn (--draw)")
    if lengths is not None and scale_known:
        usual = growth.lengths(np.array([int(sex == "M")]), np.array([asked.age_months]))[0][0]
        longer = float(np.exp(np.mean(np.log(lengths.clip(0.5) / usual))))
        if not 1 / ODD_SCALE < longer < ODD_SCALE:
            told.append(f"bones {longer:.2f} times as long as usual at that age: is the scale right?")
    return told


def drove(model: Model, fields: Mapping[str, Tensor], sex: str) -> tuple[tuple[str, float], ...]:
    """By how many months each bone raised the estimate, the largest changes; none where nothing is measured.

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
    usual = growth.lengths(np.array([int(sex == "M")]), age.double().numpy().clip(0))[0][0]
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
    named = zip((*growth.BONES, WRIST_NAME), change, strict=True)
    return tuple(sorted(named, key=lambda bone: -abs(bone[1]))[:N_DROVE])


def _border(patch: Float[Tensor, "px px"]) -> Float[Tensor, ""]:
    return torch.cat([patch[0], patch[-1], patch[:, 0], patch[:, -1]]).mean()


def in_words(months: float) -> str:
    """Years and months: "10 years 4 months"."""
    years, rest = divmod(round(months), 12)
    return f"{years} year{'s' * (years != 1)} {rest} month{'s' * (rest != 1)}"
