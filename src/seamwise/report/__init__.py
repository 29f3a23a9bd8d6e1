"""Reports: one page, a notebook's view, and the learning curves as a picture, from a study's trials."""

from seamwise.report.curves import curves_png, curves_svg
from seamwise.report.notebook import advice_html, notebook_html
from seamwise.report.page import page, write_report

__all__ = ["advice_html", "curves_png", "curves_svg", "notebook_html", "page", "write_report"]
