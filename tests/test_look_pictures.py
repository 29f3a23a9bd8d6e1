"""Pictures of a folder: sizes, modes, broken ones; what a network gets and what people are shown."""

import numpy as np
import pytest
import torch
from PIL import Image

from seamwise.errors import InputError
from seamwise.look.pictures import IMAGENET, KEPT_BYTES, Folder, Held, as_rgb, covering, drawn, files_in, toned, untoned

SIDE = 32


def save(path, size=(40, 50), mode="RGB", seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(values).convert(mode).save(path)


def everything(items, size=4):
    return torch.cat([batch[0] for batch in items.batches(size)])


def test_sizes_and_modes_are_mixed(tmp_path):
    save(tmp_path / "a.png", (32, 90))
    save(tmp_path / "b.jpg", (70, 20))
    save(tmp_path / "c.png", mode="L")
    save(tmp_path / "d.png", mode="RGBA")
    save(tmp_path / "e.gif", mode="P")
    save(tmp_path / "f.png", mode="1")
    Image.fromarray(np.arange(1600, dtype=np.uint16).reshape(40, 40)).save(tmp_path / "g.png")
    items = Folder(tmp_path, SIDE)
    assert everything(items).shape == (7, 3, SIDE, SIDE)
    assert items.names == [f"{n}" for n in ("a.png", "b.jpg", "c.png", "d.png", "e.gif", "f.png", "g.png")]
    assert everything(Folder(tmp_path, SIDE, n_colours=1)).shape == (7, 1, SIDE, SIDE)


def test_broken_pictures_are_skipped_and_counted(tmp_path):
    for k in range(3):
        save(tmp_path / f"{k}.png", seed=k)
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    (tmp_path / "4.jpg").write_bytes(b"no picture")
    (tmp_path / "5.jpg").touch()
    items = Folder(tmp_path, SIDE)
    assert len(everything(items)) == 2
    assert items.names == ["0.png", "2.png"]
    assert len(items.skipped) == 3
    assert "1.png" in items.skipped[0]


def test_pictures_come_again_by_their_numbers_among_those_that_could_be_read(tmp_path):
    for k in range(4):
        save(tmp_path / f"{k}.png", seed=k)
    (tmp_path / "0.png").write_bytes(b"broken")
    items = Folder(tmp_path, SIDE, tone=IMAGENET)
    whole = everything(items, size=2)
    (again,) = items.inputs([2, 0])
    assert torch.equal(again, whole[[2, 0]])
    everything(items, size=3)
    assert len(items.names) == 3


def test_a_folder_in_a_folder_is_a_class(tmp_path):
    save(tmp_path / "cat" / "1.png")
    save(tmp_path / "dog" / "1.png")
    save(tmp_path / "dog" / "2.png")
    items = Folder(tmp_path, SIDE)
    everything(items)
    assert items.class_names == ("cat", "dog")
    assert items.classes == [0, 1, 1]


def test_pictures_of_one_folder_have_no_class(tmp_path):
    save(tmp_path / "some" / "1.png")
    items = Folder(tmp_path, SIDE)
    everything(items)
    assert items.class_names == ()
    assert items.classes == []


@pytest.mark.parametrize("what", ["missing", "a file", "nothing in it", "none can be read"])
def test_what_cannot_be_used_is_said(tmp_path, what):
    folder = tmp_path / "pictures"
    if what != "missing":
        folder.mkdir()
    if what == "a file":
        folder = tmp_path / "file.png"
        save(folder)
    if what == "none can be read":
        (folder / "a.png").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match=r"pictures|file\.png"):
        list(Folder(folder, SIDE).batches(2))


def test_the_middle_is_covered():
    picture = np.zeros((20, 40, 3), np.uint8)
    picture[:, 10:30] = 200
    assert (covering(picture, 20) == 200).all()
    assert covering(picture, 33).shape == (33, 33, 3)


def test_what_a_network_gets_is_shown_as_it_was():
    pictures = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    shown = untoned(toned(pictures, IMAGENET), IMAGENET)
    assert (shown == pictures.permute(0, 2, 3, 1).numpy()).all()


def test_other_colours_than_three_are_shown_as_grey():
    shown = as_rgb(torch.tensor([[[[0.0]], [[1.0]]]]), 0, 1)
    assert shown.tolist() == [[[[128, 128, 128]]]]


def test_held_items_are_shown_over_their_range():
    items = Held(["a"], [torch.zeros(1, 1, 2, 2)])
    assert items.shown(torch.tensor([[[[-2.0, 2.0]]]]))[0, 0, :, 0].tolist() == [0, 255]
    assert items.shown(torch.tensor([[[[0.0, 1.0]]]]))[0, 0, :, 0].tolist() == [0, 255]
    assert items.shown(torch.tensor([[[[0.0, 51.0]]]]))[0, 0, :, 0].tolist() == [0, 51]


def test_scenes_bring_their_masks():
    items = drawn(3, SIDE, 1, ((0.5,), (0.5,)))
    assert items.scenes.masks["part"].shape == (3, SIDE, SIDE)
    (batch,) = items.batches(8)
    assert batch[0].shape == (3, 1, SIDE, SIDE)
    assert items.classes == items.scenes.classes.tolist()


def test_files_are_found_in_folders_too(tmp_path):
    for name in ("b.png", "in/a.png", ".hidden"):
        save(tmp_path / "x.png")
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert [p.name for p in files_in([tmp_path / "b.png", tmp_path / "in"])] == ["b.png", "a.png"]
    assert ".hidden" not in [p.name for p in files_in([tmp_path])]


def test_what_is_kept_in_memory_is_bounded(tmp_path):
    save(tmp_path / "a.png")
    assert Folder(tmp_path, 224)._read.cache_info().maxsize * 224 * 224 * 3 <= KEPT_BYTES


def test_pictures_beside_folders_have_no_class(tmp_path):
    for name in ("cat/1.png", "dog/1.png", "0.png"):
        save(tmp_path / name)
    items = Folder(tmp_path, SIDE)
    everything(items)
    assert items.class_names == ()
