import io
import time

from rich.console import Console

from seamwise import steps
from seamwise.steps import Steps, clock


def test_seconds_as_people_say_them():
    assert [clock(s) for s in (0.4, 45, 200, 3900)] == ["0 s", "45 s", "3 min 20 s", "1 h 5 min"]


def test_the_time_left_or_the_rate_where_nobody_knows_how_many_come(monkeypatch, capsys):
    monkeypatch.setattr(steps, "SHOW_AFTER_S", 0)
    monkeypatch.setattr(steps, "SHOW_EVERY_S", 0)
    with Steps("frames") as shown:
        time.sleep(0.1)
        shown.at(1000, 2000)
        shown.at(2000, 2000)
        shown.at(2000, None)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "1,000 of 2,000, 0 s left: frames"
    assert second.startswith("2,000, ")
    assert second.endswith(" a second: frames")


def test_what_is_soon_done_is_not_told(capsys):
    with Steps("frames") as shown:
        shown.at(1, None)
        shown.at(1, 2)
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr(steps, "SHOW_AFTER_S", 0)
    for of, told in ((2000, "1000/2000"), (None, "1,000")):
        seen = io.StringIO()
        with Steps("frames") as shown:
            shown._console = Console(file=seen, force_terminal=True, width=100)
            time.sleep(0.01)
            shown.at(1000, of)
        assert told in seen.getvalue()
        assert ("a second" in seen.getvalue()) == (of is None)
