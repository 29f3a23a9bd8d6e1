"""Is it a hand, one, whole and which way up? Looked at with the shipped finder, whatever model then tells the age."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, final

import cv2
import numpy as np
import torch
from torch.nn.functional import grid_sample, normalize

from seamwise.errors import InputError
from seamwise.shapes import Float, NDArray, Tensor, UInt8
from seamwise.systems.age import growth
from seamwise.systems.age.nets import MIDDLE_PX, SMALL_PX, Locate, expected, pooled, warped
from seamwise.systems.age.shape import BASES, BONE_ENDS, axes, bone_lengths, hand_size, moved, similarity

__all__ = ["Hand", "Looks", "check_hand", "look"]

TIPS: Final = (4, *(base + 4 for base in BASES))
MIDDLES: Final = tuple(base + 2 for base in BASES)  # of the fingers
BESIDE: Final = 0.17  # of a bone's middle, in hand sizes: where there is no bone
AGAIN_TURN, AGAIN_ZOOM = 0.3, 1.15  # of the third look, in radians and times; it is mirrored too
LEAST_SIZE: Final = 0.02  # of a hand, where the picture is 2 wide
TURNED: Final = math.radians(55)  # a hand held further from upright is turned

# A logistic regression: 910 radiographs and 160 simulated ones, each as it is, against 2,250 pictures of no hand, of
# parts of one and of one cut into blocks (see `tests/test_age_refuse.py` for their kinds), each in four turns. The
# rates of refusal were measured on these same pictures; in two folds, 1.2 % of the radiographs were refused.
WEIGHTS: Final = {
    "constant": -2.53,
    "third": -3.33,  # log of how far the landmarks move when looked at anew, in hand sizes
    "spread": 1.45,  # log of how wide the heat maps are, in the upright view: their mean
    "spread_worst": -0.44,  # and of the widest tenth
    "ratio": -14.58,  # how far the logs of the bones' lengths are from usual: their mean
    "ratio_worst": -8.46,  # and of the farthest tenth
    "bright": 0.8,  # the share of bones that are brighter than what is beside them
    "gaps": 0.31,  # how much brighter fingers are than what is between them, in sd of the picture
}
NO_HAND, DOUBTFUL, SURE = -1.0, 1.5, 3.0  # of the sum
SECOND, ALIKE = -1.5, 2.5  # a second hand: its sum at least; how many times larger or smaller at most
AROUND: Final = 0.7  # of the landmarks, in hand sizes: what belongs to the hand
AT_EDGE: Final = 0.12  # of what was exposed, in hand sizes: fingers end there
ALONG: Final = np.linspace(0.2, 0.95, 8)  # of a fingertip's bone: where it is looked whether it was exposed
MOST_CUT: Final = 2  # fingertips: of 101 real hands three have as many at the edge of what was exposed
DARK: Final = 12  # of 255: not exposed
SMALL: Final = 0.75  # of the side: what was exposed is enlarged where it is smaller
FEWEST_PX, FEW_PX = 128, 256  # of what was exposed, its long side: refused below, told below


@final
@dataclass(frozen=True)
class Looks:
    """What the finder makes of pictures: landmarks from -1 to 1, how it sees them, and how sure that it is a hand."""

    place: Float[Tensor, "n 25 2"]
    sure: Float[Tensor, " n"]  # log odds, see WEIGHTS


@final
@dataclass(frozen=True)
class Hand:
    """A picture that shows a hand, turned upright; by how many quarters, against the clock.

    zoom:  how many times larger than in the picture that was given; what was exposed fills it where it is not 1
    place: the landmarks in it, from -1 to 1
    cut:   the fingertips among them that are at the edge of what was exposed, or beyond
    """

    picture: UInt8[NDArray, "1 px px"]
    n_quarters: int
    zoom: float
    place: Float[NDArray, "25 2"]
    cut: tuple[int, ...]
    warnings: tuple[str, ...]


def check_hand(picture: UInt8[NDArray, "1 px px"], name: str = "the picture") -> Hand:
    """The hand that a picture shows, turned upright where it is not, and enlarged where its border is wide.

    Raises InputError where it shows none, more than one, one whose fingers are cut off, or too few pixels of it.
    """
    px, content_px = picture.shape[-1], _content_px(picture)
    if content_px < FEWEST_PX:
        raise InputError(
            f"{name}: the hand is too small",
            given=f"what was exposed is {content_px} px long where the whole picture is {px}",
            expected=f"{FEWEST_PX} px at least",
            remedy="crop the picture to the hand, or give the original radiograph",
        )
    small = content_px < SMALL * px
    near = _squared(_content(picture), px) if small else picture
    n_quarters, place, sure = _upright(near)
    turned = _turned(near, n_quarters)
    if sure < NO_HAND:
        if _in_halves(turned):
            raise _two(name)
        raise InputError(
            f"{name}: shows no hand that can be read",
            given="no bones that lie and look like those of a hand",
            expected="a radiograph of one whole hand, from the front or the back",
            remedy="give another picture, or crop it to the hand",
        )
    if _is_second(turned, place) or _in_halves(turned):
        raise _two(name)
    cut = _at_edge(turned, place)
    if len(cut) > MOST_CUT:
        raise InputError(
            f"{name}: the hand is cut off",
            given=f"{len(cut)} fingertips at the edge of the picture",
            expected="a whole hand, from the wrist to the fingertips",
            remedy="give the picture before it was cropped",
        )
    told = []
    if n_quarters:
        told.append(f"the hand was not upright; the picture was turned by {90 * n_quarters}° against the clock")
    if cut:
        which = "1 fingertip" if len(cut) == 1 else f"{len(cut)} fingertips"
        told.append(f"{which} at the edge of the picture: is the hand whole? No bone was measured there")
    if content_px < FEW_PX:
        told.append(f"a small picture: the hand and what is around it are {content_px} px long; the age may be far off")
    if sure < DOUBTFUL:
        told.append("the hand is hard to see; look at the bones as they were drawn (--draw)")
    return Hand(turned, n_quarters, px / content_px if small else 1.0, place, cut, tuple(told))


def _two(name: str) -> InputError:
    expected, remedy = "a radiograph of one hand", "crop it to one, the left by custom"
    return InputError(f"{name}: shows two hands", expected=expected, remedy=remedy)


@lru_cache
def finder() -> Locate:
    """The shipped one."""
    from seamwise.systems.age.task import shipped

    net = Locate()
    net.load_state_dict(dict(shipped("locate")))
    return net.eval()


@torch.no_grad()
def look(picture: UInt8[Tensor, "n 1 px px"]) -> Looks:
    """Look three times: at the picture, at the hand upright, and at that mirrored, turned and smaller."""
    net = finder()
    middle = pooled(picture, MIDDLE_PX)
    view = similarity(expected(net.maps(pooled(middle, SMALL_PX))))
    heat = net.maps(warped(middle, view, SMALL_PX))
    place = moved(expected(heat), view)
    again = _followed(similarity(place), _again())
    third = moved(expected(net.maps(warped(middle, again, SMALL_PX))), again)
    signs = _signs(middle, heat, place, third)
    sure = sum((weight * signs[name] for name, weight in WEIGHTS.items() if name in signs), torch.tensor(0.0))
    return Looks(place, sure + WEIGHTS["constant"])


def _signs(
    middle: Float[Tensor, "n 1 px px"],
    heat: Float[Tensor, "n 25 side side"],
    place: Float[Tensor, "n 25 2"],
    third: Float[Tensor, "n 25 2"],
) -> dict[str, Float[Tensor, " n"]]:
    """By the names of WEIGHTS."""
    size = hand_size(place).clamp_min(LEAST_SIZE)
    spread = _spread(heat)
    log = bone_lengths(place / size[:, None, None]).clamp_min(1e-3).log()
    ratio = (log - log.mean(1, keepdim=True) - _usual()).abs()
    contrast = middle.std((2, 3)) + 0.02
    return {
        "third": ((third - place).norm(dim=-1).mean(1) / size).clamp_min(1e-3).log(),
        "spread": spread.mean(1).log(),
        "spread_worst": spread.quantile(0.9, dim=1).log(),
        "ratio": ratio.mean(1),
        "ratio_worst": ratio.quantile(0.9, dim=1),
        "bright": (_steps(middle, place) > 0).float().mean(1),
        "gaps": (_gaps(middle, place) / contrast).mean(1),
    }


def _spread(heat: Float[Tensor, "n 25 side side"]) -> Float[Tensor, "n 25"]:
    """The standard deviation of each heat map, in both directions together; the view is 2 wide."""
    share = heat.flatten(2).softmax(-1).view_as(heat)
    at = (torch.arange(heat.shape[-1]) + 0.5) / heat.shape[-1] * 2 - 1
    across, down = share.sum(2), share.sum(3)
    variances = [(a * at.square()).sum(-1) - (a * at).sum(-1).square() for a in (across, down)]
    return (variances[0] + variances[1]).clamp_min(1e-6).sqrt()


def _steps(middle: Float[Tensor, "n 1 px px"], place: Float[Tensor, "n 25 2"]) -> Float[Tensor, "n 19"]:
    """How much brighter the middle of each bone is than what is on both sides of it."""
    start, end = (place[:, [bone[k] for bone in BONE_ENDS]] for k in (0, 1))
    along = end - start
    unit = normalize(along, dim=-1)
    side = torch.stack([-unit[..., 1], unit[..., 0]], -1) * BESIDE * hand_size(place)[:, None, None]
    points = start[:, :, None] + along[:, :, None] * torch.linspace(0.3, 0.7, 5)[:, None]
    on, left, right = (_light(middle, points + k * side[:, :, None]).mean(-1) for k in (0, 1, -1))
    return on - (left + right) / 2


def _gaps(middle: Float[Tensor, "n 1 px px"], place: Float[Tensor, "n 25 2"]) -> Float[Tensor, "n 3"]:
    """How much brighter two neighbouring fingers are than the middle between them."""
    fingers = (place[:, list(MIDDLES)] + place[:, [k + 1 for k in MIDDLES]]) / 2
    on, between = _light(middle, fingers), _light(middle, (fingers[:, 1:] + fingers[:, :-1]) / 2)
    return (on[:, 1:] + on[:, :-1]) / 2 - between


def _light(middle: Float[Tensor, "n 1 px px"], places: Float[Tensor, "n *many 2"]) -> Float[Tensor, "n *many"]:
    seen = grid_sample(middle, places.reshape(len(middle), -1, 1, 2), align_corners=False)
    return seen.view(places.shape[:-1])


@lru_cache
def _usual() -> Float[Tensor, "19"]:
    """The logs of the bones' lengths about their mean, over girls and boys of 3 to 17 years."""
    ages = np.arange(36.0, 205.0, 12)
    log = np.log(np.concatenate([growth.lengths(np.full(len(ages), sex), ages)[0] for sex in (0, 1)]))
    return torch.from_numpy((log - log.mean(1, keepdims=True)).mean(0)).float()


@lru_cache
def _again() -> Float[Tensor, "1 2 3"]:
    cos, sin = AGAIN_ZOOM * math.cos(AGAIN_TURN), AGAIN_ZOOM * math.sin(AGAIN_TURN)
    return torch.tensor([[[-cos, -sin, 0.0], [-sin, cos, 0.0]]])


def _followed(view: Float[Tensor, "n 2 3"], by: Float[Tensor, "#n 2 3"]) -> Float[Tensor, "n 2 3"]:
    """The view that leads through `by`, then through `view`."""
    turn = view[:, :, :2]
    return torch.cat([turn @ by[:, :, :2], turn @ by[:, :, 2:] + view[:, :, 2:]], 2)


def _upright(picture: UInt8[NDArray, "1 px px"]) -> tuple[int, Float[NDArray, "25 2"], float]:
    """By how many quarters to turn it, where the landmarks are then, and how sure it is a hand."""
    turns = [_one(picture)]
    if turns[0][1] < SURE:
        turns += [_one(_turned(picture, n)) for n in (1, 2, 3)]
    best = max(range(len(turns)), key=lambda n: turns[n][1])
    more = _quarters(turns[best][0])
    place, sure = turns[best]
    if more:
        best = (best + more) % 4
        place, sure = _one(_turned(picture, best))
    return best, place, sure


def _quarters(place: Float[NDArray, "25 2"]) -> int:
    """How many quarters against the clock bring the fingers up."""
    _, up = axes(torch.from_numpy(place)[None])
    angle = math.atan2(float(up[0, 0]), -float(up[0, 1]))  # with the clock from upright
    return 0 if abs(angle) < TURNED else round(angle / (math.pi / 2)) % 4


def _one(picture: UInt8[NDArray, "1 px px"]) -> tuple[Float[NDArray, "25 2"], float]:
    seen = look(torch.from_numpy(picture)[None])
    return seen.place[0].numpy(), float(seen.sure[0])


def _turned(picture: UInt8[NDArray, "1 px px"], n_quarters: int) -> UInt8[NDArray, "1 px px"]:
    return np.ascontiguousarray(np.rot90(picture, n_quarters, (1, 2)))


def _is_second(picture: UInt8[NDArray, "1 px px"], place: Float[NDArray, "25 2"]) -> bool:
    """Whether there is another hand where this one is painted over."""
    px, size = picture.shape[-1], _size(place)
    hull = cv2.convexHull(((place + 1) / 2 * px).round().astype(np.int32))
    mask = cv2.fillConvexPoly(np.zeros((px, px), np.uint8), hull, 1)
    reach = round(AROUND * size * px / 2)
    mask = np.asarray(cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)))
    left = picture[0][(mask == 0) & (picture[0] > 0)]
    if left.size < 0.05 * px * px:
        return False
    painted = np.where(mask == 1, np.uint8(np.quantile(left, 0.2)), picture[0])
    other, sure = _one(painted[None])
    return sure > SECOND and 1 / ALIKE < _size(other) / size < ALIKE


def _in_halves(picture: UInt8[NDArray, "1 px px"]) -> bool:
    """Whether there is a hand in each half, side by side or one above the other."""
    inside = _content(picture)
    for axis in (2, 1):
        half = inside.shape[axis] // 2
        parts = np.split(inside, [half], axis=axis)
        if half > 32 and all(_one(_squared(part, picture.shape[-1]))[1] > SECOND for part in parts):
            return True
    return False


def _squared(part: UInt8[NDArray, "1 height width"], px: int) -> UInt8[NDArray, "1 px px"]:
    """A part of a picture, as large as it can be in the middle of a square."""
    height, width = part.shape[1:]
    scale = px / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    whole = np.zeros((1, px, px), np.uint8)
    top, left = (px - size[1]) // 2, (px - size[0]) // 2
    whole[0, top : top + size[1], left : left + size[0]] = cv2.resize(part[0], size, interpolation=cv2.INTER_LINEAR)
    return whole


def _at_edge(picture: UInt8[NDArray, "1 px px"], place: Float[NDArray, "25 2"]) -> tuple[int, ...]:
    """The fingertips at the edge of what was exposed, or beyond: there, or where it is dark on the way to them."""
    px = picture.shape[-1]
    rows, columns = _exposed(picture)
    least = AT_EDGE * _size(place) * px / 2
    x, y = ((place[list(TIPS)] + 1) / 2 * px).T
    away = np.minimum.reduce([x - columns[0], columns[1] - x, y - rows[0], rows[1] - y])
    end, start = place[list(TIPS), None], place[[tip - 1 for tip in TIPS], None]
    on = (((start + (end - start) * ALONG[:, None]) + 1) / 2 * px).astype(np.int64).clip(0, px - 1)
    light = cv2.dilate(picture[0], np.ones((3, 3), np.uint8))[on[..., 1], on[..., 0]]
    cut = (away < least) | (light <= DARK).any(1)
    return tuple(tip for tip, is_cut in zip(TIPS, cut.tolist(), strict=True) if is_cut)


def _exposed(picture: UInt8[NDArray, "1 px px"]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The first row and column that are not dark, and those behind the last."""
    rows, columns = (np.flatnonzero(picture[0].max(axis) > DARK) for axis in (1, 0))
    px = picture.shape[-1]
    return tuple((int(k[0]), int(k[-1]) + 1) if len(k) else (0, px) for k in (rows, columns))  # type: ignore[return-value]


def _content(picture: UInt8[NDArray, "1 px px"]) -> UInt8[NDArray, "1 height width"]:
    """What was exposed."""
    rows, columns = _exposed(picture)
    return picture[:, rows[0] : rows[1], columns[0] : columns[1]]


def _content_px(picture: UInt8[NDArray, "1 px px"]) -> int:
    _, height, width = _content(picture).shape
    return int(max(height, width))


def _size(place: Float[NDArray, "25 2"]) -> float:
    return max(LEAST_SIZE, float(hand_size(torch.from_numpy(place)[None])[0]))
