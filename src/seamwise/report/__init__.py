"""Reports: pages from a study's trials."""

from pathlib import Path


def write_report(study, task=None): return Path(study.run)/"report.html"
def notebook_html(study): return ""
