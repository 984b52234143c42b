"""Formulas as MathML, which browsers show without a script or a request."""

import re
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

MARKS = tuple("^ˆˉ¯~˜")


def setup(app: Sphinx) -> None:
    """Make this the way that formulas are written."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))


def inline(writer: HTML5Translator, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(mathml(node, block=False))
    raise nodes.SkipNode


def block(writer: HTML5Translator, node: nodes.math_block) -> None:
    """Write a formula on its own lines."""
    writer.body.append(f'<div class="math">{mathml(node, block=True)}</div>')
    raise nodes.SkipNode


def mathml(node: nodes.Node, *, block: bool) -> str:
    """A formula as MathML; one that docutils doesn't understand is a warning."""
    text = re.sub(r"\\[bB]ig(?![a-z])", "", node.astext())  # unknown there; brackets grow anyway
    try:
        written = tex2mathml(text, as_block=block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s: %s", error, text, location=node)
        return ""
    return with_hats(written.replace("&ApplyFunction;", "\u2061"))


def with_hats(formula: str) -> str:
    """The formula with indices beside letters that have a hat; docutils puts them below."""
    tree = ElementTree.fromstring(
        formula.replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    )
    for letter in tree.iter("munderover"):
        base, index, mark = letter
        if mark.text in MARKS:
            letter.tag = "msub"
            letter[:] = [ElementTree.Element("mover"), index]
            letter[0].extend([base, mark])
    return ElementTree.tostring(tree, encoding="unicode", short_empty_elements=False)
