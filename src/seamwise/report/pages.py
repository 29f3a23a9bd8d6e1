"""Templates, and pictures as addresses within a page."""

import base64
from typing import Any

from markupsafe import Markup


def render(template: str, **parts: Any) -> str:
    """One of the templates beside this file, with all that is put in escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("seamwise", "report")
    page = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return page.get_template(template).render(**parts)


def data_address(svg: str) -> Markup:
    """An SVG picture as a `data:` address."""
    return Markup(f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}")
