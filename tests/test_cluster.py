"""Studies on a Ray cluster of two nodes on the loopback device, and what of them needs no cluster."""

import subprocess
import sys
from pathlib import Path

import pytest
from tiny import make_task

from seamwise import study
from seamwise.connection import n_places, places_now
from seamwise.errors import InputError, StorageError, TaskError
from seamwise.storage import Storage, pack, unpack


def test_on_two_nodes():
    """In a process of its own: Ray ends that of a study whose node it takes for dead, as on a very busy machine."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        str(Path(__file__).with_name("nodes.py")),
    ]
    for _ in range(2):
        done = subprocess.run(command, capture_output=True, text=True, timeout=290)
        if done.returncode == 0 or " failed" in done.stdout or " error" in done.stdout:
            break
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_without_ray_or_a_cluster_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(InputError, match=r"RAY_ADDRESS=127.0.0.1:9 cannot be reached(.|\n)*ray start --head"):
        study(make_task(), tmp_path / "run", on="ray")
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(InputError, match="HOST:PORT of the cluster's head"):
        n_places()
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'seamwise\[cluster\]'"):
        study(make_task(), tmp_path / "run", on="ray")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"on": "moon"}, "expected  processes or ray"),
        ({"storage": "there"}, "--on ray"),
        ({"on": "ray", "gpus": 1.5}, "a share of one, .25 say"),
        ({"on": "ray", "gpus": float("nan")}, "a share of one, .25 say"),
        ({"on": "ray", "gpus": 1e-9}, "a share of one, .25 say"),
        ({"on": "ray", "gpus": 0.5}, "give --accelerator cuda"),
    ],
)
def test_what_does_not_fit_is_refused_before_a_cluster_is_asked(tmp_path, monkeypatch, options, told):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(TaskError, match=told):
        study(make_task(), tmp_path / "run", **options)


@pytest.mark.parametrize(("gpus", "n"), [(0.0, 12), (0.25, 8), (0.4, 4), (0.1, 12), (1.0, 2), (2.0, 1), (3.0, 0)])
def test_as_many_workers_as_there_are_cpus_and_shares_of_gpus(gpus, n):
    class TwoGpus:
        @staticmethod
        def cluster_resources():
            return {"CPU": 12.0, "GPU": 2.0}

    assert places_now(TwoGpus, gpus) == n


@pytest.mark.parametrize("url", ["memory://here", "file://{}", "{}"])
def test_a_storage_keeps_files(tmp_path, url):
    storage = Storage(url.format(tmp_path / "a" / "b"))
    assert storage.get("trials/a.json") is None
    assert storage.names("trials") == set()
    assert not storage.has("trials/a.json")
    storage.put("trials/a.json", b"one")
    storage.put("trials/a.json", b"two")
    assert Storage(storage.url).get("trials/a.json") == b"two"
    assert storage.names("trials") == {"a.json"}
    assert storage.has("trials/a.json")
    storage.remove("trials/a.json")
    assert not storage.has("trials/a.json")


def test_a_storage_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"--storage file://.*/file/below: cannot be used"):
        Storage(str(tmp_path / "file" / "below")).put("x", b"")
    with pytest.raises(InputError, match="--storage nowhere://x: cannot be opened"):
        Storage("nowhere://x")


def test_a_packed_training_is_the_same_folder_again(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "training.json").write_text("{}")
    (tmp_path / "one" / "weights.safetensors").write_bytes(b"\x00\x01")
    packed = pack(tmp_path / "one")
    assert unpack(packed, tmp_path / "two")
    assert {p.name: p.read_bytes() for p in (tmp_path / "two").iterdir()} == {
        "training.json": b"{}", "weights.safetensors": b"\x00\x01",
    }  # fmt: skip
    assert not unpack(packed[:-9], tmp_path / "three")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]
