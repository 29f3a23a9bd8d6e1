import base64

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from seamwise.look.page import drawing

EVIL = "<script>alert(1)</script>"


def picture(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def test_a_small_patch_stays_crisp():
    patch = picture(8, 8)
    assert (drawing.tile(patch, 64) == patch.repeat(8, 0).repeat(8, 1)).all()


def test_a_large_patch_is_shrunk_by_area():
    patch = picture(128, 128)
    means = patch.reshape(64, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(drawing.tile(patch, 64) - means).max() <= 0.5


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([48, 64]))
def test_a_tile_is_square_whatever_the_patch(height, width, side_px):
    found = drawing.tile(np.zeros((height, width, 3), np.uint8), side_px)
    assert found.shape == (side_px, side_px, 3)
    inside = (found == 0).all(axis=2)
    assert inside.any(axis=1).sum() == max(1, round(height * side_px / max(height, width)))
    assert inside.any(axis=0).sum() == max(1, round(width * side_px / max(height, width)))
    assert (found[~inside] == drawing.GREY).all()


def test_no_patches_make_no_tiles():
    assert drawing.tiles([], 48).shape == (0, 48, 48, 3)


def test_filters_are_grey_at_zero_and_each_has_its_own_scale():
    weights = np.zeros((4, 3, 5, 5), np.float32)
    weights[1, 0, 2, 2], weights[2, 1, 0, 0], weights[2, 2, 4, 4] = 1e-3, 50, -25
    found = drawing.filters(weights)
    assert (found[0] == 128).all()
    assert found[1, 2, 2].tolist() == [255, 128, 128]
    assert found[2, 0, 0].tolist() == [128, 255, 128]
    assert found[2, 4, 4, 2] == 64
    assert found[3].tolist() == found[0].tolist()


@pytest.mark.parametrize(("n_channels", "n_pictures"), [(1, 6), (3, 6), (2, 12), (5, 30)])
def test_filters_of_other_channels_are_a_grey_picture_each(n_channels, n_pictures):
    found = drawing.filters(np.random.default_rng(0).normal(size=(6, n_channels, 3, 4)))
    assert found.shape == (n_pictures, 3, 4, 3)
    assert (np.ptp(found.astype(int), axis=3) == 0).all() == (n_channels != 3)


def test_feature_maps_run_from_black_to_white_and_dead_units_are_crossed_out():
    maps = np.zeros((3, 4, 4), np.float32)
    maps[0, 1, 2], maps[2, 0, 0] = 7, -3
    found = drawing.feature_maps(maps, np.array([False, True, False]), side_px=32)
    assert found[0, 8:16, 16:24].min() == 255
    assert (found[0] == 255).sum() == 8 * 8 * 3
    assert found[2, :8, :8].max() == 0
    assert found[2, 8:].min() == 255
    crossed = (found == drawing.ABOVE).all(axis=3).any(axis=(1, 2))
    assert crossed.tolist() == [False, True, False]


def test_an_overlay_shows_the_sign_by_colour():
    values = np.zeros((8, 8))
    values[0, 0], values[7, 7], values[3, 3] = 2, -2, np.nan
    found = drawing.overlay(picture(8, 8), values, most=2)
    assert (found[0, 0] == drawing.ABOVE).all()
    assert (found[7, 7] == drawing.BELOW).all()
    assert (np.ptp(found[1:7, 1:7].astype(int), axis=2) == 0).all()
    assert (drawing.overlay(picture(8, 8), np.zeros((8, 8))) == drawing.overlay(picture(8, 8), values * 0)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 20))
def test_a_grid_holds_every_picture_in_its_place(n, columns):
    pictures = np.random.default_rng(n).integers(0, 250, (n, 4, 6, 3)).astype(np.uint8)
    sheet = drawing.grid(pictures, columns, gap_px=1)
    columns = min(columns, n)
    assert sheet.shape == (-(-n // columns) * 5 - 1, columns * 7 - 1, 3)
    for i in range(n):
        top, left = i // columns * 5, i % columns * 7
        assert (sheet[top : top + 4, left : left + 6] == pictures[i]).all()


def test_a_picture_for_a_page_is_the_picture():
    drawn = picture(9, 7)
    kind, text = drawing.data_url(drawn).split(",")
    assert kind == "data:image/png;base64"
    read = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert (read[..., ::-1] == drawn).all()
    assert drawing.data_url(picture(300, 300)).startswith("data:image/jpeg")


def test_words_are_escaped_in_every_part():
    parts = [
        drawing.figure(picture(4, 4), EVIL, EVIL),
        drawing.figures([drawing.figure(picture(4, 4), EVIL, scale=3)]),
        drawing.table([EVIL, EVIL], [[EVIL, EVIL], [EVIL, 3]], EVIL),
        drawing.layer_chart([EVIL, "b"], {EVIL: [0.5, None]}, EVIL),
    ]
    for part in parts:
        assert isinstance(part, Markup)
        assert "<script" not in part
        assert "&lt;script&gt;" in part


def test_a_table_says_numbers_words_sizes_and_nothing():
    found = drawing.table(["a", "b", "c", "d"], [["x", 1234.5, (3, 11), None], ["y", float("nan"), (1, 1), "words"]])
    assert "<td>1,234</td><td>3 × 11</td>" in found
    assert found.count(f">{drawing.NOTHING}<") == 2
    assert '<td class="words">words</td>' in found


@pytest.mark.parametrize(
    ("value", "said"),
    [(0, "0"), (3, "3"), (0.12345, "0.123"), (1e-5, "1.0e-05"), (123456.7, "123,457"), (True, "yes"), (-0.5, "-0.5")],
)
def test_numbers(value, said):
    assert drawing.number(value) == said


def test_a_line_breaks_where_nothing_is_known():
    whole = drawing.layer_chart(["a", "b", "c"], {"edges": [0.1, 0.2, 0.4]}, "shares")
    broken = drawing.layer_chart(["a", "b", "c"], {"edges": [0.1, float("nan"), 0.4]}, "shares")
    assert whole.count("L") - broken.count("L") == 2
    assert whole.count("<title>") - broken.count("<title>") == 1
    assert "edges: 40 %" in whole


@pytest.mark.parametrize("most", [0, 1e-6, 0.04, 1, 345, 7e8])
def test_axes_have_round_steps_and_hold_every_value(most):
    top, step = drawing._ticks([most, 0])
    assert top >= most
    assert 1 <= round(top / step) <= 6
    assert f"{step:.0e}"[0] in "125"


def test_an_empty_chart_is_no_error():
    assert "<svg" in drawing.layer_chart([], {}, "nothing")
