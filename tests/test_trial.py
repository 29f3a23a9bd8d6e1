import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import floats, integers, text

from seamwise.errors import RunError, StorageError
from seamwise.trial import REGIMES, SeamRecord, StageScore, Trial, TrialLog, did_not_train, write_whole

finite = floats(allow_nan=False, allow_infinity=False)
scores = st.builds(
    StageScore,
    field=text(),
    stage=text(),
    error=finite,
    error_on_gold_input=st.none() | finite,
    trivial=finite,
    unit=text(),
)
seams = st.builds(
    SeamRecord,
    field=text(),
    writer=text(),
    reader=text(),
    passes=st.booleans(),
    gradient=finite,
    stopped_by=text(),
    hard=st.booleans(),
)
trials = st.builds(
    Trial,
    id=text(min_size=1),
    task=text(),
    variant=text(),
    regime=st.sampled_from(REGIMES),
    budget=st.dictionaries(text(), integers(0, 10**9)),
    seed=integers(0, 99),
    status=st.sampled_from(["done", "failed"]),
    message=text(),
    error=st.none() | finite,
    trivial=st.none() | finite,
    train_error=st.none() | finite,
    stages=st.tuples() | st.tuples(scores),
    seams=st.tuples() | st.tuples(seams, seams),
    untrained=text(),
    notes=st.tuples() | st.tuples(text()),
    seconds=finite,
    n_steps=integers(0, 10**9),
    trainings=st.tuples() | st.tuples(text()),
)


@given(st.lists(trials, max_size=5))
@settings(deadline=None, max_examples=60)
def test_trials_come_back_as_they_were(tmp_path_factory, written):
    log = TrialLog(tmp_path_factory.mktemp("log") / "trials.jsonl")
    for trial in written:
        log.append([trial])
    latest = {t.id: t for t in written}
    assert log.read() == [latest[i] for i in latest]


def trial(id_="a", regime="tuned", **changes):
    settings = {"task": "t", "variant": "v", "budget": {"y": 9}, "seed": 0, "status": "done", "trivial": 0.8}
    return Trial(id=id_, regime=regime, **(settings | changes))


def test_a_line_cut_short_is_left_out_and_mended_and_the_last_line_of_an_id_counts(tmp_path):
    log = TrialLog(tmp_path / "trials.jsonl")
    log.append([trial("a"), trial("b")])
    whole = log.path.read_bytes()
    for cut in (1, 40, len(trial("c").model_dump_json())):
        log.path.write_bytes(whole + trial("c").model_dump_json().encode()[:cut])
        assert [t.id for t in log.read()] == ["a", "b"]
    log.mend()
    assert log.path.read_bytes() == whole
    log.append([trial("c"), trial("a", error=0.1)])
    assert {t.id: t.error for t in log} == {"a": 0.1, "b": None, "c": None}


def test_a_whole_line_that_is_no_trial_is_named(tmp_path):
    log = TrialLog(tmp_path / "trials.jsonl")
    log.append([trial()])
    log.path.write_bytes(log.path.read_bytes() + b'{"id": 3}\n')
    with pytest.raises(RunError, match=r"line 2 is no trial\n.*\"id\": 3"):
        log.read()


def test_an_append_that_fails_leaves_the_lines_before(tmp_path, monkeypatch):
    log = TrialLog(tmp_path / "trials.jsonl")
    log.append([trial("a")])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        log.append([trial("b")])
    assert log.path.read_bytes() == trial("a").model_dump_json().encode() + b"\n"


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_whole(tmp_path / "deep" / "a", b"one")

    def full(path, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(StorageError):
        write_whole(tmp_path / "deep" / "a", b"two")
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a"]
    assert (tmp_path / "deep" / "a").read_bytes() == b"one"


def test_no_better_than_trivial_on_its_own_items_did_not_train():
    assert did_not_train([trial("a", "independent", untrained="look: no better"), trial("b")]) == {
        "a": "look: no better"
    }


def test_clearly_above_what_another_regime_reached_did_not_train():
    told = did_not_train(
        [
            trial("tuned", "tuned", train_error=0.04),
            trial("close", "joint", train_error=0.20),  # .25 of trivial: not clearly above .05
            trial("far", "endtoend", train_error=0.30),
            trial("other seed", "endtoend", train_error=0.30, seed=1),
            trial("other budget", "endtoend", train_error=0.30, budget={"y": 5}),
            trial("other network", "endtoend", train_error=0.30, variant="w"),
            trial("stagewise", "independent", train_error=0.5),
            trial("direct", "direct", train_error=0.5),
        ]
    )
    assert list(told) == ["far"]
    assert "tuned reached 0.05" in told["far"]


def test_trials_without_a_training_error_say_nothing_of_others():
    unknown, failed = trial("a", train_error=None), trial("c", "joint", status="failed")
    assert did_not_train([unknown, failed, trial("b", "endtoend", train_error=0.5)]) == {}
