import os
from pathlib import Path

import pytest

from seamwise.errors import InputError
from seamwise.pictures import read_photo
from seamwise.systems.gate.photos import Box, check_box, find_people, photo_key, read_boxes

FACES = Path(os.environ.get("SEAMWISE_DATA", Path(__file__).parents[2] / "shared/data")) / "faces"
HEADER = "person,image,x,y,w,h\n"


def test_boxes_are_read_with_eyes_and_without(tmp_path):
    table = tmp_path / "boxes.csv"
    eyes = "eye1_x,eye1_y,eye2_x,eye2_y"
    table.write_bytes(
        f"\ufeffperson, image,x,y,w,h,by,{eyes}\r\n01,a.JPG,1,2,3.5,4,,1,2,3,4\r\n\r\n01,b.c,1,2,3,4,,,,,\r\n".encode()
    )
    boxes = read_boxes(table)
    assert boxes == {("01", "a"): Box(1, 2, 3.5, 4), ("01", "b.c"): Box(1, 2, 3, 4)}
    assert boxes[photo_key("01", "a.jpg")].eyes.tolist() == [[1, 2], [3, 4]]
    assert boxes[photo_key("01", "b.c.png")].eyes is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: column person is missing"),
        ("person;image;x;y;w;h\n", "line 1: column person is missing"),
        ("person,image,x,y,w,h,x\n", "line 1: column x is there twice"),
        ("person,image,x,y,w,h,eye1_x\n", "line 1: column eye1_y is missing"),
        (HEADER + "a,b,1,2,3,4\na,c,1,two,3,4\n", "line 3, column y: no number"),
        (HEADER + "a,b,1,nan,3,4\n", "line 2, column y: no number"),
        (HEADER + "a,b,1e999,2,3,4\n", "line 2, column x: no number"),
        (HEADER + "a,b,1,2,,4\n", "line 2, column w: no number"),
        (HEADER + "a,b,1,2,3,0\n", "line 2, column h: no size"),
        (HEADER + "a,b,1,2,3\n", "line 2, column h: cells do not match"),
        (HEADER + "a,b,1,2,3,4,5\n", "line 2, column after h: cells do not match"),
        (HEADER + ",b,1,2,3,4\n", "line 2, column person: empty"),
        (HEADER + "a,b.jpg,1,2,3,4\na,b,1,2,3,4\n", "line 3, column image: twice"),
        (HEADER + 'a,"b,1,2,3,4\n', "no table"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_line_and_column(tmp_path, text, told):
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(InputError, match=told) as caught:
        read_boxes(tmp_path / "boxes.csv")
    assert "boxes.csv" in str(caught.value)


def test_no_table_is_refused(tmp_path):
    (tmp_path / "boxes.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("boxes.csv", "none.csv", "."):
        with pytest.raises(InputError, match="expected"):
            read_boxes(tmp_path / name)


def test_a_box_lies_in_its_photograph():
    check_box(Box(-5, 0, 10, 10), (100, 50, 3), "a")
    check_box(Box(45, 95, 5, 10), (100, 50), "a")
    for box, told in ((Box(-5.1, 0, 10, 10), "mostly outside"), (Box(60, 10, 9, 9), "box lies outside")):
        with pytest.raises(InputError, match=rf"line 3: .*{told}|{told}"):
            check_box(box, (100, 50, 3), "line 3")


def test_people_are_found_in_folders_and_beside_them(tmp_path):
    for name in ("zoe/2.JPG", "zoe/10.png", "zoe/.hidden.jpg", "zoe/notes.txt", "ann/x.jpeg", "bob.webp", "boxes.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "nobody").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "zoe/3.jpg").write_text("zoe/10.png")  # a copy
    found = {person.name: [photo.name for photo in person.photos] for person in find_people(tmp_path)}
    assert found == {"ann": ["x.jpeg"], "bob": ["bob.webp"], "nobody": [], "zoe": ["10.png", "2.JPG"]}
    assert list(found) == sorted(found)


def test_a_photograph_under_two_names_is_refused(tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{name}.jpg").write_text("the same")
        (tmp_path / name / "empty.jpg").touch()
    with pytest.raises(InputError, match=r"ann and bob\n.*ann/ann.jpg and .*bob/bob.jpg"):
        find_people(tmp_path)
    (tmp_path / "bob/bob.jpg").write_text("another.")
    assert [len(person.photos) for person in find_people(tmp_path)] == [2, 2]
    (tmp_path / "bob.png").write_text("b")
    with pytest.raises(InputError, match="two people are called bob"):
        find_people(tmp_path)


def test_no_people_are_refused(tmp_path):
    (tmp_path / "a.txt").touch()
    for folder, told in (
        (tmp_path, "nobody in it"),
        (tmp_path / "no", "no such folder"),
        (tmp_path / "a.txt", "a file"),
    ):
        with pytest.raises(InputError, match=told):
            find_people(folder)


@pytest.mark.data
@pytest.mark.parametrize(("name", "n_people", "n_boxes"), [("caltech1999", 11, 104), ("london", 102, 102)])
def test_real_photographs_and_their_boxes(name, n_people, n_boxes):
    folder = FACES / name
    if not folder.exists():
        pytest.skip(f"no real photographs in {folder}")
    people, boxes = find_people(folder), read_boxes(folder / "boxes.csv")
    assert (len(people), len(boxes)) == (n_people, n_boxes)
    photos = {photo_key(person.name, photo.name): photo for person in people for photo in person.photos}
    assert set(boxes) <= set(photos)
    for key in sorted(boxes)[::40]:
        check_box(boxes[key], read_photo(photos[key]).shape, str(photos[key]))
        assert (boxes[key].eyes is None) == (name == "caltech1999")
