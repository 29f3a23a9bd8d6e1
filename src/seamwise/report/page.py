"""The report: one self-contained page, which somebody who never saw the program understands."""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from seamwise.advice.records import Advice
from seamwise.report import figures
from seamwise.report.pages import data_address, render
from seamwise.report.parts import Figure, Panel, Section
from seamwise.report.rediscovered import read_rediscovered
from seamwise.report.sections import Told, sections
from seamwise.runs import Study
from seamwise.trial import write_whole

if TYPE_CHECKING:
    from seamwise.task import Task


def write_report(study: Study, task: "Task | None" = None, advice: Advice | None = None) -> Path:
    """Write RUN/report.html, whole or not at all.

    task: draws the example pictures; None leaves them out. advice: made from the study where none is given.
    The page loads nothing and sends nothing: its policy forbids both to the browser. Raises StorageError.
    """
    path = study.run / "report.html"
    write_whole(path, page(study, task, advice).encode())
    return path


def page(study: Study, task: "Task | None" = None, advice: Advice | None = None) -> str:
    """The page as text."""
    told = Told(
        study, _advised(study) if advice is None else advice, _examples(study, task), read_rediscovered(study, task)
    )
    found, script = sections(told), _script()
    charts = {id_: figures.plain(panel.chart) for id_, panel in _panels(found)}
    return render(
        "page.html",
        study=study,
        record=study.record,
        advice=told.advice,
        sections=found,
        n_missing=len(study.missing),
        styles=told.names,
        charts={
            "specs": {id_: figures.live(chart) for id_, chart in charts.items()},
            "light": figures.config(told.names),
            "dark": figures.config(told.names, dark=True),
        },
        stills={id_: _still(chart, told.names) for id_, chart in charts.items()},
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _advised(study: Study) -> Advice:
    from seamwise.advice import advise

    return advise(study)


def _examples(study: Study, task: "Task | None") -> tuple[Any, ...]:
    if task is None:
        return ()
    from seamwise.report.pictures import examples

    return tuple(examples(study, task))


def _panels(found: Iterable[Section]) -> Iterable[tuple[str, Panel]]:
    """Every chart of a page, by the name of its place."""
    for figure in (part for section in found for part in section.parts if isinstance(part, Figure)):
        yield from ((f"{figure.id}-{i}", panel) for i, panel in enumerate(figure.panels))


def _still(chart: figures.Spec, names: dict[str, figures.Style]) -> Markup:
    """A chart as a picture: what is seen where scripts are off, and in print."""
    return data_address(figures.svg(figures.still(chart, names, figures.STILL_WIDTH_PX)))


@cache
def _script() -> str:
    """Vega-Lite and what the page does with it, as one script. Raises ValueError where it cannot stand in a page."""
    import vl_convert

    own = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    script = str(vl_convert.javascript_bundle(own))
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("the chart library cannot be put into a page as it is")
    return script
