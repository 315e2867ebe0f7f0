"""How a value looks in a notebook, made where the value is: on the worker, without IPython.

What a front end shows is a bundle of representations by MIME type. Objects say theirs by the methods that IPython has
made common (``_repr_html_`` and its kin); figures of matplotlib are drawn here.
"""

from __future__ import annotations

import base64
import pprint
from typing import Any

__all__ = ["Bundle", "bundle_of"]

Bundle = tuple[dict[str, Any], dict[str, Any]]
"""Representations by MIME type, and their metadata."""

_METHODS = {
    "_repr_html_": "text/html",
    "_repr_markdown_": "text/markdown",
    "_repr_svg_": "image/svg+xml",
    "_repr_png_": "image/png",
    "_repr_jpeg_": "image/jpeg",
    "_repr_pdf_": "application/pdf",
    "_repr_latex_": "text/latex",
    "_repr_json_": "application/json",
    "_repr_javascript_": "application/javascript",
}
_PLAIN = (dict, list, tuple, set, frozenset)
_LINE = 79
_LONGEST = 100_000


def bundle_of(value: object) -> Bundle:
    """The representations of a value.

    Args:
        value: anything; its own methods are called, and may raise.
    """
    data: dict[str, Any] = {"text/plain": _text(value)}
    metadata: dict[str, Any] = {}
    if isinstance(value, type):  # its methods are those of its instances
        return data, metadata
    for method, mime in _METHODS.items():
        _add(data, metadata, mime, _call(value, method))
    many = _call(value, "_repr_mimebundle_")
    if many is not None:
        pair = many if isinstance(many, tuple) else (many, {})
        for mime, content in pair[0].items():
            _add(data, metadata, mime, content)
        metadata.update(pair[1])
    if type(value).__module__ == "matplotlib.figure":
        _add(data, metadata, "image/png", _drawn(value))
    return data, metadata


def _call(value: object, method: str) -> Any:
    function = getattr(value, method, None)
    return function() if callable(function) else None


def _add(data: dict[str, Any], metadata: dict[str, Any], mime: str, content: Any) -> None:
    if isinstance(content, tuple) and len(content) == 2:
        content, metadata[mime] = content
    if isinstance(content, bytes):
        content = base64.b64encode(content).decode()
    if content is not None:
        data[mime] = content


def _text(value: object) -> str:
    text = repr(value)
    if len(text) > _LINE and type(value) in _PLAIN:
        text = pprint.pformat(value, width=_LINE, compact=True)
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}... [{len(text):,} characters; the rest is cut]"
    return text


def _drawn(figure: Any) -> bytes:
    from io import BytesIO

    file = BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
