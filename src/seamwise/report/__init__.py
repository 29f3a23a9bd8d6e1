"""Reports: one page, a notebook's view, and the learning curves as a picture, from a study's trials."""

from seamwise.report.figures import curves_png, curves_svg
from seamwise.report.page import notebook_html, write_report

__all__ = ["curves_png", "curves_svg", "notebook_html", "write_report"]
