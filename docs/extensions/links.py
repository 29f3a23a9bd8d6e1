"""Links work as they are written, on GitHub and on the site, which shows pages from outside of docs/ too."""

import os
import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
SHOWN = {
    "README.md": "docs/site/overview.md",
    "CONTRIBUTING.md": "docs/site/contributing.md",
    "CHANGELOG.md": "docs/site/changes.md",
    "benchmarks/README.md": "docs/site/benchmarks.md",
}
LINK = re.compile(r"\]\(([^()\s#]+)(#[^()\s]*)?\)")


def on_the_site(text: str, written_in: Path, page: Path) -> str:
    """The text with its links to files of the repository as they have to be on a page of the site.

    written_in: the folder from which the text's links lead. page: the file of the page that shows the text
    """

    def linked(found: re.Match[str]) -> str:
        leads_to = (written_in / found[1]).resolve()
        if not leads_to.exists() or not leads_to.is_relative_to(ROOT):
            return found[0]
        inside = leads_to.relative_to(ROOT).as_posix()
        shown = ROOT / SHOWN.get(inside, inside)
        return f"]({Path(os.path.relpath(shown, page.parent)).as_posix()}{found[2] or ''})"

    return LINK.sub(linked, text)


def _of_a_page(app: Sphinx, docname: str, source: list[str]) -> None:
    page = Path(app.env.doc2path(docname))
    source[0] = on_the_site(source[0], page.parent, page)


def _of_an_include(app: Sphinx, path: Path, parent: str, source: list[str]) -> None:
    included, page = (Path(app.srcdir) / path).resolve(), Path(app.env.doc2path(app.env.docname))
    source[0] = on_the_site(source[0], included.parent, page)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", _of_a_page)
    app.connect("include-read", _of_an_include)
    return {"parallel_read_safe": True}
