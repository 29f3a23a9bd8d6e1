"""What the age system refuses to look at. Hands are simulated; other pictures are drawn here."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from seamwise.errors import InputError
from seamwise.systems.age import refuse, world
from seamwise.systems.age.data import framed
from seamwise.systems.age.reading import read_radiograph
from seamwise.systems.age.refuse import DARK, NO_HAND, check_hand, look

DATA = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data"))
PX = 512


@pytest.fixture(scope="module")
def hands():
    return world.draw(12, 5, world.Difficulty(pose=0.2), px=PX)


def why(picture):
    with pytest.raises(InputError) as raised:
        check_hand(picture, "a.png")
    assert str(raised.value).startswith("a.png: ")
    assert "remedy" in str(raised.value)
    return str(raised.value)


def noise(rng):
    small = rng.normal(120, 50, (2 ** int(rng.integers(2, 9)),) * 2).clip(0, 255)
    return cv2.resize(small.astype(np.uint8), (PX, PX), interpolation=cv2.INTER_LINEAR)


def gradient(rng):
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:PX, :PX]
    slope = np.cos(angle) * x + np.sin(angle) * y
    return ((slope - slope.min()) / np.ptp(slope) * 255).astype(np.uint8)


def text(rng):
    page = np.zeros((PX, PX), np.uint8)
    for y in range(30, PX, 30):
        word = "".join(map(chr, rng.integers(97, 123, 40)))
        cv2.putText(page, word, (10, y), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 255, 2)
    return page


def shapes(rng):
    page = np.full((PX, PX), 20, np.uint8)
    for _ in range(12):
        one, two = rng.integers(0, PX, (2, 2)).tolist()
        cv2.rectangle(page, one, two, int(rng.integers(60, 255)), -1)
    return page


def long_bones(rng):
    page = np.zeros((PX, PX), np.float32)
    for x in (200, 310):
        cv2.line(page, (x, 60), (x + int(rng.integers(-20, 20)), 450), 0.9, int(rng.integers(25, 45)))
    soft = cv2.GaussianBlur(cv2.dilate(page, np.ones((61, 61))), (0, 0), 12)
    return ((0.35 * soft + 0.6 * page) * 255).clip(0, 255).astype(np.uint8)


def foot(rng):
    """Five metatarsals with short toes, and the heel."""
    page = np.zeros((PX, PX), np.float32)
    for k in range(5):
        x = 256 + 36 * (k - 2)
        cv2.line(page, (256 + 26 * (k - 2), 300), (x, 180 + 10 * k), 0.8, 20 if k == 0 else 12)
        for y in range(3 if k else 2):
            top = 165 + 10 * k - 22 * y + int(rng.integers(-2, 3))
            cv2.line(page, (x, top), (x, top - 12), 0.7, 9)
    cv2.ellipse(page, (256, 350), (70, 45), 0, 0, 360, 0.8, -1)
    cv2.ellipse(page, (256, 430), (45, 60), 0, 0, 360, 0.8, -1)
    soft = cv2.GaussianBlur(cv2.dilate(page, np.ones((41, 41))), (0, 0), 10)
    return ((0.35 * soft + 0.6 * cv2.GaussianBlur(page, (0, 0), 2)) * 255).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("kind", [noise, gradient, text, shapes, long_bones, foot])
def test_what_is_no_hand_is_refused(kind):
    rng = np.random.default_rng(1)
    pictures = torch.from_numpy(np.stack([kind(rng) for _ in range(10)]))[:, None]
    assert float(look(pictures).sure.max()) < NO_HAND
    assert "shows no hand" in why(pictures[0].numpy())


def test_a_black_picture_is_refused():
    assert "shows no hand" in why(np.zeros((1, PX, PX), np.uint8))


def test_hands_are_found(hands):
    middle = PX / 2
    for picture, place in zip(hands.picture, hands.landmarks_px, strict=True):
        hand = check_hand(picture)
        assert hand.n_quarters == 0
        assert np.array_equal(hand.picture, picture)
        assert np.linalg.norm((hand.place + 1) * middle - place, axis=1).mean() < 12


def test_a_small_picture_in_its_frame_is_looked_at_enlarged(hands):
    for picture, place in zip(hands.picture[:4], hands.landmarks_px, strict=False):
        framed_small = np.zeros((1, PX, PX), np.uint8)
        framed_small[0, 140:310, 40:210] = cv2.resize(picture[0], (170, 170), interpolation=cv2.INTER_AREA)
        content = np.argwhere(framed_small[0] > DARK)
        (top, left), (bottom, right) = content.min(0), content.max(0) + 1
        hand = check_hand(framed_small)
        assert hand.zoom == pytest.approx(PX / max(bottom - top, right - left))
        middle = np.array([left + right, top + bottom]) / 2
        where = (place / PX * 170 + (40, 140) - middle) * hand.zoom + PX / 2
        assert np.linalg.norm((hand.place + 1) * PX / 2 - where, axis=1).mean() < 16
        assert any("a small picture" in each for each in hand.warnings)


def test_a_hand_of_few_pixels_is_refused(hands):
    tiny = np.zeros((1, PX, PX), np.uint8)
    tiny[0, 200:310, 200:310] = cv2.resize(hands.picture[0, 0], (110, 110), interpolation=cv2.INTER_AREA)
    assert "too small" in why(tiny)


def test_a_finger_that_leaves_what_was_exposed_before_its_tip_is_cut(hands):
    picture, place = hands.picture[0].copy(), check_hand(hands.picture[0]).place
    assert check_hand(picture).cut == ()
    middle = ((place[[13, 14]] + 1) / 2 * PX).mean(0)
    cv2.circle(picture[0], tuple(middle.round().astype(int).tolist()), 12, 0, -1)
    assert refuse._at_edge(picture, place) == (14,)
    assert refuse._at_edge(np.zeros_like(picture), place) == refuse.TIPS


@pytest.mark.parametrize("n_quarters", [1, 2, 3])
def test_a_turned_hand_is_turned_back(hands, n_quarters):
    for picture in hands.picture[:4]:
        hand = check_hand(np.rot90(picture, n_quarters, (1, 2)).copy())
        assert hand.n_quarters == 4 - n_quarters
        assert np.array_equal(hand.picture, picture)
        assert "not upright" in hand.warnings[0]


def test_a_mirrored_hand_is_as_good(hands):
    for picture in hands.picture[:4]:
        mirrored = check_hand(picture[:, :, ::-1].copy())
        assert mirrored.n_quarters == 0
        assert np.abs(mirrored.place * (-1, 1) - check_hand(picture).place).mean() < 0.02


def two(one, other):
    """Two hands side by side, in a square."""
    both = np.hstack([one[0], other[0][:, ::-1]])
    whole = np.zeros((PX, PX), np.uint8)
    whole[PX // 4 : PX // 4 + PX // 2] = cv2.resize(both, (PX, PX // 2), interpolation=cv2.INTER_AREA)
    return whole[None]


def test_two_hands_are_refused(hands):
    told = [why(two(hands.picture[k], hands.picture[k + 1])) for k in range(0, 12, 2)]
    assert sum("shows two hands" in each for each in told) >= 5


def test_a_hand_without_its_fingers_is_refused(hands):
    for picture, place in zip(hands.picture[:6], hands.landmarks_px, strict=False):
        cut = picture.copy()
        cut[:, : int(place[[6, 11, 16, 21], 1].max())] = 0
        why(cut)


def test_a_hand_whose_fingers_end_at_the_edge_is_mostly_refused_or_told(hands):
    n_told = 0
    for picture, place in zip(hands.picture[:8], hands.landmarks_px, strict=False):
        cut = picture.copy()
        cut[:, : int(place[[8, 13, 18], 1].max())] = 0
        try:
            n_told += bool(check_hand(cut).warnings)
        except InputError:
            n_told += 1
    assert n_told >= 6


def test_a_hand_in_pieces_is_refused(hands):
    blocks = hands.picture[0, 0].reshape(4, 128, 4, 128).swapaxes(1, 2).reshape(16, 128, 128)
    order = np.random.default_rng(2).permutation(16)
    shuffled = blocks[order].reshape(4, 4, 128, 128).swapaxes(1, 2).reshape(PX, PX)
    assert "shows no hand" in why(shuffled[None].copy())


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "hands/rsna").is_dir(), reason=f"no radiographs in {DATA}")
def test_real_radiographs_pass():
    paths = sorted((DATA / "hands/rsna/images").glob("*.jpg"))[::9]
    n_refused = 0
    for path in paths:
        try:
            check_hand(framed(read_radiograph(path))[0]["picture"])
        except InputError:
            n_refused += 1
    assert n_refused <= 0.03 * len(paths)


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "faces/orl").is_dir(), reason=f"no faces in {DATA}")
def test_real_faces_do_not():
    paths = [path for path in sorted((DATA / "faces/orl").rglob("*")) if path.suffix in (".png", ".pgm", ".jpg")][::20]
    for path in paths:
        grey = cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (PX, PX), interpolation=cv2.INTER_LINEAR)
        assert "shows no hand" in why(grey[None])
