"""What a notebook shows of a study and of advice: no scripts, no style sheet."""

from seamwise.advice.records import Advice
from seamwise.report.curves import curve_records
from seamwise.report.pages import data_address, render
from seamwise.report.tables import error_table
from seamwise.runs import Study


def notebook_html(study: Study) -> str:
    """The table and the curves (`Study._repr_html_`)."""
    from seamwise.report.curves import side_by_side
    from seamwise.report.figures import svg

    records = curve_records(study)
    picture = data_address(svg(side_by_side(study, records))) if records else ""
    return render("notebook.html", study=study, errors=error_table(study, records), picture=picture)


def advice_html(advice: Advice) -> str:
    """The sentences as a list (`Advice._repr_html_`)."""
    return render("advice.html", advice=advice)
