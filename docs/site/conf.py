"""Settings of Sphinx for the site."""

import inspect
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

from metalearners import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "uplift-flows"
version = release = __version__
extensions = [
    "mathml",
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 6
highlight_language = "none"
smartquotes = False  # texts have code with quotes
autodoc_typehints = "none"
autodoc_member_order = "bysource"
autosummary_generate = False
napoleon_custom_sections = [("Base models", "params_style"), "Returns", "Yields"]  # prose
suppress_warnings = ["ref.python"]  # words of docstrings' types may be names of two things
pygments_dark_style = "github-dark"
html_theme = "furo"
html_title = "uplift-flows"
html_math_renderer = "mathml"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_show_sphinx = False


def setup(app: Sphinx) -> None:
    """Have docstrings, and pages made of them, passed on."""
    app.connect("autodoc-process-docstring", without_types)
    app.connect("doctree-read", without_figures)


def without_types(app: Sphinx, kind: str, name: str, value: Any, _: Any, lines: list[str]) -> None:
    """Empty the docstring of a constant that is its type's."""
    of_type = inspect.getdoc(type(value)) or ""
    if kind in ("data", "attribute") and lines[:1] == of_type.splitlines()[:1]:
        lines.clear()


def without_figures(app: Sphinx, page: nodes.document) -> None:
    """Take links from Figure in the types of plots: it is matplotlib's there, not ours."""
    if app.env.docname.endswith("metalearners.plots"):
        for link in list(page.findall(pending_xref)):
            if link["reftarget"] == "Figure":
                link.replace_self(link.children)
