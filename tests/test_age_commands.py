"""What a person types to have a hand's age told, and what comes back; the model has seen simulated hands alone."""

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from test_age_reading import dicom
from test_cli import Done, refused

from seamwise import Fit, cli, steps
from seamwise.cli import main
from seamwise.errors import InputError
from seamwise.model import ModelRecord, conformal_q90, load_model, train
from seamwise.systems.age import data, drawing, predict, world
from seamwise.systems.age.growth import BONES
from seamwise.systems.age.reading import Radiograph, smaller
from seamwise.systems.age.refuse import check_hand
from seamwise.systems.age.task import with_data

DATA = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data"))
RADIOGRAPH = DATA / "hands/rsna/images/1377.jpg"
N = 110
BRIEF = Fit(batch=8, rates=(1e-3,), min_steps=0, max_steps=4, eval_every=2, warmup=1)


def write_folder(folder, hands, ages=None):
    """The RSNA's layout."""
    folder.mkdir()
    ages = hands.age_months if ages is None else ages
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "boneage_months", "sex"])
        for k, age in enumerate(ages):
            rows.writerow([1000 + k, f"{age:.1f}", "FM"[hands.sex[k]]])
            Image.fromarray(hands.picture[k, 0]).save(folder / f"{1000 + k}.png")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of radiographs, and models of several kinds that were made from it."""
    top = tmp_path_factory.mktemp("age")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEAMWISE_CACHE", str(top / "cache"))
        folder = write_folder(top / "hands", world.draw(N, 3, world.Difficulty(pose=0.2)))
        task = replace(with_data([folder]).with_fit(BRIEF), source=f"age:{folder}")
        kinds = {"ridge": "independent", "network": "independent", "statistics": "independent", "direct": "direct"}
        for variant, regime in kinds.items():
            train(task, regime, variant=variant).save(top / variant)
    return top


@pytest.fixture(scope="module")
def hands():
    return world.draw(8, 4, world.Difficulty(pose=0.2), px=512)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["seamwise", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        return Done(int(end.value.code or 0), *capsys.readouterr())

    return call


def save(path, picture):
    Image.fromarray(picture).save(path)
    return str(path)


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def asked(run, made, *words, model="ridge"):
    return run("predict", "age", "--model", made / model, *words)


def test_help_shows_the_systems_own_options(run):
    for command, option in (("predict", "--mm-per-px"), ("eval", "--data")):
        told = run(command, "age", "--help").stdout
        assert f"Example: seamwise {command} age" in told
        assert option in told


def test_importing_the_commands_needs_no_training_code():
    code = "import sys, seamwise.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_which_command_is_asked(run, made, monkeypatch):
    reached = []
    monkeypatch.setattr(cli, "app", lambda words: (reached.append(words), sys.exit(0)))
    assert run("eval", "age", "--model", "m", "--json").returncode == 0
    assert len(reached) == 1
    assert "--sex" in refused(asked(run, made, "away.png", "--sex", "x"))
    assert "Usage: seamwise eval age" in refused(run("eval", "age"))
    assert len(reached) == 1


def test_a_radiograph_of_known_scale(run, made, hands, tmp_path):
    source = save(tmp_path / "a.png", hands.picture[0, 0])
    scale = str(hands.mm_per_px[0])
    done = asked(run, made, source, "--sex", "F", "--mm-per-px", scale, "--json", "--draw", "seen")
    assert done.returncode == 0, done.stderr
    (told,) = lines(done)
    assert told["scale"] == "known"
    assert told["low_months"] <= told["age_months"] <= told["high_months"]
    right = dict(zip(BONES, hands.lengths_mm[0], strict=True))
    assert told["lengths_mm"].keys() == right.keys()
    assert np.median([abs(told["lengths_mm"][b] / right[b] - 1) for b in BONES]) < 0.1
    assert told["lengths_relative"] is None
    assert [each.keys() for each in told["drove"]] == [{"bone", "months"}] * 5
    size = [abs(each["months"]) for each in told["drove"]]
    assert size == sorted(size, reverse=True)
    drawn = cv2.imread(str(tmp_path / "seen/a.bones.png"))
    assert min(drawn.shape[:2]) >= 600


def test_an_unknown_scale_never_gives_mm(run, made, hands, tmp_path):
    source = save(tmp_path / "a.png", hands.picture[0, 0])
    (told,) = lines(asked(run, made, source, "--sex", "F", "--json"))
    assert (told["scale"], told["lengths_mm"]) == ("unknown", None)
    assert np.mean(list(told["lengths_relative"].values())) == pytest.approx(1, abs=1e-3)
    words = asked(run, made, source, "--sex", "m").stdout
    assert "scale unknown" in words
    assert " mm" not in words
    assert " years " in words or " year " in words
    assert "9 in 10: " in words


@pytest.mark.parametrize("model", ["network", "statistics", "direct"])
def test_every_kind_of_model(run, made, hands, tmp_path, model):
    source = save(tmp_path / "a.png", hands.picture[4, 0])
    (told,) = lines(asked(run, made, source, "--sex", "F", "--json", "--draw", "seen", model=model))
    assert 0 <= told["age_months"] < 300
    assert (tmp_path / "seen/a.bones.png").is_file()
    if model == "direct":
        assert (told["drove"], told["lengths_relative"]) == ([], None)
    else:
        assert len(told["drove"]) == 5


def test_the_hand_may_lie_any_way(run, made, hands, tmp_path):
    picture = hands.picture[2, 0]
    ways = {"is": picture, "left": np.rot90(picture), "down": np.rot90(picture, 2), "deep": picture.astype(np.uint16)}
    ways |= {"mirrored": picture[:, ::-1], "inverted": 255 - picture}
    sources = [save(tmp_path / f"{name}.png", np.ascontiguousarray(way)) for name, way in ways.items()]
    told = dict(zip(ways, lines(asked(run, made, *sources, "--sex", "M", "--json")), strict=True))
    for name in ("left", "down", "deep", "inverted"):
        assert told[name]["age_months"] == pytest.approx(told["is"]["age_months"], abs=1)
    assert told["mirrored"]["age_months"] == pytest.approx(told["is"]["age_months"], abs=12)
    assert any("not upright" in each for each in told["down"]["warnings"])
    assert any("inverted" in each for each in told["inverted"]["warnings"])
    assert not any("not upright" in each for each in told["is"]["warnings"])


def test_dicom_gives_sex_and_scale(run, made, hands, tmp_path):
    pixels = hands.picture[3, 0].astype(np.uint16) * 16
    source = str(dicom(tmp_path / "a.dcm", pixels, PatientSex="F", PixelSpacing=[0.5, 0.5]))
    (told,) = lines(asked(run, made, source, "--json"))
    assert told["scale"] == "known"
    (other,) = lines(asked(run, made, source, "--sex", "M", "--mm-per-px", "0.4", "--json", "--draw", "seen"))
    assert any("the file says F, --sex says M" in each for each in other["warnings"])
    assert any("0.5 mm a pixel" in each for each in other["warnings"])
    assert other["lengths_mm"]["PP3"] == pytest.approx(told["lengths_mm"]["PP3"] * 0.8, rel=0.01)
    done = run("predict", "age", "--model", made / "ridge", tmp_path / "a.dcm")
    assert done.returncode == 0


def test_files_that_cannot_be_read_are_named_and_the_others_go_on(run, made, hands, tmp_path):
    good = save(tmp_path / "good.png", hands.picture[0, 0])
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:5000])
    save(tmp_path / "black.png", np.zeros((300, 300), np.uint8))
    colour = np.zeros((300, 300, 3), np.uint8)
    colour[100:200, :, 0] = 255
    save(tmp_path / "photo.png", colour)
    page = np.zeros((512, 512), np.uint8)
    cv2.putText(page, "no hand", (40, 250), cv2.FONT_HERSHEY_SIMPLEX, 3, 255, 5)
    save(tmp_path / "page.png", page)
    two = np.hstack([hands.picture[0, 0], hands.picture[1, 0][:, ::-1]])
    save(tmp_path / "two.png", two)
    bad = ["cut.png", "black.png", "photo.png", "page.png", "two.png", "away.png"]
    done = asked(run, made, *bad, good, "--sex", "F", "--json")
    told = refused(done)
    assert all(f"error: {name}: " in told for name in bad), told
    assert "two.png: shows two hands" in told
    assert "page.png: shows no hand" in told
    assert [each["file"] for each in lines(done)] == [*bad, good]
    assert all("error" in each for each in lines(done)[:-1])
    assert "age_months" in lines(done)[-1]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "give --sex F or --sex M"),
        (("--sex", "x"), "--sex x"),
        (("--sex", "F", "--mm-per-px", "0"), "--mm-per-px 0"),
        (("--sex", "F", "--mm-per-px", "nan"), "--mm-per-px nan"),
        (("--sex", "F", "--model", "nowhere"), "nowhere: no model folder"),
        (("--sex", "F", "--draw", "file"), "--draw file"),
    ],
)
def test_mistakes_are_named(run, made, hands, tmp_path, words, named):
    (tmp_path / "file").write_text("")
    source = save(tmp_path / "a.png", hands.picture[0, 0])
    assert named in refused(asked(run, made, source, *words))


def test_pictures_replace_nothing_but_pictures(run, made, hands, tmp_path):
    source = save(tmp_path / "a.png", hands.picture[0, 0])
    other = save(tmp_path / "a.bones.png", hands.picture[4, 0])
    kept = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for _ in range(2):
        assert asked(run, made, source, "--sex", "F", "--draw", tmp_path).returncode == 0
    assert {path: path.read_bytes() for path in kept} == kept
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.bones.png", "a-2.bones.png"}
    (tmp_path / "b").mkdir()
    same = save(tmp_path / "b/a.png", hands.picture[2, 0])
    assert asked(run, made, source, same, other, "--sex", "F", "--draw", "seen").returncode == 0
    names = {"a.bones.png", "a-2.bones.png", "a.bones.bones.png"}
    assert {path.name for path in (tmp_path / "seen").iterdir()} == names


def test_a_picture_that_cannot_be_written_stops_no_other(run, made, hands, tmp_path):
    long = save(tmp_path / f"{'a' * 248}.png", hands.picture[0, 0])
    good = save(tmp_path / "good.png", hands.picture[0, 0])
    done = asked(run, made, long, good, "--sex", "F", "--json", "--draw", "seen")
    assert "give another folder to --draw" in refused(done)
    assert ["error" in each for each in lines(done)] == [True, False]
    assert all("age_months" in each for each in lines(done))
    assert (tmp_path / "seen/good.bones.png").is_file()


def test_names_that_cannot_be_shown_stop_no_file(made, hands, tmp_path):
    odd = os.fsdecode(b"\xff\xfe.png")
    Image.fromarray(hands.picture[0, 0]).save(tmp_path / "good.png")
    (tmp_path / odd).write_bytes((tmp_path / "good.png").read_bytes())
    words = ["predict", "age", "--model", made / "ridge", odd, "away" + odd, "good.png", "--sex", "F", "--draw", "seen"]
    code = "import sys; from seamwise.cli import main; sys.exit(main())"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "good.png: " in done.stdout
    assert "\\udcff" in done.stdout
    assert "away\\udcff" in done.stderr


def padded(picture, times):
    height, width = picture.shape
    whole = np.zeros((height * times, width * times), np.uint8)
    top, left = (times - 1) * height // 2, (times - 1) * width // 2
    whole[top : top + height, left : left + width] = picture
    return whole


@pytest.mark.parametrize("times", [2, 3])
def test_a_wide_border_leaves_the_bones_as_long(made, hands, times):
    whole, scale = padded(hands.picture[0, 0], times), float(hands.mm_per_px[0])
    wide = Radiograph(smaller(whole, 512), whole.shape, scale, "F", ())
    model = predict.load(made / "ridge")
    plain, told = (predict.answer(model, one, "F") for one in (seen(hands, 0, mm_per_px=scale), wide))
    assert told.hand.zoom == pytest.approx(times, rel=0.15)
    assert told.lengths["MC3"] == pytest.approx(plain.lengths["MC3"], rel=0.05)


@pytest.mark.data
@pytest.mark.skipif(not RADIOGRAPH.is_file(), reason=f"no {RADIOGRAPH}")
def test_a_radiograph_in_a_wide_border_or_small(run, made, tmp_path):
    plain = cv2.imread(str(RADIOGRAPH), cv2.IMREAD_GRAYSCALE)
    kinds = {"is": plain, "3": padded(plain, 3), "4": padded(plain, 4)}
    for px in (130, 200):
        share = px / max(plain.shape)
        kinds[f"{px}"] = cv2.resize(plain, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    sources = [save(tmp_path / f"{name}.png", picture) for name, picture in kinds.items()]
    first, *others = lines(asked(run, made, *sources, "--sex", "F", "--json"))
    for told in others:
        assert "error" in told or told["age_months"] == pytest.approx(first["age_months"], abs=15)


def seen(hands, k, **changed):
    picture = hands.picture[k, 0]
    return Radiograph(picture, picture.shape, **{"mm_per_px": None, "sex": None, "warnings": ()} | changed)


@pytest.mark.parametrize("factor", [0.2, 5])
def test_a_scale_that_cannot_be_right_counts_as_unknown(made, hands, factor):
    model, scale = predict.load(made / "ridge"), float(hands.mm_per_px[0])
    plain = predict.answer(model, seen(hands, 0), "F")
    told = predict.answer(model, seen(hands, 0), "F", min(1.0, scale * factor))
    if scale * factor < 1:
        assert any("times as long as usual" in each for each in told.warnings)
    if not told.scale_known:
        assert told.age_months == pytest.approx(plain.age_months)
    beyond = predict.answer(model, seen(hands, 0, mm_per_px=factor * 3), "F") if factor > 1 else None
    if beyond is not None:
        assert not beyond.scale_known
        assert any("not that of a radiograph" in each for each in beyond.warnings)
        assert beyond.age_months == pytest.approx(plain.age_months)


def moved(model, months):
    """The same model, its answers so many months higher."""
    ridge = model.net.nets["tell"].fitted[-1]
    ridge.intercept_ = ridge.intercept_ + months
    return model


def test_ages_beyond_a_childs_are_cut_and_told(made, hands):
    plain = predict.answer(predict.load(made / "ridge"), seen(hands, 0), "F")
    for months, cut in ((-1000, 0), (1000, predict.OLDEST_MONTHS)):
        told = predict.answer(moved(predict.load(made / "ridge"), months), seen(hands, 0), "F")
        assert told.age_months == cut
        assert told.low_months >= 0
        assert told.high_months <= predict.OLDEST_MONTHS
        assert any("the model's own answer was" in each for each in told.warnings)
        assert len(told.drove) == 5
        assert max(abs(change) for _, change in told.drove) < 300
    assert not any("own answer" in each for each in plain.warnings)


def test_bones_cut_off_are_not_measured(made, hands):
    model = predict.load(made / "ridge")
    plain, hand = predict.answer(model, seen(hands, 0), "F"), check_hand(hands.picture[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "check_hand", lambda picture, name: replace(hand, cut=(14,)))
        patch.setattr(predict, "N_DROVE", 20)
        told = predict.answer(model, seen(hands, 0), "F")
    assert plain.lengths.keys() - told.lengths.keys() == {"DP3"}
    assert "DP3" not in dict(told.drove)
    assert len(told.drove) == 19
    drawing.draw_answer(told, "a.png", "F")


def test_bones_that_two_finders_place_differently_are_refused(made, hands):
    hand = check_hand(hands.picture[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predict, "check_hand", lambda picture, name: replace(hand, place=hand.place + 0.2))
        with pytest.raises(InputError, match="two finders"):
            predict.answer(predict.load(made / "ridge"), seen(hands, 0), "F")


def test_warnings_of_the_command_are_drawn(run, made, hands, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(drawing, "draw_answer", lambda found, *rest: drawn.append(found) or np.zeros((9, 9, 3), "u1"))
    pixels = hands.picture[3, 0].astype(np.uint16) * 16
    source = str(dicom(tmp_path / "a.dcm", pixels, PatientSex="F", PixelSpacing=[0.5, 0.5]))
    words = (source, "--sex", "M", "--mm-per-px", "0.4", "--json", "--draw", "seen")
    (told,) = lines(asked(run, made, *words))
    assert list(drawn[0].warnings) == told["warnings"]
    assert sum("--sex says M" in each or "--mm-per-px says 0.4" in each for each in drawn[0].warnings) == 2


def test_all_warnings_fit_into_the_picture(made, hands):
    found = predict.answer(predict.load(made / "ridge"), seen(hands, 0), "F", told=("words and words " * 40,) * 5)
    assert drawing.draw_answer(found, "a.png", "F").shape[0] > 1100


def copied(made, folder):
    folder.mkdir()
    for path in (made / "ridge").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_a_model_folder_without_a_file_or_name(run, made, hands, tmp_path):
    source = save(tmp_path / "a.png", hands.picture[0, 0])
    (copied(made, tmp_path / "less") / "tell.skops").unlink()
    assert "no file tell.skops" in refused(run("predict", "age", "--model", tmp_path / "less", source, "--sex", "F"))
    told = refused(run("predict", "age", "--model", "m" * 300, source, "--sex", "F"))
    assert "File name too long" in told
    assert "File name too long" in refused(asked(run, made, "n" * 300, source, "--sex", "F"))


def test_scores(run, made, tmp_path):
    shown = world.draw(12, 9, world.Difficulty(pose=0.2))
    shown.picture[0] = 30
    shown.picture[0, 0, 100:120] = 200
    folder = write_folder(tmp_path / "other", shown)
    done = run("eval", "age", "--model", made / "ridge", "--data", folder, "--json")
    assert done.returncode == 0, done.stderr
    (told,) = lines(done)
    assert (told["n"], told["n_refused"]) == (12, 1)
    assert "1000.png: shows no hand" in done.stderr
    for key in ("mae_months", "rmse_months", "mae_months_with_refused"):
        assert told[f"{key}_low"] <= told[key] <= told[f"{key}_high"]
    assert told["n_F"] + told["n_M"] == 11
    assert sum(told[f"n_{band}"] for band in ("0_5y", "5_10y", "10_15y", "15_20y")) == 11
    assert told["rmse_months"] >= told["mae_months"]
    assert 0 <= told["coverage_90"] <= 1
    assert told["trivial_mae_months"] > 0
    words = run("eval", "age", "--model", made / "ridge", "--data", folder).stdout
    assert "12 radiographs, 1 of them refused" in words
    assert "mean absolute error" in words


def test_scores_on_what_it_was_made_from_are_told(run, made):
    done = run("eval", "age", "--model", made / "ridge", "--data", made / "hands", "--json")
    assert f"warning: {N} of {N} radiographs are among those" in done.stderr
    (told,) = lines(done)
    assert told["mae_months"] < told["trivial_mae_months"]


def test_no_score_where_all_are_refused(run, made, tmp_path):
    shown = world.draw(2, 9)
    shown.picture[:] = 30
    shown.picture[:, 0, 100:120] = 200
    folder = write_folder(tmp_path / "other", shown)
    done = run("eval", "age", "--model", made / "ridge", "--data", folder, "--json")
    assert "none of 2 radiographs was answered" in refused(done)
    assert lines(done)[0]["n_refused"] == 2


def test_many_radiographs_tell_the_time_left(run, made, tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "SHOW_AFTER_S", 0)
    monkeypatch.setattr(steps, "SHOW_EVERY_S", 0)
    folder = write_folder(tmp_path / "other", world.draw(3, 9))
    done = run("eval", "age", "--model", made / "ridge", "--data", folder, "--json")
    assert "1 of 3, " in done.stderr
    assert " s left: radiographs" in done.stderr


def test_scores_need_radiographs_with_ages(run, made, tmp_path):
    assert "away: no such folder" in refused(run("eval", "age", "--model", made / "ridge", "--data", "away"))


def test_a_model_needs_not_its_training_data(made, monkeypatch):
    monkeypatch.setattr(data, "real_supply", lambda folders: pytest.fail("the training data were read"))
    model = predict.load(made / "network")
    assert model.same_chain


def test_models_made_before_have_no_interval(run, made, hands, tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    for path in (made / "ridge").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    record = json.loads((folder / "model.json").read_text())
    del record["validation_q90"], record["guess"]
    (folder / "model.json").write_text(json.dumps(record))
    source = save(tmp_path / "a.png", hands.picture[0, 0])
    (told,) = lines(run("predict", "age", "--model", folder, source, "--sex", "F", "--json"))
    assert (told["low_months"], told["high_months"]) == (None, None)
    assert any(each.startswith("no interval") for each in told["warnings"])
    assert "no interval known" in run("predict", "age", "--model", folder, source, "--sex", "F").stdout


def test_intervals_hold_nine_in_ten():
    assert conformal_q90(np.arange(9.0)) is None
    assert conformal_q90(np.arange(10.0)) == 9
    assert conformal_q90(np.arange(99.0)[::-1]) == 89
    rng = np.random.default_rng(0)
    errors = np.abs(rng.normal(size=(4000, 20)))
    within = np.array([conformal_q90(row[:19]) for row in errors])
    assert 0.89 < np.mean(errors[:, 19] <= within) < 0.96


def test_what_a_model_keeps(made):
    record = ModelRecord.model_validate_json((made / "direct/model.json").read_text())
    assert record.validation_q90 is not None
    assert record.guess is not None
    assert record.validation_q90 >= record.validation_error


def test_pictures_for_reports(made, hands):
    half = hands.picture.shape[-1] / 2
    item = {"picture": hands.picture[0], "mm_per_px": np.array(hands.mm_per_px[0]), "sex": np.array(hands.sex[0])}
    place = (hands.landmarks_px[0] - half) * hands.mm_per_px[0]
    bare = drawing.draw(item, {"age": np.array(100.0)})
    bones = drawing.draw(item | {"age": np.array(90.0)}, {"age": np.array(100.0), "landmarks": place})
    assert bare.shape == bones.shape == (320, 320, 3)
    assert bare.dtype == np.uint8
    assert (bones == drawing.BONE).all(-1).sum() > 200
    assert drawing.tell({"age": np.array(100.123)}) == {"age_months": 100.12}


def test_a_file_for_the_task(made, hands, tmp_path):
    pixels = hands.picture[3, 0].astype(np.uint16) * 16
    item = drawing.read(dicom(tmp_path / "a.dcm", pixels, PatientSex="M", PixelSpacing=[0.5, 0.5]))
    assert item["sex"] == 1
    assert item["mm_per_px"] == pytest.approx(0.5)
    model = load_model(made / "network", predict.stand_in(False, False))
    assert model.predict({name: np.asarray(value)[None] for name, value in item.items()})["age"].shape == (1,)
    with pytest.raises(Exception, match="predict age"):
        drawing.read(tmp_path / save(tmp_path / "a.png", hands.picture[3, 0]))
