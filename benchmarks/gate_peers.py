"""The shipped gate beside what else there is, on photographs of people: the same photographs, the same ones enrolled.

Peers: Haar + LBPH (OpenCV's own), Haar + HOG + whitening learnt on the London set, and a network that sees the whole
picture, as `seamwise train gate --regime direct` trains it. Whatever a peer sees is compared by the cosine of its
embeddings, and scored as `seamwise eval gate` scores.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from seamwise import load_model
from seamwise.pictures import read_photo
from seamwise.systems.gate.data import framed
from seamwise.systems.gate.gate import flaw
from seamwise.systems.gate.london import LOOKS
from seamwise.systems.gate.photos import find_people
from seamwise.systems.gate.protocol import GateScores, scores
from seamwise.systems.gate.sight import load_sight

LBPH_PX, HOG_PX = 100, 64
MOST_PX = 900  # the longer side of a photograph in which a Haar cascade looks: larger ones take long
GATE, LBPH, HOG, DIRECT = "the gate", "Haar + LBPH", "Haar + HOG + whitening", "direct, whole picture"
RATES = ("identification", "tar_at_far_1pct", "eer")

Photos = Sequence[np.ndarray]
Told = tuple[np.ndarray, np.ndarray]  # of each photograph: its embedding, NaN without a face; whether that will do


def photographs(folder: Path, least: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Those of everybody who has so many, and whose they are."""
    people = [person for person in find_people(folder) if len(person.photos) >= least]
    shown = [(k, path) for k, person in enumerate(people) for path in person.photos]
    return [read_photo(path) for _, path in shown], np.array([k for k, _ in shown])


def the_gate(photos: Photos) -> Told:
    """What the shipped gate sees of the largest face, and whether it would enrol that photograph."""
    sight = load_sight()
    seen = [sight.look(photo) for photo in photos]
    return _filled([faces[0].embedding if faces else None for faces in seen]), np.array([not flaw(f) for f in seen])


def haar(photos: Photos, px: int) -> list[np.ndarray | None]:
    """The largest face that the cascade finds, grey, or None."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    crops: list[np.ndarray | None] = []
    for photo in photos:
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        share = min(1.0, MOST_PX / max(grey.shape))
        grey = cv2.resize(grey, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
        boxes = cascade.detectMultiScale(grey, 1.1, 5)
        if not len(boxes):
            crops.append(None)
            continue
        x, y, side, _ = max(boxes, key=lambda box: box[2])
        crops.append(cv2.resize(grey[y : y + side, x : x + side], (px, px), interpolation=cv2.INTER_AREA))
    return crops


def lbph(photos: Photos) -> Told:
    """The recogniser's histograms, set out so that 1 - cosine is its chi-square distance but for a factor.

    That there is such a place for each: 2ab / (a + b) is a positive definite kernel. Where several photographs of a
    person are enrolled, their mean is taken, as for all here; the recogniser itself takes the nearest.
    """
    crops = haar(photos, LBPH_PX)
    seen = np.array([crop is not None for crop in crops])
    recogniser = cv2.face.LBPHFaceRecognizer_create()
    recogniser.train([crop for crop in crops if crop is not None], np.arange(seen.sum()))
    histogram = np.stack([each.ravel() for each in recogniser.getHistograms()]).astype(np.float64)
    alike = np.stack([(2 * h * histogram / np.maximum(h + histogram, 1e-12)).sum(1) for h in histogram])
    value, axes = np.linalg.eigh(alike)
    embedding = np.full((len(photos), len(value)), np.nan)
    embedding[seen] = _unit(axes * np.sqrt(value.clip(0)))
    return embedding, seen


def hog(photos: Photos, london: Path) -> Told:
    """Histograms of oriented gradients, projected so that what differs within a person of the London set counts less.

    The projection is scikit-learn's linear discriminant analysis, with the shrinkage that Ledoit and Wolf estimate.
    """
    folders = sorted(path for path in london.iterdir() if path.is_dir())
    learnt = haar([read_photo(folder / f"{look}.jpg") for folder in folders for look in LOOKS], HOG_PX)
    known = [(k // len(LOOKS), crop) for k, crop in enumerate(learnt) if crop is not None]
    both = [(who, turned) for who, crop in known for turned in (crop, crop[:, ::-1])]
    whitening = LinearDiscriminantAnalysis(solver="eigen", shrinkage="auto")
    whitening.fit(np.stack([_gradients(crop) for _, crop in both]), [who for who, _ in both])
    crops = haar(photos, HOG_PX)
    told = _filled([None if crop is None else _unit(whitening.transform(_gradients(crop)[None]))[0] for crop in crops])
    return told, np.array([crop is not None for crop in crops])


def _gradients(crop: np.ndarray) -> np.ndarray:
    descriptor = cv2.HOGDescriptor((HOG_PX, HOG_PX), (16, 16), (8, 8), (8, 8), 9)
    return np.asarray(descriptor.compute(np.ascontiguousarray(crop))).ravel()


def direct(photos: Photos, model: Path) -> Told:
    """How like each of its training people a network finds the whole picture: a face is always said to be there."""
    image = np.stack([framed(photo)[0] for photo in photos])[:, None]
    return _unit(load_model(model).predict({"image": image})["person"]), np.ones(len(photos), dtype=bool)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _filled(embeddings: Sequence[np.ndarray | None]) -> np.ndarray:
    none = np.full(next(len(each) for each in embeddings if each is not None), np.nan)
    return np.stack([none if each is None else each for each in embeddings])


def tell(scored: dict[str, GateScores]) -> None:
    """The table, then the gate beside each peer."""
    print(f"{'':<24}{'identification':>24}{'true accepts at 1 %':>24}{'equal error rate':>24}  no face")
    for name, each in scored.items():
        cells = "".join(f"{getattr(each, rate)!s:>24}" for rate in RATES)
        print(f"{name:<24}{cells}  {each.n_unseen:>7}")
    ours = scored[GATE]
    for name, each in scored.items():
        if name != GATE:
            more = [getattr(ours, rate).mean - getattr(each, rate).mean for rate in RATES[:2]]
            ratio = ours.eer.mean / each.eer.mean if each.eer.mean else float("nan")
            print(f"beside {name}: identification {more[0]:+.3f}, true accepts {more[1]:+.3f}, errors x {ratio:.2f}")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--data", type=Path, required=True, help="a folder with a sub-folder of photographs a person")
    asked.add_argument("--least", type=int, default=5, help="leave out people with fewer photographs")
    asked.add_argument("--enrol", type=int, default=1, help="photographs enrolled of each person")
    asked.add_argument("--choices", type=int, default=200, help="how often others are drawn to be enrolled")
    asked.add_argument("--london", type=Path, help="the London set, for Haar + HOG + whitening")
    asked.add_argument("--direct", type=Path, help="a model folder that `seamwise train gate --regime direct` wrote")
    options = asked.parse_args()
    photos, person = photographs(options.data, options.least)
    ways: dict[str, Callable[[], Told]] = {GATE: lambda: the_gate(photos)}
    if hasattr(cv2, "face"):
        ways[LBPH] = lambda: lbph(photos)
    else:
        print(f"{LBPH} is left out: this OpenCV has no cv2.face, see benchmarks/requirements.txt")
    if options.london:
        ways[HOG] = lambda: hog(photos, options.london)
    if options.direct:
        ways[DIRECT] = lambda: direct(photos, options.direct)
    told = {name: way() for name, way in ways.items()}
    seen_by_all = np.all([~np.isnan(embedding).all(1) for embedding, _ in told.values()], axis=0)
    for what, may_enrol in (
        ("any photograph in which all find a face may be enrolled", seen_by_all),
        ("of these, only those that the gate does not refuse", seen_by_all & told[GATE][1]),
    ):
        scored = {
            name: scores(embedding, person, options.enrol, options.choices, may_enrol=may_enrol)
            for name, (embedding, _) in told.items()
        }
        size = scored[GATE]
        print(f"\n{size.n_people} people, {options.enrol} photographs of each enrolled, {size.n_probes} probes; {what}")
        tell(scored)


if __name__ == "__main__":
    main()
