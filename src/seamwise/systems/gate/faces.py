"""Drawn grey faces of known identity: a person is a row of numbers, a look is how the person appears in one picture.

A face is drawn in eye distances around the middle of its eyes, on a head that turns: every pixel is carried back
onto the frontal face, where eyes, brows, nose, mouth and hair are soft masks, and a relief under the light gives
the shading.
"""

from dataclasses import dataclass, fields

import numpy as np
import torch

from seamwise.shapes import Float, NDArray, Tensor

CUTOUT_PX = 56
REACH = 2.1  # from the middle of a cutout to its border, in eye distances
EDGE = CUTOUT_PX / (2 * REACH)  # px for each eye distance: edges are one pixel soft
MARGIN_PX = 8  # columns beside a face that only ears and hair reach
PIVOT = 0.2  # the height about which a head turns
LANDMARKS = ("left eye", "right eye", "nose tip", "left mouth corner", "right mouth corner")

# What tells one person from another: the range of each, lengths in eye distances, tones in grey values.
PARAMETERS: dict[str, tuple[float, float]] = {
    "width": (1.0, 1.32),
    "chin": (1.58, 2.02),
    "jaw_square": (0.0, 1.0),
    "jaw_taper": (0.0, 0.32),
    "skull": (1.5, 1.75),
    "skin": (0.5, 0.8),
    "eye_width": (0.2, 0.29),
    "eye_open": (0.08, 0.15),
    "eye_slant": (-0.22, 0.22),
    "eye_socket": (0.0, 0.14),
    "eye_shadow": (0.0, 0.3),
    "iris": (0.05, 0.4),
    "brow_height": (0.22, 0.4),
    "brow_thickness": (0.025, 0.085),
    "brow_tilt": (-0.28, 0.28),
    "brow_arch": (0.0, 0.14),
    "brow_length": (0.26, 0.42),
    "brow_tone": (0.3, 0.9),
    "brow_uneven": (-0.04, 0.04),
    "nose_length": (0.55, 0.88),
    "nose_width": (0.15, 0.31),
    "nose_bridge": (0.04, 0.15),
    "nose_tip": (0.06, 0.17),
    "nose_bend": (-0.05, 0.05),
    "mouth_drop": (0.28, 0.46),
    "mouth_width": (0.3, 0.54),
    "lip_upper": (0.03, 0.1),
    "lip_lower": (0.05, 0.13),
    "lip_tone": (0.55, 0.95),
    "mouth_curve": (-0.05, 0.09),
    "cheek": (0.0, 0.14),
    "cheek_height": (0.35, 0.65),
    "fold": (0.0, 0.3),
    "chin_relief": (0.0, 0.14),
    "mole_x": (-0.8, 0.8),
    "mole_y": (0.2, 1.5),
    "mole": (-0.6, 0.6),
    "ear": (0.1, 0.22),
    "hair": (0.06, 0.72),
    "hairline": (-1.25, -0.62),
    "hair_volume": (0.02, 0.34),
    "hair_side": (0.0, 0.3),
    "hair_length": (-1.0, 0.9),
    "hair_part": (-0.8, 0.8),
    "hair_fringe": (-0.45, 0.45),
    "hair_curl": (0.0, 1.0),
    "bald": (-0.85, 0.3),
    "beard": (-1.3, 0.9),
    "moustache": (-1.3, 0.9),
}

Params = dict[str, Tensor]


@dataclass(frozen=True)
class Cutouts:
    """Faces cut out of their surroundings, drawn or real; landmarks as `LANDMARKS`, x and y in px of the cutout."""

    grey: Float[Tensor, "n f f"]
    alpha: Float[Tensor, "n f f"]
    landmarks: Float[Tensor, "n 5 2"]


@dataclass(frozen=True)
class Looks:
    """How n faces appear: angles in radians, expression and light from 0 to 1, light from left (-1), above (-1)."""

    yaw: Float[NDArray, " n"]
    pitch: Float[NDArray, " n"]
    smile: Float[NDArray, " n"]
    mouth_open: Float[NDArray, " n"]
    brow_raise: Float[NDArray, " n"]
    closed: Float[NDArray, " n"]
    gaze: Float[NDArray, " n"]
    light_x: Float[NDArray, " n"]
    light_y: Float[NDArray, " n"]
    harsh: Float[NDArray, " n"]
    strength: Float[NDArray, " n"]
    glasses: Float[NDArray, " n"]


@dataclass(frozen=True)
class _Head:
    """The columns with the face: where each pixel is (x, y) and where on the frontal face it lies (u, v, nose_u)."""

    x: Float[Tensor, "1 1 w"]
    y: Float[Tensor, "1 h 1"]
    u: Float[Tensor, "n h w"]
    v: Float[Tensor, "n h w"]
    nose_u: Float[Tensor, "n h w"]
    side: Float[Tensor, "n h w"]  # |u|
    nose_side: Float[Tensor, "n h w"]  # |nose_u|

    def rows(self, part: slice) -> "_Head":
        """The part of it in some rows."""
        across = (self.u, self.v, self.nose_u, self.side, self.nose_side)
        return _Head(self.x, self.y[:, part], *(each[:, part] for each in across))


def _rows(top: float, bottom: float) -> slice:
    """The rows of a cutout between two heights, in eye distances below the eyes."""
    return slice(max(int((top + REACH) * EDGE), 0), min(int((bottom + REACH) * EDGE) + 1, CUTOUT_PX))


# Where features may come to lie as faces differ, nod and talk: each is drawn in its own rows alone.
EYES, NOSE, MOUTH = _rows(-0.95, 0.45), _rows(-0.45, 1.45), _rows(0.5, 1.95)
CHEEKS, JAW = _rows(0.1, 1.2), _rows(0.4, 2.1)
FACE = slice(MARGIN_PX, CUTOUT_PX - MARGIN_PX)  # columns


def identities(rng: np.random.Generator, n: int) -> Float[NDArray, "n parameters"]:
    """New people, each parameter from 0 to 1 of its range."""
    return rng.random((n, len(PARAMETERS)))


def looks(rng: np.random.Generator, n: int, *, pose: float = 1, light: float = 1, glasses: float = 0.15) -> Looks:
    """How n people look: `pose` scales turns and expressions, `light` the light; `glasses` is a share."""
    return Looks(
        yaw=np.deg2rad(25) * pose * rng.uniform(-1, 1, n),
        pitch=np.deg2rad(12) * pose * rng.uniform(-1, 1, n),
        smile=pose * rng.uniform(-0.3, 1, n),
        mouth_open=pose * np.clip(rng.uniform(-1.2, 1, n), 0, 1),
        brow_raise=pose * rng.uniform(-0.5, 1, n),
        closed=pose * np.clip(rng.uniform(-3, 1, n), 0, 1),
        gaze=pose * rng.uniform(-1, 1, n),
        light_x=light * rng.uniform(-1, 1, n),
        light_y=-0.35 + light * rng.uniform(-0.6, 0.5, n),
        harsh=0.45 + 0.4 * light * rng.uniform(-1, 1, n),
        strength=np.exp(light * rng.uniform(-0.6, 0.2, n)),
        glasses=(rng.random(n) < glasses).astype(np.float64),
    )


def render(identity: Float[NDArray, "n parameters"], look: Looks) -> Cutouts:
    """Draw n people as they look."""
    p = _params(identity, look)
    head = _head(p)
    skin, light = _silhouette(head, p), _light(head, p)
    hair, top, long = _hair(p)
    ear = _ears(p)
    alpha = torch.maximum(torch.maximum(top, long), ear)
    alpha[:, :, FACE] = torch.maximum(alpha[:, :, FACE], skin)
    shine = 0.5 + 0.5 * light
    grey = torch.lerp((p["skin"] * 0.8).expand_as(hair), hair * 0.8, torch.maximum(top, long))
    grey.lerp_(p["skin"] * 0.8, ear)
    face = grey[:, :, FACE]  # drawn in place
    face.lerp_(_albedo(head, p).mul_(light), skin)
    face.lerp_(hair[:, :, FACE] * shine, _hairline(head, p) * top[:, :, FACE])
    _glasses(face, head, p)
    return Cutouts(grey.mul_(p["strength"]).clamp_(0, 1), alpha, _landmarks(p))


def _params(identity: Float[NDArray, "n parameters"], look: Looks) -> Params:
    """Every number of a face and its look by name, each [n 1 1]."""
    low, high = np.array(list(PARAMETERS.values())).T
    values = torch.from_numpy((low + (high - low) * identity).astype(np.float32))
    p = {name: values[:, k, None, None] for k, name in enumerate(PARAMETERS)}
    for field in fields(look):
        p[field.name] = torch.from_numpy(getattr(look, field.name).astype(np.float32))[:, None, None]
    p["sin_yaw"], p["cos_yaw"] = p["yaw"].sin(), p["yaw"].cos()
    p["sin_pitch"], p["cos_pitch"] = p["pitch"].sin(), p["pitch"].cos()
    p["mouth_y"] = p["nose_length"] + p["mouth_drop"]
    p["lower_y"] = p["mouth_y"] + 0.16 * p["mouth_open"]
    p["chin"] = torch.maximum(p["chin"] + 0.1 * p["mouth_open"], p["mouth_y"] + 0.42)
    p["open"] = p["eye_open"] * (1 - 0.85 * p["closed"])
    return p


def _grid() -> tuple[Float[Tensor, "1 1 f"], Float[Tensor, "1 f 1"]]:
    """Where the pixels of a cutout are, in eye distances from the middle of the eyes."""
    line = (torch.arange(CUTOUT_PX) + 0.5) / EDGE - REACH
    return line[None, None, :], line[None, :, None]


def _step(distance: Tensor, softness: float = 1) -> Tensor:
    """From 0 to 1 where a distance in eye distances becomes positive, over `softness` pixels."""
    return (distance * (EDGE / softness)).add_(0.5).clamp_(0, 1)


def _bump(dx: Tensor, dy: Tensor, width: Tensor | float, height: Tensor | float) -> Tensor:
    """A hill of height 1 that looks like a Gaussian and ends at twice its width."""
    down = (dx * (0.5 / width)).square_().add_((dy * (0.5 / height)).square_())
    return down.neg_().add_(1).clamp_min_(0).square_().square_()


def _ridge(distance: Tensor, softness: float = 1) -> Tensor:
    """A line one pixel wide, or `softness` pixels, where a distance is 0."""
    return distance.abs().mul_(-EDGE / softness).add_(1).clamp_min_(0)


def _depth(x: Tensor, y: Tensor, p: Params) -> Tensor:
    """How far the head comes forward at a place of the picture."""
    rest = p["width"].square() - 0.3 * (y - PIVOT).square()
    return (rest - x.square()).clamp_min_(0.02).sqrt_()


def _unturn(x: Tensor, y: Tensor, p: Params) -> tuple[Tensor, Tensor]:
    """Where on the frontal face a place of the picture lies."""
    z = _depth(x, y, p)
    u = x * p["cos_yaw"] - z * p["sin_yaw"]
    forward = (x * p["sin_yaw"]).addcmul(z, p["cos_yaw"])
    level = (y - PIVOT) * p["cos_pitch"] + PIVOT + p["width"] * 0.6 * p["sin_pitch"]
    return u, level - forward.mul_(p["sin_pitch"])


def _head(p: Params) -> _Head:
    x, y = _grid()
    x = x[:, :, FACE]
    u, v = _unturn(x, y, p)
    # the nose stands out: it shifts more than the face it stands on
    reach = ((v + 0.1) / (p["nose_length"] + 0.1)).clamp_(0, 1)
    nose_u = u - reach * _nose_shift(p)
    return _Head(x, y, u, v, nose_u, u.abs(), nose_u.abs())


def _nose_shift(p: Params) -> Tensor:
    return 0.32 * p["sin_yaw"] + p["nose_bend"]


def _corner_lift(p: Params) -> Tensor:
    return 0.09 * p["smile"] + p["mouth_curve"]


def _landmarks(p: Params) -> Float[Tensor, "n 5 2"]:
    """Where the landmarks of the frontal face come to lie: the turn is undone by a few steps."""
    zero = torch.zeros_like(p["chin"])
    corner = p["mouth_y"] + 0.08 * p["mouth_open"] - _corner_lift(p)
    u = torch.cat([zero - 0.5, zero + 0.5, _nose_shift(p), -p["mouth_width"], p["mouth_width"]], 2)
    v = torch.cat([zero, zero, p["nose_length"] - 0.06, corner, corner], 2)
    x, y = u, v
    for _ in range(8):
        seen_u, seen_v = _unturn(x, y, p)
        x, y = x + u - seen_u, y + v - seen_v
    return (torch.stack([x[:, 0], y[:, 0]], 2) + REACH) * EDGE


def _silhouette(head: _Head, p: Params) -> Tensor:
    """The mask of the face: an ellipse above the cheekbones, a jaw of its own shape below."""
    # a nod brings the chin nearer, a turn carries it aside
    chin = p["chin"] + 0.5 * p["sin_pitch"]
    down = ((head.y - 0.25) / (chin - 0.25)).clamp_min(0)
    up = ((0.25 - head.y) / (0.25 + p["skull"])).clamp_min(0)
    half = p["width"] * (1 - p["jaw_taper"] * down)
    square = down.square()
    round_ = up.square()
    left = 1 - torch.lerp(square, square.square(), p["jaw_square"]) - torch.lerp(round_, round_.square(), 0.4)
    across = (head.x - 0.3 * p["sin_yaw"] * down).mul_(1 / half.clamp_min(0.1))
    return _step(left - across.square_(), 2)


def _relief(head: _Head, p: Params) -> Tensor:
    """How far features stand out from the head."""
    height = torch.zeros_like(head.u)
    h, length = head.rows(NOSE), p["nose_length"]
    below = h.v - length
    run = ((h.v + 0.25) / (length + 0.2)).clamp_(0, 1)
    run *= _step(-below, 2.5) * _bump(h.nose_u, below * 0, 0.6 * p["nose_width"], 1)
    height[:, NOSE] = run.mul_(p["nose_bridge"] + 0.06)
    height[:, NOSE] += p["nose_tip"] * _bump(h.nose_u, below + 0.08, p["nose_width"] * 0.65, 0.14)
    height[:, NOSE] += 0.07 * _bump(h.nose_side - p["nose_width"] * 0.75, below + 0.04, 0.07, 0.09)
    h = head.rows(EYES)
    height[:, EYES] -= p["eye_socket"] * _bump(h.side - 0.45, h.v + 0.02, 0.3, 0.2)
    h = head.rows(CHEEKS)
    height[:, CHEEKS] += p["cheek"] * _bump(h.side - 0.68, h.v - p["cheek_height"] - 0.1, 0.3, 0.25)
    h = head.rows(JAW)
    height[:, JAW] += p["chin_relief"] * _bump(h.u, h.v - p["chin"] + 0.22, 0.3, 0.2)
    height[:, JAW] -= 0.06 * _bump(h.u, h.v - p["lower_y"] - 0.24, 0.32, 0.08)
    return height


def _light(head: _Head, p: Params) -> Tensor:
    """The light on each pixel, about 1 where it falls straight on."""
    norm = torch.rsqrt(p["light_x"].square() + p["light_y"].square() + 1)
    along_x, along_y = p["light_x"] * norm, p["light_y"] * norm
    facing = _depth(head.x, head.y, p).mul_(norm / p["width"])
    facing += head.x * (along_x / p["width"]) + (head.y - PIVOT) * (0.45 * along_y / p["width"])
    relief = _relief(head, p)
    facing[:, :, 1:-1] -= (relief[:, :, 2:] - relief[:, :, :-2]).mul_(along_x * (EDGE / 2))
    facing[:, 1:-1] -= (relief[:, 2:] - relief[:, :-2]).mul_(along_y * (EDGE / 2))
    return facing.clamp_(0, 1.15).mul_(p["harsh"] * 1.3).add_(1 - p["harsh"])


def _albedo(head: _Head, p: Params) -> Tensor:
    """The grey of the face itself, before the light."""
    face = p["skin"].expand_as(head.u).clone()
    _shade(face[:, NOSE], head.rows(NOSE), p)
    _beard(face[:, JAW], head.rows(JAW), p)
    _mouth(face[:, MOUTH], head.rows(MOUTH), p)
    _eyes(face[:, EYES], head.rows(EYES), p)
    _brows(face[:, EYES], head.rows(EYES), p)
    return face


def _shade(face: Tensor, head: _Head, p: Params) -> None:
    """Lines and marks of the skin: folds, nostrils, shadows under nose and eyes, a mole."""
    v, side, width = head.v, head.nose_side, p["nose_width"]
    below = v - p["nose_length"]
    dark = _bump(side - 0.45 * width, below - 0.01, 0.06 + 0.12 * width, 0.045).mul_(0.75)
    dark += _bump(side, below - 0.07, width, 0.06).mul_(0.22)
    dark += _bump(side - width - 0.04, below + 0.05, 0.04, 0.1).mul_(0.22)
    fold = head.side - 0.45 * below - (width + 0.12 + 0.05 * p["smile"])
    dark += (p["fold"] + 0.12 * p["smile"]).clamp_min(0) * _bump(fold, below - 0.18, 0.05, 0.22)
    dark += p["eye_shadow"] * _bump(head.side - 0.46, v - 0.17, 0.2, 0.07)
    dark += 1.2 * p["mole"].clamp_min(0) * _bump(head.u - p["mole_x"], v - p["mole_y"], 0.05, 0.05)
    face.mul_(dark.clamp_(0, 0.9).neg_().add_(1))


def _beard(face: Tensor, head: _Head, p: Params) -> None:
    """A beard along the jaw and a moustache, where there are any."""
    beard, moustache = p["beard"].clamp(0, 0.75), p["moustache"].clamp(0, 0.75)
    below = head.v - p["mouth_y"]
    jaw = below + 0.12 + 0.25 * head.side - 0.55 * head.side.square()
    lips = _bump(head.u, below - 0.04, p["mouth_width"] * 0.9, 0.2)
    mask = _step(jaw, 4).mul_(beard).mul_(1 - 0.8 * lips)
    strip = _step(0.1 - (below + 0.15 - 0.12 * head.side).abs_(), 1.5)
    strip *= _step(p["mouth_width"] * 1.05 - head.side, 1.5).mul_(moustache)
    face.lerp_(p["hair"] * 0.85, torch.maximum(mask, strip))


def _mouth(face: Tensor, head: _Head, p: Params) -> None:
    """Two lips, the line between them, and what an open mouth shows."""
    along = (head.u * (1 / (p["mouth_width"] * (1 + 0.12 * p["smile"])))).square_()
    within = (1 - along).clamp_min_(0)
    middle = head.v - p["mouth_y"] + along * (_corner_lift(p) - 0.08 * p["mouth_open"])
    gap = within * (0.16 * p["mouth_open"])
    bow = within * p["lip_upper"] * (1 - 0.35 * _bump(head.u, along * 0, 0.1, 1))
    low = middle - gap
    lower = torch.minimum(low, within.sqrt() * (1.1 * p["lip_lower"]) - low)
    lips = torch.maximum(_step(torch.minimum(middle + bow, -middle)), _step(lower).mul_(0.75))
    face.mul_(1 - lips.mul_(_step(1 - along, 3)).mul_((1 - p["lip_tone"]) * 1.3))
    face.mul_(1 - _ridge(middle, 1.3).mul_(_step(1.08 - along, 4)).mul_(0.6))
    inside = _step(torch.minimum(middle, -low)).mul_(_step(gap - 0.06))
    teeth = _step(0.07 - middle).mul_(p["smile"].clamp_min(0))
    face.lerp_(teeth.mul_(0.6).add_(0.16), inside)


def _eyes(face: Tensor, head: _Head, p: Params) -> None:
    """Almond eyes with a lid line, an iris that looks somewhere and a pupil."""
    out = head.side - 0.5
    up = out * p["eye_slant"] - head.v
    within = 1 - (out * (1 / p["eye_width"])).square_()
    lid = up - within * p["open"]
    eye = _step(torch.minimum(-lid, up + within * (0.75 * p["open"])))
    aside = head.u - head.u.sign().mul_(0.5) - 0.05 * p["gaze"]
    around = aside.square_().add_(up.square()).sqrt_()
    tone = torch.lerp(torch.full_like(up, 0.86), p["iris"].expand_as(up), _step(0.115 - around))
    tone.mul_(1 - _step(0.05 - around).mul_(0.85))
    face.lerp_(tone, eye)
    near = _step(within.mul_(0.2).add_(0.02), 2)
    line = _ridge(lid, 1.4).mul_(0.75).add_(_ridge(lid - 0.09, 1.2).mul_(0.18))
    face.mul_(1 - line.mul_(near))


def _brows(face: Tensor, head: _Head, p: Params) -> None:
    out = head.side - 0.5
    share = out * (1 / p["brow_length"])
    off = head.v + out * p["brow_tilt"] - share.square() * p["brow_arch"] + head.u.sign().mul_(p["brow_uneven"])
    off += p["brow_height"] + 0.08 * p["brow_raise"]
    mask = _step(p["brow_thickness"] * (1 - 0.3 * share) - off.abs_(), 1.2)
    mask *= _step(p["brow_length"] - out.abs_(), 1.5).mul_(p["brow_tone"])
    face.lerp_(torch.minimum(p["hair"] * 0.8, face * 0.85), mask)


def _ears(p: Params) -> Tensor:
    """The ears beside the head, hidden by a turn and by long hair."""
    x, y = _grid()
    turned = torch.where(x > 0, -p["sin_yaw"], p["sin_yaw"])
    away = (x.abs() - p["width"] - 0.12 * turned) / (0.6 * p["ear"])
    tall = (y - 0.22 + 0.3 * p["sin_pitch"]) / (1.6 * p["ear"])
    shown = 1 - _step(p["hair_length"])
    return _step(0.25 * (1 - away.square() - tall.square()), 1.5).mul_(shown)


def _hair(p: Params) -> tuple[Tensor, Tensor, Tensor]:
    """The grey of the hair, the mask of the hair on the head, and of hair that falls behind it."""
    x, y = _grid()
    bald = _step(p["bald"] - 0.1, 2)
    volume = p["hair_volume"] * (1 - bald) - 0.05 * bald
    bend = 3 * p["hair_curl"] * (5 * y + 7 * p["hair_part"]).sin()
    wave = (x * (8 + 5 * p["hair_side"] / 0.3) + bend - p["sin_yaw"] * 8).sin_()
    falls = _step(p["hair_length"]) * (1 - bald)
    half, above = p["width"] + 0.5 * volume + p["hair_side"] * falls, p["skull"] + volume
    round_ = ((y - 0.1) / (0.1 + above)).square()
    edge = 1 - (x / half).square() - torch.lerp(round_, round_.square(), 0.3)
    top = _step(edge.addcmul_(wave, 0.2 * p["hair_curl"] * volume), 2).mul_(_step(0.1 - y, 3))
    end = 0.9 + p["hair_length"]
    behind = half - 0.1 * (y - 0.1).square()
    fall = torch.minimum(end - y - 0.25 * x.square(), y)
    long = _step(torch.minimum(behind - x.abs(), fall)).mul_(falls)
    # the light comes and goes along the hair
    grey = wave.mul_(0.1).add_(1 + 0.12 * (6 * y + 9 * p["hair_curl"]).sin()).mul_(p["hair"])
    return grey, top, long


def _hairline(head: _Head, p: Params) -> Tensor:
    """Where hair lies before the face."""
    bald = _step(p["bald"] - 0.1, 2)
    temple = (head.side * (1 / p["width"])).square_()
    part = (head.u * (1 / p["width"]) - p["hair_part"]).abs_()
    line = part.mul_(1 - 0.8 * temple).mul_(p["hair_fringe"]).add_(p["hairline"])
    line += temple.square().mul_(temple).mul_(0.9) - (1 - temple) * (1.2 * bald)
    return _step(line - head.v, 1.5)


def _glasses(face: Tensor, head: _Head, p: Params) -> None:
    """Frames around the eyes, for those who wear them."""
    worn = p["glasses"][:, 0, 0] > 0
    if not worn.any():
        return
    u, v = head.side[worn, EYES], head.v[worn, EYES] - 0.03
    ring = ((u - 0.5).square_().div_(1.35).add_(v.square())).sqrt_() - 0.29
    height = 0.035 - (v + 0.08).abs_()
    beside = torch.minimum(u - 0.8, 1.02 * p["width"][worn] - u)
    straight = torch.maximum(torch.minimum(0.2 - u, height), torch.minimum(beside, height))
    frame = _step(torch.maximum(0.03 - ring.abs(), straight)).mul_(0.85)
    glass = face[worn, EYES] * (1 + 0.06 * _step(-ring))
    face[worn, EYES] = glass.lerp_(0.4 * p["hair"][worn], frame)
