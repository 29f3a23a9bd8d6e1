"""The report: one self-contained page. And what a notebook shows of a study."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

from seamwise.advice import numbers
from seamwise.report import figures, pictures, tables
from seamwise.runs import Study, curves
from seamwise.task import Task
from seamwise.trial import write_whole

SYMBOLS = {
    "circle": "●",
    "square": "■",
    "triangle-up": "▲",
    "diamond": "◆",
    "triangle-down": "▼",
    "cross": "✚",
    "triangle-right": "▶",
    "triangle-left": "◀",
}


def write_report(study: Study, task: Task | None = None) -> Path:
    """Write RUN/report.html, whole or not at all. task: draws the example pictures; None leaves them out.

    The page loads nothing and sends nothing: its policy forbids both to the browser. Raises StorageError.
    """
    path = study.run / "report.html"
    write_whole(path, page(study, task).encode())
    return path


def page(study: Study, task: Task | None = None) -> str:
    """The page as text."""
    records, found, script = curves(study), numbers.verdicts(study), _script()
    specs = figures.charts(study, records)
    return _render(
        "page.html",
        study=study,
        record=study.record,
        verdicts=[verdict_parts(study, v) for v in found],
        best_names={numbers.full_name(study, v.row) for v in found},
        n_missing=len(study.record.trials) - len(study.trials),
        styles=figures.styles(study),
        symbols=SYMBOLS,
        panels=list(specs),
        figure_title="Learning curves" if len({r["n"] for r in records}) > 1 else "Regimes compared",
        charts=_chart_data(study, specs),
        picture=_picture(study, records),
        n_above=sum(r["high"] > figures.highest(study, records) for r in records),
        tables=tables,
        errors=tables.error_table(study, records),
        curves=tables.curves_table(study, records),
        halvings=numbers.halvings(study),
        stages=numbers.stage_errors(study),
        costs=numbers.costs(study),
        examples=pictures.examples(study, task) if task is not None else [],
        notes=numbers.notes(study.trials),
        made=made(study),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def notebook_html(study: Study) -> str:
    """The table and the curves, without scripts, for notebooks (`_repr_html_`)."""
    records = curves(study)
    table = tables.error_table(study, records)
    return _render("notebook.html", study=study, errors=table, picture=_picture(study, records))


def verdict_parts(study: Study, verdict: numbers.Verdict) -> dict[str, Any]:
    """A verdict in words: `lead`, `best`, `rest`, and what to add where it is not clear or worth nothing."""
    several = len(numbers.panels(study.rows)) > 1
    record, error = study.record, verdict.error
    where = f"{verdict.variant}, with" if several else "With"
    ends = f"{tables.number(study, error.low)} to {tables.number(study, error.high)}"
    probability = f"{verdict.probability:.2f}" if verdict.probability <= 0.99 else "over 0.99"
    sure = f", the best of {verdict.n_rows} with probability {probability}" + ("" if verdict.clear else " only")
    return {
        "lead": f"{where} {tables.count(verdict.n, 'label')} of {record.vary}: the lowest error is that of",
        "best": numbers.name_of(verdict.row),
        "rest": f"{tables.number(study, error.mean)}{tables.unit(study)} (90 % interval {ends})"
        + (f"{sure}." if verdict.n_rows > 1 else "."),
        "unclear": not verdict.clear,
        "close": [numbers.name_of(row) for row in verdict.close],
        "worthless": error.high >= record.trivial,
    }


def made(study: Study) -> dict[str, str]:
    """How the numbers were made, as terms and what to say of them."""
    record = study.record
    seeds = sorted({t.seed for t in study.trials})
    held = {f: n for f, n in record.held.items() if f != record.vary}
    parts = {
        "seamwise": record.version,
        "Task": record.task + (f" ({Path(record.source).name})" if record.source.endswith(".py") else ""),
        "Trials": f"{len(study.trials):,} of {len(record.trials):,} planned; {len(study.failed):,} failed, "
        f"{len(study.untrained):,} did not train",
        "Budgets": f"{', '.join(f'{n:,}' for n in record.budgets)} labels of {record.vary}",
        "Other labels": ", ".join(f"{n:,} of {f}" for f, n in held.items()),
        "Seeds": f"{', '.join(map(str, seeds))}; each draws its own subsets and its own start" if seeds else "",
        "Validation labels": "choose stopping point and learning rate; they are not counted in the budgets",
        "Test items": f"every regime saw the same {len(study.bootstrap.groups):,}",
        "Intervals": "90 %, hierarchical bootstrap over seeds and test groups; differences are paired",
        "Prices of a label": ", ".join(f"{f} {p:g}" for f, p in record.prices.items() if f in record.held),
        "Chains": "; ".join(f"{v}: {' → '.join(s.name for s in stages)}" for v, stages in record.variants.items()),
        "Signatures": ", ".join(f"{v} {signature}" for v, signature in record.signatures.items()),
    }
    return {term: text for term, text in parts.items() if text}


def _chart_data(study: Study, specs: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {
        "specs": list(specs.values()),
        "light": figures.config(study),
        "dark": figures.config(study, dark=True),
    }


def _picture(study: Study, records: figures.Curves) -> Markup:
    """The still curves as a `data:` address, seen where scripts are off, and in notebooks; empty without curves."""
    if not records:
        return Markup("")
    encoded = base64.b64encode(figures.svg(figures.still(study, records)).encode()).decode()
    return Markup(f"data:image/svg+xml;base64,{encoded}")


@cache
def _script() -> str:
    """Vega-Lite and what the page does with it, as one script. Raises ValueError where it cannot stand in a page."""
    import vl_convert

    own = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
    script = str(vl_convert.javascript_bundle(own))
    if "</script" in script.lower() or "<!--" in script:
        raise ValueError("the chart library cannot be put into a page as it is")
    return script


def _render(template: str, **parts: Any) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("seamwise", "report")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.get_template(template).render(**parts)
