"""A tracker: shown an object's box in one frame, it says where the object is in the next ones.

Every frame, the features of a crop about the last place, on a few scales, are answered by what was learnt of the
object; the highest answer is where it is. Then what is there is learnt from. How high the answer is, and how far above
all others, tells how sure that is. A tracker that is not sure learns nothing; not sure for some frames, it says that
the object is lost, and looks for it all over the frame, a few crops at a time, until an answer is sure.

Source: the loop of SiamFC (Bertinetto et al. 2016). Differs: what was said of loss, and see `ridge`.
"""

import math
from pathlib import Path
from typing import final

import numpy as np
import torch

from seamwise.errors import InputError
from seamwise.model import Model
from seamwise.shapes import Float, NDArray, Tensor, UInt8
from seamwise.systems.track.boxes import about, middle
from seamwise.systems.track.geometry import SMALLEST_PX, cut, size_of
from seamwise.systems.track.matcher import Matcher
from seamwise.systems.track.matchers import new_matcher
from seamwise.systems.track.peak import Answer, answer_of

SMALLEST, LARGEST = 0.2, 6.0  # a side of the box, in sides of the first one
UNSURE, SURE = 0.75, 0.9  # confidence below which nothing is learnt; above which a lost object is found
PATIENCE = 6  # frames in a row that a tracker is unsure before the object is lost
USUAL_RATE, TINY = 0.1, 1e-3  # of what an answer usually is; the least that is
N_LOOKS = 3  # crops a frame that a lost object is looked for in, beside the last place
APART = 0.35  # of a crop's side, between their middles


@final
class Tracker:
    """Follows one object; `lost` says whether it was not to be seen in the last frame.

    Where other programs use the cores too, `torch.set_num_threads(1)` is many times as fast.

    model: a folder that `seamwise train track` wrote, or that model loaded; a file that `recipe` wrote; a matcher; by
           default the weights that come with seamwise. Raises ModelError or InputError.
    """

    def __init__(self, model: Matcher | Model | Path | str | None = None) -> None:
        self._matcher = new_matcher(model)
        self._started = self.lost = False
        self.signs = (0.0, 0.0)  # that the last confidence was told from

    def start(self, frame: UInt8[NDArray, "height width 3"], box: Float[NDArray, "4"]) -> None:
        """Learn what the object in the box looks like. May be called again, for another object.

        frame: red, green and blue. Raises InputError for another kind of frame, and for a box without a place or size,
        outside of the frame, or larger than the frame.
        """
        check_frame(frame)
        box = np.asarray(box, dtype=np.float64)
        check_box(box, frame.shape[1], frame.shape[0])
        self._frame_wh = np.array(frame.shape[1::-1], dtype=np.float64)
        self._centre, self._first_wh = middle(box), box[2:].copy()
        self._grown = 1.0
        self._n_sure, self._n_unsure, self._n_looked, self.lost = 0, 0, 0, False
        following = self._matcher.following
        px_a_size = following.px / following.area
        extent = self._first_wh * (px_a_size / size_of(self._first_wh))
        with torch.inference_mode():
            z = self._matcher.embed(self._crops(frame, self._centre[None], [1.0], following.exemplar_px))
            self._matcher.start(z[0], (float(extent[0]), float(extent[1])))
            self._usual = max(self._answer(frame, self._centre[None], [1.0]).height, TINY)
        self._started = True

    def next(self, frame: UInt8[NDArray, "height width 3"]) -> tuple[Float[NDArray, "4"], float]:
        """Where the object is now, and how sure that is, 0 to 1; while it is lost, where it was last.

        Raises InputError where the frame's size is not the first one's, or `start` was not called.
        """
        self._check_next(frame)
        with torch.inference_mode():
            sure = self._search(frame) if self.lost else self._follow(frame)
        return about(self._centre, self._grown * self._first_wh), sure

    def _follow(self, frame: UInt8[NDArray, "height width 3"]) -> float:
        """Look about the last place, go there, and learn what is there; how sure it is that the object is there."""
        following = self._matcher.following
        middle_scale = following.n_scales // 2
        scales = [following.step ** (k - middle_scale) for k in range(following.n_scales)]
        seen = self._answer(frame, np.repeat(self._centre[None], len(scales), 0), scales)
        scale = scales[seen.map]
        self._move(self._centre + seen.shift * scale * self._side / following.px)
        self._grow(1 + following.scale_rate * (scale - 1))
        sure = self._sure(seen)
        self._n_unsure = self._n_unsure + 1 if sure < UNSURE else 0
        self.lost = self._n_unsure > PATIENCE
        if not self._n_unsure:
            self._usual += max(USUAL_RATE, 1 / (self._n_sure + 2)) * (seen.height - self._usual)
            self._n_sure += 1
            if following.rate > 0 and self._n_sure % following.every == 0:
                self._learn(frame)
        return sure

    def _search(self, frame: UInt8[NDArray, "height width 3"]) -> float:
        """Look for a lost object at its last place and at the next few others; where it is surely there, go there."""
        others = self._places()
        some = [others[(self._n_looked + k) % len(others)] for k in range(N_LOOKS)]
        self._n_looked += N_LOOKS
        places = np.stack([self._centre, *some])
        seen = self._answer(frame, places, [1.0] * len(places))
        sure = self._sure(seen)
        if sure > SURE:
            self._move(places[seen.map] + seen.shift * self._side / self._matcher.following.px)
            self._n_unsure, self._n_looked, self.lost = 0, 0, False
        return sure

    def _sure(self, seen: Answer) -> float:
        """How likely it is that the object is there, by `Following.certainty`."""
        self.signs = (seen.above, min(seen.height / self._usual, 1.0))
        bias, *weights = self._matcher.following.certainty
        score = bias + sum(weight * sign for weight, sign in zip(weights, self.signs, strict=True))
        return 1 / (1 + math.exp(-min(max(score, -30.0), 30.0)))

    def _answer(
        self, frame: UInt8[NDArray, "height width 3"], places: Float[NDArray, "n 2"], scales: list[float]
    ) -> Answer:
        following = self._matcher.following
        maps = self._matcher.respond(self._matcher.embed(self._crops(frame, places, scales, following.px)))
        penalty = [1.0 if scale == 1 else following.scale_penalty for scale in scales]
        return answer_of(maps, penalty, following, self._matcher.cell_px)

    def _learn(self, frame: UInt8[NDArray, "height width 3"]) -> None:
        exemplar_px = self._matcher.following.exemplar_px
        self._matcher.update(self._matcher.embed(self._crops(frame, self._centre[None], [1.0], exemplar_px))[0])

    @property
    def _side(self) -> float:
        """Of the crop that is searched, in px of the frame."""
        return self._matcher.following.area * self._grown * size_of(self._first_wh)

    def _crops(
        self, frame: UInt8[NDArray, "height width 3"], places: Float[NDArray, "n 2"], scales: list[float], px: int
    ) -> Float[Tensor, "n 3 px px"]:
        """Crops of px × px about places, at the px a size of the searched one."""
        following = self._matcher.following
        side = self._side * px / following.px
        crops = [cut(frame, p, side * s, px, following.repeat_edge) for p, s in zip(places, scales, strict=True)]
        return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous().float()

    def _move(self, centre: Float[NDArray, "2"]) -> None:
        self._centre = np.clip(centre, 0, self._frame_wh)

    def _grow(self, by: float) -> None:
        largest = min(LARGEST, float((self._frame_wh / self._first_wh).min()))
        smallest = min(1.0, max(SMALLEST, SMALLEST_PX / float(self._first_wh.min())))
        self._grown = float(np.clip(self._grown * by, smallest, max(1.0, largest)))

    def _places(self) -> Float[NDArray, "n 2"]:
        """Middles of crops that cover the frame."""
        apart = APART * self._side
        along = [(np.arange(n) + 0.5) * (side / n) for side in self._frame_wh for n in [max(1, round(side / apart))]]
        return np.stack(np.meshgrid(*along), -1).reshape(-1, 2)

    def _check_next(self, frame: UInt8[NDArray, "height width 3"]) -> None:
        if not self._started:
            raise InputError("the tracker has not seen its object", remedy="call start(frame, box) first")
        check_frame(frame)
        size, first = (f"{w} x {h} px" for w, h in (frame.shape[1::-1], self._frame_wh.astype(int)))
        if size != first:
            raise InputError("a frame of another size than the first", given=size, expected=first)


def check_frame(frame: object) -> None:
    """Raises InputError where a frame is no picture of three colours."""
    if isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3:
        return
    given = f"{frame.dtype}, {list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
    expected = "uint8, [height, width, 3], red, green and blue from 0 to 255"
    raise InputError("a frame that cannot be looked at", given=given, expected=expected)


def check_box(box: Float[NDArray, "*n"], width: int, height: int) -> None:
    """Raises InputError where a box cannot be tracked in a frame of this size."""
    given = ", ".join(f"{v:g}" for v in box.ravel())
    expected = f"x, y, width and height of a box within {width} x {height} px"
    if box.shape != (4,):
        problem = "a box of other than four numbers"
    elif not np.isfinite(box).all():
        problem = "a box without a place"
    elif (box[2:] < 1).any():
        problem = "a box without a size"
    elif box[2] > width or box[3] > height:
        problem = "a box larger than the frame"
    elif (box[:2] + box[2:] / 2 < 0).any() or box[0] + box[2] / 2 > width or box[1] + box[3] / 2 > height:
        problem = "a box outside of the frame"
    else:
        return
    raise InputError(problem, given=given, expected=expected)
