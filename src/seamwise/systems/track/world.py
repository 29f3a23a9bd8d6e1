"""The tracking world: clips of a moving thing before a moving scene, with all that makes it hard to follow.

A thing (`things`) goes its way (`paths`) before a scene (`scenes`) under a light and through a lens (`lens`), among
others. What is hard is one setting each, and each can be switched off alone: the rest of the clip stays as it was.

Source: what is hard is the list of attributes of OTB (Wu, Lim & Yang 2015). Differs: drawn, so that all is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import cv2
import numpy as np

from seamwise.errors import InputError
from seamwise.shapes import Bool, Float, NDArray, UInt8
from seamwise.systems.track import actors, lens, paths, scenes, things
from seamwise.systems.track.actors import Actor, Patch
from seamwise.systems.track.paths import Camera, Path
from seamwise.systems.track.textures import Picture, Source
from seamwise.systems.track.things import N_KINDS, Thing

__all__ = ["LEAST_PX", "N_KINDS", "Clip", "Difficulty", "draw"]

LEAST_PX = 64
OFTEN = 0.65  # how often a clip has any of one difficulty
SMALL, SMALL_PX, LARGE = 0.33, (15.0, 26.0), 0.4  # the share of small things, their sizes; the largest, in heights


@dataclass(frozen=True)
class Difficulty:
    """How hard clips are: each from 0 (never) to 1. A clip draws its own share of each, often none.

    `scale` is how far the size changes, `rotation` turns in the picture and about the upright axis, `deformation`
    limbs that swing and outlines that bend, `occlusion` what passes before the thing, `speed` how fast and jerkily it
    goes, `blur` streaks and lost focus, `light` changes, shade and shadows, `alike` others of the same kind,
    `out_of_view` that it leaves the frame and comes back, `low_resolution` coarse, noisy and compressed frames,
    `clutter` a scene full of things, or of the thing's own colours, `camera` pans, shakes and rolls.
    """

    scale: float = 0.6
    rotation: float = 0.6
    deformation: float = 0.6
    occlusion: float = 0.6
    speed: float = 0.6
    blur: float = 0.6
    light: float = 0.6
    alike: float = 0.6
    out_of_view: float = 0.4
    low_resolution: float = 0.6
    clutter: float = 0.6
    camera: float = 0.6


@dataclass(frozen=True)
class Clip:
    """The frames of a clip, and in each where the one thing is that is followed."""

    frames: UInt8[NDArray, "n height width 3"]
    boxes: Float[NDArray, "n 4"]  # of the whole thing, also where it is covered or outside the frame
    visible: Float[NDArray, " n"]  # the share of the thing that is in the frame and not covered
    masks: Bool[NDArray, "n height width"]  # where it is seen
    kind: int


@dataclass(frozen=True)
class Cast:
    """Who goes through a clip: the one that is followed, who is behind it, and who passes before it."""

    star: Actor
    behind: list[Actor]
    before: list[Actor]


def draw(
    seed: int,
    n_frames: int = 60,
    width: int = 240,
    height: int = 180,
    difficulty: Difficulty | None = None,
    *,
    pictures: Sequence[Source] = (),
) -> Clip:
    """Draw a clip: the same for the same seed and settings, always. `pictures` are more to cut surfaces from.

    Raises InputError where a setting is not within 0 and 1, the frame is too small or a picture is not one in colour.
    """
    _check(seed, n_frames, width, height, pictures)
    hard = _shares(seed, difficulty or Difficulty())
    frame = (width, height)
    scene = scenes.scene(_chance(seed, "scene"), width, height, hard.clutter, pictures)
    camera = paths.camera(_chance(seed, "camera"), n_frames, frame, moves=hard.camera, zooms=hard.scale)
    rng = _chance(seed, "thing")
    thing = things.make(rng, _size(rng, height), pictures=pictures)
    rng = _chance(seed, "tone")
    if rng.random() < 0.25 * hard.clutter:
        thing = things.faded(thing, scene[::8, ::8].mean((0, 1)), float(rng.uniform(0.25, 0.6)))
    cast = _cast(seed, thing, camera, n_frames, frame, hard)
    taken = lens.lens(
        _chance(seed, "lens"), n_frames, *frame, light=hard.light, blur=hard.blur, low_resolution=hard.low_resolution
    )
    return _filmed(seed, scene, camera, cast, taken, frame, hard, thing.kind)


def _chance(seed: int, what: str) -> np.random.Generator:
    """Chance of its own for each matter: one that is switched off leaves the others as they were."""
    return np.random.default_rng([seed, *what.encode()])


def _shares(seed: int, difficulty: Difficulty) -> Difficulty:
    """How hard this clip is."""
    for field in fields(difficulty):
        given = getattr(difficulty, field.name)
        if not 0 <= given <= 1:
            raise InputError(f"Difficulty.{field.name} is out of range", given=f"{given}", expected="0 (never) to 1")
    rng = _chance(seed, "shares")
    shares = np.where(rng.random(len(fields(difficulty))) < OFTEN, rng.uniform(0.2, 1, len(fields(difficulty))), 0)
    each = zip(fields(difficulty), shares.tolist(), strict=True)
    return Difficulty(**{field.name: getattr(difficulty, field.name) * share for field, share in each})


def _check(seed: int, n_frames: int, width: int, height: int, pictures: Sequence[Source]) -> None:
    if seed < 0:
        raise InputError("no such seed", given=f"{seed}", expected="0 or more")
    if n_frames < 1 or min(width, height) < LEAST_PX:
        given = f"{n_frames} frames of {width} x {height} px"
        raise InputError("no such clip", given=given, expected=f"one frame or more, each side {LEAST_PX} px or more")
    for k, picture in enumerate(pictures):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3 or min(picture.shape[:2]) < LEAST_PX:
            given = f"{picture.dtype} of shape {picture.shape}"
            expected = f"8-bit RGB, height x width x 3, each side {LEAST_PX} px or more"
            raise InputError(f"pictures[{k}] cannot be cut up", given=given, expected=expected)


def _size(rng: np.random.Generator, height: int) -> float:
    """In px: the root of width times height."""
    small, large = SMALL_PX, (SMALL_PX[1], max(LARGE * height, SMALL_PX[1] + 1))
    return float(np.exp(rng.uniform(*np.log(small if rng.random() < SMALL else large))))


def _cast(seed: int, thing: Thing, camera: Camera, n: int, frame: tuple[int, int], hard: Difficulty) -> Cast:
    star = _star(seed, thing, camera, n, frame, hard)
    rng = _chance(seed, "alike")
    twins = [_twin(rng, thing, star, n, hard) for _ in range(_some(rng, 4 * hard.alike))]
    rng = _chance(seed, "others")
    others = [_other(rng, camera, n, frame, hard) for _ in range(_some(rng, 4 * hard.clutter))]
    rng = _chance(seed, "occlusion")
    before = [_occluder(rng, star, thing, n, frame) for _ in range(_some(rng, 3 * hard.occlusion) if n > 1 else 0)]
    if hard.occlusion and rng.random() < 0.6 and twins:
        before, twins = [*before, twins[0]], twins[1:]
    return Cast(star, others + twins, before)


def _some(rng: np.random.Generator, most: float) -> int:
    return int(np.ceil(most * rng.random())) if most else 0


def _star(seed: int, thing: Thing, camera: Camera, n: int, frame: tuple[int, int], hard: Difficulty) -> Actor:
    """The thing that is followed, its way kept in the frame."""
    stretch, angle, turn, phase = paths.pose(
        _chance(seed, "pose"), n, scale=hard.scale, rotation=hard.rotation, deformation=hard.deformation
    )
    rng = _chance(seed, "way")
    size = np.array([thing.width, thing.height])
    stretch *= np.minimum(1, 0.62 * np.array(frame) / (size * stretch)).min(1, keepdims=True)
    half = (
        np.abs(np.cos(angle))[:, None] * size * stretch / 2 + np.abs(np.sin(angle))[:, None] * size[::-1] * stretch / 2
    )
    start = rng.uniform(0.15, 0.85, 2)
    way = paths.walk(rng, n, float(np.sqrt(size.prod())), hard.speed)
    centre = paths.within(way + camera.shake, half, frame, start)
    rng = _chance(seed, "leaving")
    if rng.random() < 2 * hard.out_of_view:
        centre = paths.excursion(rng, centre, half, frame)
    path = Path(centre, stretch, angle, turn, phase)
    rng = _chance(seed, "bending")
    bend = 0.05 * hard.deformation * rng.random() * (rng.random() < 0.6)
    swing = 0.3 + 0.7 * hard.deformation if hard.deformation else 0.0
    return Actor(actors.followed(thing, path, swing), path, bend, hard.blur * rng.uniform(0.3, 1))


def _twin(rng: np.random.Generator, thing: Thing, star: Actor, n: int, hard: Difficulty) -> Actor:
    """Another of the same kind that keeps about the one that is followed: apart at first, then perhaps near it."""
    size = np.array([thing.width, thing.height]) * np.maximum(star.path.stretch[0], star.path.stretch.mean(0))
    side = rng.uniform(0, 2 * np.pi) + 0.6 * (paths.wander(rng, n, 70)[:, 0] * np.linspace(0, 1, n))
    far = np.abs(rng.uniform(1.4, 2.6) + paths.wander(rng, n, 50)[:, 0] * np.linspace(0, 1.5, n))
    about = np.column_stack([np.cos(side), np.sin(side)]) * size * far[:, None]
    held = rng.random()  # how far it goes along with the other
    centre = held * star.path.centre + (1 - held) * star.path.centre[0] + about
    stretch = star.path.stretch.mean() * np.exp(rng.normal(0, 0.15)) * np.ones((n, 2))
    still = np.zeros(n)
    path = Path(centre, stretch, still, still, star.path.phase + rng.uniform(0, 6))
    look = actors.passing(things.alike(rng, thing, float(rng.uniform(0.15, 0.8))), path, hard.deformation)
    return Actor(look, path, shutter=star.shutter)


def _other(rng: np.random.Generator, camera: Camera, n: int, frame: tuple[int, int], hard: Difficulty) -> Actor:
    """Something else that goes through the scene."""
    sprite = scenes.any_stock(rng, frame[1] / 180)
    pace = rng.normal(0, 1, 2) * [1.6, 0.3] * frame[1] / 180
    at = rng.uniform(-0.6, 0.6, 2) * frame + np.arange(n)[:, None] * pace
    centre = np.array(frame) / 2 + camera.zoom[:, None] * (at + camera.shift * rng.uniform(1, 1.3)) + camera.shake
    still = np.zeros(n)
    path = Path(centre, np.repeat(camera.zoom[:, None], 2, 1), still, still, still)
    return Actor(lambda k: sprite, path, shutter=hard.blur)


def _occluder(rng: np.random.Generator, star: Actor, thing: Thing, n: int, frame: tuple[int, int]) -> Actor:
    """Something that passes before the one that is followed: a pole, a wall, a bush, somebody."""
    wide, high = (np.array([thing.width, thing.height]) * star.path.stretch.mean(0)).tolist()
    share, what = float(np.exp(rng.uniform(np.log(0.25), np.log(1.4)))), rng.random()
    width = max(int(share * wide), 3)
    if what < 0.4:
        sprite = scenes.pole(rng, width, 2 * frame[1])
    elif what < 0.7:
        sprite = scenes.bush(rng, max(width, 8), max(int(high * rng.uniform(0.5, 1.5)), 8))
    else:
        sprite = scenes.any_stock(rng)
        factor = max(width, 8) / sprite.shape[1]
        sprite = cv2.resize(sprite, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    meet = max(int(rng.uniform(0.25, 0.85) * n), 1)
    # against the way of the other, so that both are apart at first
    gone = star.path.centre[meet, 0] - star.path.centre[0, 0]
    pace = (sprite.shape[1] + wide) / min(rng.uniform(8, 40), meet) * (-1 if gone > 0 else 1)
    ahead = np.arange(n) - meet
    across = star.path.centre[meet, 0] + pace * ahead
    off = high * rng.uniform(-0.4, 0.4) if what >= 0.4 or rng.random() < 0.7 else sprite.shape[0] / 2
    down = np.full(n, star.path.centre[meet, 1] + off)
    still = np.zeros(n)
    path = Path(np.column_stack([across, down]), np.ones((n, 2)), still, still, still)
    return Actor(lambda k: sprite, path, shutter=star.shutter)


def _filmed(
    seed: int,
    scene: Picture,
    camera: Camera,
    cast: Cast,
    taken: lens.Lens,
    frame: tuple[int, int],
    hard: Difficulty,
    kind: int,
) -> Clip:
    """Every frame: the scene, who is behind, the one that is followed, who is before; light, lens and labels."""
    n, (width, height) = len(camera.zoom), frame
    noise, rng = _chance(seed, "noise"), _chance(seed, "shade")
    shade = lens.lighting(rng, scene.shape[1], scene.shape[0], hard.light)
    shadow = lens.shadow(rng, hard.light)
    frames, boxes = np.empty((n, height, width, 3), np.uint8), np.empty((n, 4))
    masks, visible = np.empty((n, height, width), bool), np.empty(n)
    for k in range(n):
        view = _view(scene, camera, k, frame)
        picture = cv2.warpAffine(scene, view, frame, borderMode=cv2.BORDER_REFLECT_101)
        kernel = lens.streak((camera.shift[k] - camera.shift[k - 1]) * cast.star.shutter) if k else None
        if kernel is not None:
            picture = cv2.filter2D(picture, -1, kernel)
        for actor in cast.behind:
            actors.lay(picture, actors.blurred(actors.patch(actor, k, frame), actor, k))
        sharp = actors.patch(cast.star, k)
        if shadow is not None:
            _darken(picture, sharp, shadow)
        actors.lay(picture, actors.blurred(sharp, cast.star, k))
        before = [actors.patch(actor, k, frame) for actor in cast.before]
        for actor, seen in zip(cast.before, before, strict=True):
            actors.lay(picture, actors.blurred(seen, actor, k))
        alpha = _seen(sharp, before, frame)
        boxes[k], masks[k] = actors.box(sharp), alpha > 0.5
        visible[k] = alpha.sum() / max(float(sharp.sprite[..., 3].sum()), 1e-6)
        if shade is not None:
            over = cv2.warpAffine(shade, view, frame, borderMode=cv2.BORDER_REFLECT_101)
            picture = cv2.multiply(picture, over, scale=1 / 128)
        frames[k] = taken.take(picture, k, noise)
    return Clip(frames, boxes, visible.clip(0, 1), masks, kind)


def _view(scene: Picture, camera: Camera, k: int, frame: tuple[int, int]) -> Float[NDArray, "2 3"]:
    """From px of the scene to px of the kth frame."""
    zoom, roll = camera.zoom[k], camera.roll[k]
    linear = zoom * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    middle = np.array(scene.shape[1::-1]) / 2
    return np.column_stack([linear, np.array(frame) / 2 + camera.shift[k] + camera.shake[k] - linear @ middle])


def _darken(picture: Picture, sharp: Patch, shadow: lens.Shadow) -> None:
    mask, left = shadow(sharp.sprite)
    corner = sharp.corner[0] - (mask.shape[1] - sharp.sprite.shape[1]) // 2, sharp.corner[1]
    place, part = actors.inside(picture, mask, corner)
    if part.size:
        place[:] = cv2.multiply(place, cv2.merge([1 - (1 - left) * part] * 3), dtype=cv2.CV_8U)


def _seen(sharp: Patch, before: list[Patch], frame: tuple[int, int]) -> Float[NDArray, "height width"]:
    """How much of each px of the frame is the thing, uncovered."""
    alpha = np.zeros(frame[::-1], np.float32)
    place, part = actors.inside(alpha, sharp.sprite[..., 3], sharp.corner)
    place[:] = part
    for other in before:
        place, part = actors.inside(alpha, other.sprite[..., 3], other.corner)
        place *= 1 - part
    return alpha
