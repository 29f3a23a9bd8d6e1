import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from seamwise.systems.age import make, task
from seamwise.systems.age.nets import N_CARPALS, N_PLATES, Direct, Judge, Locate, TellAge

NETWORKS = {"locate": Locate, "judge": Judge, "age": lambda: TellAge(N_PLATES + N_CARPALS), "direct": Direct}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Few hands, few steps."""
    monkeypatch.setattr(make, "N_HANDS", 20)
    monkeypatch.setattr(make, "CHUNK", 12)
    monkeypatch.setattr(make, "N_STEPS", dict.fromkeys(NETWORKS, 1))
    monkeypatch.setattr(make, "BATCH", 4)


@pytest.fixture
def reads(monkeypatch):
    """Read the shipped weights from another file; afterwards all is as it was."""

    def point(path):
        monkeypatch.setattr(task, "WEIGHTS", path)
        task.shipped.cache_clear()

    yield point
    task.shipped.cache_clear()


def test_the_task_reads_what_was_made(tmp_path, reads):
    told = []
    make.make(tmp_path / "new.safetensors", 0, told.append)
    reads(tmp_path / "new.safetensors")
    for part, network in NETWORKS.items():
        network().load_state_dict(task.shipped(part))
    assert told[:2] == ["12 of 20 hands drawn", "20 of 20 hands drawn"]
    assert told[-1].endswith("MB")
    assert [path.name for path in tmp_path.iterdir()] == ["new.safetensors"]
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        assert file.metadata()["command"] == "python -m seamwise.systems.age.make --out new.safetensors --seed 0"


def test_one_seed_makes_the_same_bytes_and_another_others(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make.make(tmp_path / name / "w.safetensors", seed)
    one, two, other = ((tmp_path / name / "w.safetensors").read_bytes() for name in "abc")
    assert one.replace(b"seed 1", b"") == two.replace(b"seed 1", b"")
    assert one.replace(b"seed 1", b"") != other.replace(b"seed 2", b"")


def test_parts_not_asked_for_are_kept(tmp_path):
    path = tmp_path / "w.safetensors"
    make.make(path)
    before = load_file(str(path))
    make.make(path, 1, parts=["age"])
    after = load_file(str(path))
    assert before.keys() == after.keys()
    changed = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"age"}


def test_drawn_hands_are_measured_nearly_where_they_are():
    torch.manual_seed(0)
    hands = make.drawn(8, 3, lambda _: None)
    assert hands.picture.shape == (8, 1, 256, 256)
    assert hands.joints.shape[:2] == (8, 15)
    lengths = hands.place[:, [6, 7]].diff(dim=1)[:, 0].norm(dim=-1) * 128 * hands.mm_per_px  # of a finger's first bone
    missed = lengths - hands.lengths[:, 4]
    assert 0.1 < missed.abs().max() < 6  # landmarks a millimetre off
    assert not torch.equal(make.drawn(8, 4, lambda _: None).picture, hands.picture)


class Point(nn.Module):
    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(2))


def test_learning_makes_the_loss_small():
    told, seen = [], []

    def loss(net, rows):
        seen.extend(rows.tolist())
        return (net.at - torch.tensor([0.3, -0.2])).square().sum()

    net = Point()
    make.learn(net, 500, 10, loss, told.append)
    torch.testing.assert_close(net.at.detach(), torch.tensor([0.3, -0.2]), atol=0.02, rtol=0)
    assert not net.training
    assert [text.split(",")[0] for text in told] == ["250 of 500 steps", "500 of 500 steps"]
    assert sorted(seen[:8]) == sorted(set(seen[:8]))  # nobody's second turn within a pass
    assert set(seen) == set(range(10))


def test_places_are_asked_for_where_the_varied_picture_has_them():
    """A net whose maps are right has hardly a loss, and one that is wrong has."""
    torch.manual_seed(0)
    hands = make.drawn(6, 0, lambda _: None)
    rows = torch.arange(6)
    views = []
    net = Locate()

    class Told(nn.Module):
        def forward(self, seen):
            view = views[-1]
            place = torch.linalg.solve(view[:, :, :2], (hands.place - view[:, None, :, 2]).mT).mT + self.off
            at = (torch.arange(64) + 0.5) / 32 - 1
            far = (at - place[..., 0, None])[..., None, :] ** 2 + (at - place[..., 1, None])[..., :, None] ** 2
            return -far / (2 * make.BLUR**2)

    net.maps = Told()
    with pytest.MonkeyPatch.context() as patch:
        varied = make.varied_view
        patch.setattr(make, "varied_view", lambda n, like: views.append(varied(n, like)) or views[-1])
        losses = []
        for off in (0.0, 0.1):
            net.maps.off = off
            torch.manual_seed(3)
            losses.append(float(make._places_missed(net, hands, rows)))
    assert losses[0] + 0.5 < losses[1]
