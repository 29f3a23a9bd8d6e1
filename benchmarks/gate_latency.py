"""Milliseconds until the gate has decided on a picture of 640 x 480 px with a face, beside Haar + LBPH.

Ten people are enrolled with either. The picture is one of the gate's world, enlarged, or the --photo that is given.
Where OpenCV has no cv2.face (benchmarks/requirements.txt), Haar stands alone. The calls take turns.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from seamwise.pictures import read_photo
from seamwise.systems.gate import world
from seamwise.systems.gate.gate import Enrolled, Gate, Tail, far_spread, template
from seamwise.systems.gate.sight import Sight, load_sight

WIDTH, HEIGHT, N_PEOPLE, FACE_PX, FAR = 640, 480, 10, 100, 0.01
PLAIN = world.Difficulty(clutter=0, occlusion=0)  # one face, and nothing like one


def picture(photo: Path | None) -> np.ndarray:
    """Colour, 640 x 480 px."""
    if photo is not None:
        return cv2.resize(read_photo(photo), (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    large = cv2.resize(world.draw("test", 1, 0, PLAIN).image[0, 0], (HEIGHT, HEIGHT), interpolation=cv2.INTER_CUBIC)
    side = (WIDTH - HEIGHT) // 2
    return cv2.cvtColor(cv2.copyMakeBorder(large, 0, 0, side, side, cv2.BORDER_REFLECT_101), cv2.COLOR_GRAY2RGB)


def gate_of_ten(sight: Sight, size: int) -> Gate:
    """Anybody's templates: how long it takes does not depend on whose they are."""
    rng = np.random.default_rng(0)
    enrolled = tuple(Enrolled(f"{k}", template(rng.normal(size=(1, size))), 1, ()) for k in range(N_PEOPLE))
    threshold = Tail.of(sight.impostor_scores).threshold(FAR, np.stack([each.template for each in enrolled]))
    return Gate(sight, enrolled, (), threshold, far_spread(FAR, sight.n_impostor_people))


def haar_and_lbph() -> tuple[str, Callable[[np.ndarray], int]]:
    """The peer's name, and what it does with a picture: how many faces it found."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_alt2.xml")
    recogniser = None
    if hasattr(cv2, "face"):
        faces = np.random.default_rng(0).integers(0, 256, (N_PEOPLE, FACE_PX, FACE_PX), dtype=np.uint8)
        recogniser = cv2.face.LBPHFaceRecognizer_create()
        recogniser.train(list(faces), np.arange(N_PEOPLE))

    def looked(photo: np.ndarray) -> int:
        grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY)
        boxes = cascade.detectMultiScale(grey, 1.1, 5)
        for x, y, side, _ in boxes:
            face = cv2.resize(grey[y : y + side, x : x + side], (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
            if recogniser is not None:
                recogniser.predict(face)
        return len(boxes)

    return "Haar alone" if recogniser is None else "Haar + LBPH", looked


def milliseconds(calls: list[Callable[[np.ndarray], object]], photo: np.ndarray, n_rounds: int) -> list[float]:
    """The median of each, after a few that do not count."""
    times: list[list[float]] = [[] for _ in calls]
    for k in range(n_rounds + 3):
        for call, kept in zip(calls, times, strict=True):
            start = time.perf_counter()
            call(photo)
            if k >= 3:
                kept.append(1e3 * (time.perf_counter() - start))
    return [statistics.median(each) for each in times]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--photo", type=Path, help="a photograph in place of the drawn picture")
    asked.add_argument("--rounds", type=int, default=30)
    asked.add_argument("--threads", type=int, default=2, help="of torch and of OpenCV")
    options = asked.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    photo, sight = picture(options.photo), load_sight()
    faces = sight.look(photo)
    gate = gate_of_ten(sight, len(sight.recognise.project.weight))
    name, peer = haar_and_lbph()
    print(f"{WIDTH} x {HEIGHT} px, {N_PEOPLE} enrolled; faces found: the gate {len(faces)}, Haar {peer(photo)}")
    ours, theirs = milliseconds([gate.decide, peer], photo, options.rounds)
    print(f"the gate {ours:.1f} ms, {name} {theirs:.1f} ms, ratio {ours / theirs:.2f}")


if __name__ == "__main__":
    main()
