"""Settings of the documentation site: `make docs` builds it, with every warning an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extensions"))

import seamwise

project = "seamwise"
author = "The seamwise authors"
copyright = "the seamwise authors, Apache-2.0"
version = release = seamwise.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "docstrings", "links", "signatures"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "extensions"]
nitpicky = True

myst_heading_anchors = 4

autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
add_module_names = False
python_maximum_signature_line_length = 84
python_display_short_literal_types = True

html_theme = "furo"
html_title = f"seamwise {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
