import json
from dataclasses import asdict, dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from seamwise.errors import InputError
from seamwise.systems.gate import gate as gate_module
from seamwise.systems.gate.drawing import draw
from seamwise.systems.gate.gate import Gate, Tail, far_spread, flaw
from seamwise.systems.gate.photos import find_people

COLOURS = {"anna": (240, 60, 60), "ben": (60, 240, 60), "carl": (60, 60, 240), "stranger": (240, 240, 60)}


@dataclass(frozen=True)
class Face:
    box: tuple[float, float, float]
    crop: np.ndarray
    embedding: np.ndarray
    score: float = 5.0


class ColourSight:
    """Takes a coloured square for a face, and its colour for the person."""

    impostor_scores = np.sort(np.random.default_rng(0).normal(0, 0.25, 20_000)).astype(np.float32)
    n_impostor_people = 200

    def look(self, photo):
        brightest, darkest = photo.max(2).astype(int), photo.min(2).astype(int)
        mask = ((brightest > 16) & (brightest - darkest > 0.4 * brightest)).astype(np.uint8)
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
        found = cv2.connectedComponentsWithStats(mask)[2][1:]
        return tuple(self.face(photo, *row) for row in sorted(found.tolist(), key=lambda row: -row[2]))

    def face(self, photo, x, y, width, height, _):
        cut = photo[y : y + height, x : x + width]
        chroma = cut.reshape(-1, 3).mean(0) - cut.mean()
        embedding = (chroma / np.linalg.norm(chroma)).astype(np.float32)
        crop = cv2.resize(cv2.cvtColor(cut, cv2.COLOR_RGB2GRAY), (64, 64), interpolation=cv2.INTER_AREA)
        return Face((float(x), float(y), float(max(width, height))), crop, embedding)


SIGHT = ColourSight()
TAIL = Tail.of(ColourSight.impostor_scores)


def scene(*faces, size=(240, 320), light=1.0, shadow=1.0, blur=0.0, seed=0):
    """A grey picture with faces: (name, left, top, side)."""
    rng = np.random.default_rng(seed)
    picture = np.repeat(rng.integers(90, 130, (*size, 1)), 3, axis=2).astype(np.uint8)
    for name, x, y, side in faces:
        coarse, fine = (cv2.resize(rng.uniform(0.6, 1, (n, n)), (side, side), interpolation=0) for n in (4, 16))
        tone = coarse * fine
        if blur:
            tone = cv2.GaussianBlur(tone, (0, 0), blur * side / 64)
        tone *= light * np.where(np.arange(side) < side // 2, shadow, 1)
        picture[y : y + side, x : x + side] = tone[..., None] * COLOURS[name]
    return picture


def png(picture):
    return cv2.imencode(".png", picture[..., ::-1])[1].tobytes()


def folder_of(root, **people):
    for name, pictures in people.items():
        (root / name).mkdir(parents=True)
        for k, picture in enumerate(pictures):
            place = root / name / f"{k}.png"
            encoded = picture if isinstance(picture, bytes) else png(picture)
            place.write_bytes(encoded)
    return root


def people_of(root, **people):
    return find_people(folder_of(root / "people", **people))


def alone(name, seed=0, **how):
    return scene((name, 60, 50, 120), seed=seed, **how)


@pytest.fixture
def gate(tmp_path):
    return Gate.enrol(people_of(tmp_path, anna=[alone("anna"), alone("anna", 1)], ben=[alone("ben")]), SIGHT)


UNUSABLE = [
    (scene(), "no face"),
    (scene(("anna", 10, 10, 100), ("ben", 180, 20, 60)), "two faces"),
    (scene(("anna", 10, 10, 40)), "too small"),
    (alone("anna", light=0.15), "too dark"),
    (alone("anna", shadow=0.4), "half in shadow"),
    (alone("anna", blur=4), "too blurred"),
]


@pytest.mark.parametrize(("picture", "reason"), UNUSABLE)
def test_what_may_not_be_enrolled(picture, reason):
    assert flaw(SIGHT.look(picture)).startswith(reason)


def test_what_may_be_enrolled():
    assert flaw(SIGHT.look(alone("anna"))) is None
    assert flaw(SIGHT.look(scene(("anna", 10, 10, 100), ("ben", 180, 20, 45)))) is None  # somebody far behind


def test_unusable_photographs_are_told_and_the_others_enrolled(tmp_path):
    pictures = [picture for picture, _ in UNUSABLE]
    people = people_of(tmp_path, anna=[alone("anna"), *pictures], ben=[b"", b"no picture"], carl=[alone("carl")])
    steps = []
    gate = Gate.enrol(people, SIGHT, progress=lambda done, of: steps.append((done, of)))
    assert [(one.name, one.n_photos) for one in gate.enrolled] == [("anna", 1), ("carl", 1)]
    told = [photo.reason for photo in gate.enrolled[0].refused]
    assert all(said.startswith(reason) for said, (_, reason) in zip(told, UNUSABLE, strict=True))
    assert steps == [(k, 10) for k in range(1, 11)]
    (ben,) = gate.refused
    assert [photo.reason for photo in ben.photos] == [
        "cannot be read: empty",
        "cannot be read: no picture that can be read",
    ]
    assert "ben: not enrolled" in str(ben.error)
    assert "ben/1.png: cannot be read" in str(ben.error)


def test_nobody_can_be_enrolled(tmp_path):
    with pytest.raises(InputError, match=r"(?s)nobody.*anna.*no face.*ben.*too small"):
        Gate.enrol(people_of(tmp_path, anna=[scene()], ben=[scene(("ben", 10, 10, 40))]), SIGHT)


def test_one_photograph_under_two_names(tmp_path):
    with pytest.raises(InputError, match="one photograph of two people, anna and ben"):
        people_of(tmp_path, anna=[alone("anna")], ben=[alone("anna")])


def test_one_person_under_two_names(tmp_path):
    gate = Gate.enrol(people_of(tmp_path, anna=[alone("anna")], anne=[alone("anna", 1)], ben=[alone("ben")]), SIGHT)
    ((one, two, score),) = gate.alike
    assert (one, two) == ("anna", "anne")
    assert score > gate.threshold


def test_a_template_is_the_mean_of_unit_length(gate):
    seen = [SIGHT.look(alone("anna", k))[0].embedding for k in (0, 1)]
    mean = np.mean(seen, axis=0)
    assert gate.enrolled[0].template == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_decisions(gate):
    opened = gate.decide(alone("ben", 7))
    assert (opened.open, opened.who, opened.reason) == (True, "ben", "")
    assert opened.score > opened.threshold == gate.threshold
    assert opened.far_low < opened.far == 0.01 < opened.far_high
    stranger = gate.decide(alone("stranger"))
    assert (stranger.open, stranger.who, stranger.reason) == (False, None, "stranger")
    assert stranger.score <= stranger.threshold
    empty = gate.decide(scene())
    assert (empty.open, empty.reason, empty.score, empty.box) == (False, "no face", None, None)
    assert json.dumps(asdict(opened))


@pytest.mark.parametrize("grey", [0, 10, 128, 255])
def test_a_covered_camera_cannot_see(gate, grey):
    assert gate.decide(np.full((240, 320, 3), grey, dtype=np.uint8)).reason == "cannot see"


def test_the_largest_of_five_faces_decides(gate):
    names = ["stranger", "anna", "carl", "ben", "anna"]
    faces = [(name, 5 + 60 * k, 30 + 30 * (k % 2), 50 - 5 * k) for k, name in enumerate(names)]
    told = gate.decide(scene(*faces))
    assert (told.open, told.reason, len(told.faces)) == (False, "stranger", 5)
    assert [face.who for face in told.faces] == [None, "anna", None, "ben", "anna"]
    assert gate.decide(scene(*faces, ("ben", 150, 120, 100))).who == "ben"


def test_what_is_not_a_number_stays_out(gate, monkeypatch):
    face = Face((0.0, 0.0, 60.0), np.zeros((64, 64), np.uint8), np.full(3, np.nan, dtype=np.float32))
    monkeypatch.setattr(ColourSight, "look", lambda self, photo: (face,))
    told = gate.decide(scene())
    assert (told.open, told.who, told.reason, told.score) == (False, None, "cannot see", None)


def test_it_opens_after_three_frames_of_one_person(gate):
    names = ["anna", "anna", "ben", "anna", "anna", "anna", "anna", None, "anna"]
    frames = [alone(name) if name else scene() for name in names]
    told = list(gate.watch(frames, 3))
    assert [decision.open for decision in told] == [False] * 5 + [True, True] + [False] * 2
    assert told[1].reason == "not yet: seen in 2 of 3 frames"
    assert told[1].who == "anna"
    assert told[2].reason == told[8].reason == "not yet: seen in 1 of 3 frames"
    assert told[7].reason == "no face"


@pytest.mark.parametrize("far", [0.0, 2.0, -1.0, float("nan")])
def test_no_rate(tmp_path, far):
    with pytest.raises(InputError, match="no false-accept rate"):
        Gate.enrol(people_of(tmp_path, anna=[alone("anna")]), SIGHT, far)


DISTRIBUTIONS = {
    "normal": stats.norm(0, 0.2),
    "cosines of random directions": stats.beta(16, 16, loc=-1, scale=2),
    "heavy": stats.t(6, 0, 0.05),
    "skewed": stats.gumbel_r(0, 0.1),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_the_tail_is_that_of_known_distributions(name):
    true, shares = DISTRIBUTIONS[name], np.array([0.2, 0.05, 0.01, 1e-3, 1e-4])
    tails = [Tail.of(true.rvs(10_000, random_state=seed)) for seed in range(5)]
    reached = np.array([[true.sf(tail.similarity(share)) for share in shares] for tail in tails])
    assert np.abs(np.log2(np.median(reached, axis=0) / shares)).max() < 1
    assert np.median(reached, axis=0)[:4] == pytest.approx(shares[:4], rel=0.35)
    assert [tails[0].share_above(tails[0].similarity(share)) for share in shares] == pytest.approx(shares, rel=0.01)


def apart(n):
    """Templates that are not alike."""
    return -np.eye(n)


def far_above(far, n):
    """The threshold, less what it is raised by."""
    return TAIL.threshold(far, apart(n)) - TAIL.more_alike(apart(n))


@settings(max_examples=25, deadline=None)
@given(st.floats(1e-5, 0.9), st.floats(1e-5, 0.9), st.integers(1, 500), st.integers(1, 500))
def test_stricter_rates_and_more_people_mean_higher_thresholds(one, two, few, many):
    (low, high), (few, many) = sorted((one, two)), sorted((few, many))
    assert far_above(low, few) >= far_above(high, few)
    assert far_above(low, many) >= far_above(low, few)


def test_too_few_scores():
    with pytest.raises(InputError, match="no threshold"):
        Tail.of(np.linspace(0, 1, 20))
    with pytest.raises(InputError, match="no threshold"):
        Tail.of(np.zeros(500))
    with pytest.raises(InputError, match="no threshold"):
        Tail.of(np.zeros(0))


def unit(rng, n, d=24):
    rows = rng.normal(size=(n, d)) * np.linspace(1.5, 0.5, d)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_stated_rate_is_kept_and_its_interval_holds_the_true_one():
    """The people whom the threshold comes from are others than those enrolled and those who come."""
    rng, inside, reached = np.random.default_rng(0), [], []
    for _ in range(20):
        known = unit(rng, 120)
        tail = Tail.of((known @ known.T)[np.triu_indices(120, 1)])
        galleries = [unit(rng, 8) for _ in range(10)]
        best = np.array([(unit(rng, 500) @ known.T).max(1) for known in galleries])
        thresholds = np.array([[tail.threshold(0.05, known)] for known in galleries])
        raised = np.array([[tail.more_alike(known)] for known in galleries])  # in case this gate were another
        true = (best > thresholds - raised).mean()
        told = far_spread(0.05, 120)
        inside.append(told.low <= true <= told.high)
        reached.append([true, (best > thresholds).mean()])
    assert np.mean(reached, axis=0)[0] == pytest.approx(0.05, rel=0.3)
    assert 0.01 < np.mean(reached, axis=0)[1] < 0.05
    assert np.mean(inside) >= 0.9


def test_where_everybody_is_more_alike_the_threshold_is_higher():
    """One camera and one light give all who come there something in common."""
    rng = np.random.default_rng(1)
    elsewhere = unit(rng, 200)
    tail, reached = Tail.of((elsewhere @ elsewhere.T)[np.triu_indices(200, 1)]), []
    here = [
        rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (unit(rng, 2020) + 0.15).reshape(10, 202, 24)
    ]
    for people in here:
        known, strangers = people[:15], people[15:]
        assert tail.more_alike(known) > 0.2
        reached.append(((strangers @ known.T).max(1) > tail.threshold(0.05, known)).mean())
    assert np.mean(reached) < 0.1
    assert tail.more_alike(unit(rng, 40)) < 0.05


def test_what_is_not_known_of_a_gate_is_taken_to_be_much():
    unknown = gate_module.UNKNOWN * TAIL.scores.std()
    assert TAIL.more_alike(apart(1)) == TAIL.more_alike(apart(2)) == pytest.approx(unknown)
    assert TAIL.more_alike(apart(4)) == pytest.approx(unknown / 4, abs=0.01)
    assert TAIL.more_alike(np.ones((4, 1))) == pytest.approx(1 - 1 / 4 * (1 - unknown), abs=0.01)


def test_a_rate_rarer_than_there_are_people_is_uncertain():
    rare, usual = far_spread(0.001, 200), far_spread(0.1, 2000)
    assert rare.low < 1e-5
    assert rare.high > 0.01
    assert usual.high - usual.low < 0.03


def test_drawn_decisions(gate):
    photo = scene(("anna", 5, 100, 120), ("stranger", 200, 10, 50))
    before = photo.copy()
    drawn = draw(photo, gate.decide(photo))
    assert drawn.shape == photo.shape
    assert (photo == before).all()
    assert (drawn[220, 60] == (40, 160, 60)).all()  # the lower edge of the box
    closed = gate.decide(scene())
    assert (draw(photo, closed)[0, 0] == (210, 50, 40)).all()
    assert draw(np.zeros((16, 16, 3), np.uint8), closed).shape == (16, 16, 3)


def test_a_gate_with_a_thousand_people_is_stricter():
    share = TAIL.share_above(far_above(0.01, 1000))
    assert share == pytest.approx(1e-5, rel=0.1)


def test_blur_is_measured_in_pixels_of_the_aligned_face():
    sharp = [flaw(SIGHT.look(alone("anna", blur=blur))) is None for blur in (0.5, 1, 4, 8)]
    assert sharp == [True, True, False, False]
    assert gate_module.MIN_SHARP < 0.08


def test_what_is_hardly_a_face_is_not_enrolled():
    (seen,) = SIGHT.look(scene(("anna", 80, 60, 100)))
    assert flaw([seen]) is None
    assert "sure" in str(flaw([Face(seen.box, seen.crop, seen.embedding, score=0.5)]))
