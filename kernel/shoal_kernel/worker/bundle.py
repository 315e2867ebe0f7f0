"""How a value looks in a notebook, made where the value is: on the worker, without IPython.

What a front end shows is a bundle of representations by MIME type. Objects say theirs by the methods that IPython has
made common (``_repr_html_`` and its kin); figures of matplotlib are drawn here.
"""

from __future__ import annotations

import base64
import json
import pprint
import sys
from collections.abc import Callable
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
_PROBE = "_no_value_has_this_method_"
"""Values that have it say yes to every name, and mean nothing by it (mocks, proxies)."""

_PLAIN = (dict, list, tuple, set, frozenset)
_LINE = 79
_LONGEST = 100_000


def bundle_of(value: object) -> Bundle:
    """The representations of a value.

    Args:
        value: anything. Its own methods are called; of one that raises it is said on stderr, and the others count.
    """
    text, error = _tried(lambda: _text(value))
    if error:
        text = f"<{type(value).__name__} that cannot be shown: {error}>"
    data: dict[str, Any] = {"text/plain": text}
    metadata: dict[str, Any] = {}
    if isinstance(value, type) or _method(value, _PROBE) is not None:  # its methods are not about how it looks
        return data, metadata
    for method, mime in _METHODS.items():
        _add(data, metadata, mime, _call(value, method))
    many = _call(value, "_repr_mimebundle_", include=None, exclude=None)
    pair = many if isinstance(many, tuple) else (many, {})
    if isinstance(pair[0], dict):
        for mime, content in pair[0].items():
            _add(data, metadata, mime, content)
        metadata.update(pair[1])
    if type(value).__module__ == "matplotlib.figure":
        _add(data, metadata, "image/png", _told(value, "savefig", lambda: _drawn(value)))
    return data, metadata


def _tried(do: Callable[[], Any]) -> tuple[Any, str]:
    """What the user's own code gives, and what it raised; so that a cell does not fail over how a value looks."""
    try:
        return do(), ""
    except Exception as error:  # noqa: BLE001  the user's own methods may raise anything
        return None, f"{type(error).__name__}: {error}"


def _method(value: object, name: str) -> Any:
    function, _ = _tried(lambda: getattr(value, name, None))
    return function if callable(function) else None


def _call(value: object, name: str, **options: Any) -> Any:
    method = _method(value, name)
    if method is None:
        return None
    return _told(value, name, lambda: method(**options))


def _told(value: object, name: str, do: Callable[[], Any]) -> Any:
    found, error = _tried(do)
    if error and not error.startswith(NotImplementedError.__name__):
        print(f"{type(value).__name__}.{name} failed: {error}", file=sys.stderr)  # noqa: T201
    return found


def _add(data: dict[str, Any], metadata: dict[str, Any], mime: str, content: Any) -> None:
    if isinstance(content, tuple) and len(content) == 2:
        content, metadata[mime] = content
    if isinstance(content, bytes):
        content = base64.b64encode(content).decode()
    if isinstance(content, str) or (content is not None and not _tried(lambda: json.dumps(content))[1]):
        data[mime] = content  # anything else cannot stand in a notebook


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
