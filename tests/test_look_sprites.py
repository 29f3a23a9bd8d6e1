import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seamwise.look.page.drawing import GREY
from seamwise.look.page.sprites import sprite, tiles_of


def smooth(n, side=64, seed=0):
    """Tiles without fine grain, which JPEG keeps well; neighbours differ much."""
    coarse = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3)).astype(np.uint8)
    return np.array([cv2.resize(tile, (side, side)) for tile in coarse], np.uint8).reshape(n, side, side, 3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=4), st.sampled_from([16, 48, 64]), st.integers(0, 99))
def test_a_sprite_holds_every_tile_of_every_row(counts, side, seed):
    rows = [smooth(n, side, seed + i) for i, n in enumerate(counts)]
    found = tiles_of(sprite(rows, quality=90), counts)
    for row, read in zip(rows, found, strict=True):
        assert read.shape == row.shape
        assert not len(row) or np.abs(read.astype(int) - row).mean() < 12


def test_a_tile_does_not_run_into_its_neighbour():
    row = np.zeros((9, 64, 64, 3), np.uint8)
    row[::2] = (255, 0, 0)
    (found,) = tiles_of(sprite([row]), [9])
    assert np.abs(found.astype(int) - row)[:, 1:-1, 1:-1].max() < 8  # the outermost pixel takes some colour


def test_places_without_a_tile_are_grey():
    (found,) = tiles_of(sprite([smooth(2)]), [9])
    assert np.abs(found[2:, 1:-1, 1:-1].astype(int) - GREY).max() <= 2


def test_the_first_row_stands_first():
    sheet = cv2.imdecode(np.frombuffer(sprite([smooth(9), smooth(9, seed=1)]), np.uint8), cv2.IMREAD_COLOR)
    assert sheet.shape == (192, 384, 3)


@pytest.mark.parametrize(
    "rows",
    [[], [np.zeros((10, 64, 64, 3), np.uint8)], [np.zeros((9, 50, 50, 3), np.uint8)], [smooth(1, 48), smooth(1, 64)]],
    ids=["none", "ten tiles", "an odd side", "two sides"],
)
def test_what_is_no_sprite_is_refused(rows):
    with pytest.raises(ValueError, match="at most 9 tiles"):
        sprite(rows)


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="no picture"):
        tiles_of(b"words", [9])
