"""Files that tasks read and write, named by where they are."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from shoal.errors import ConfigurationError

__all__ = ["File"]


class File:
    """A file that tasks read or write: an argument of an app, or one of its ``outputs``.

    It is a path (:func:`os.fspath` and ``open`` take it) that stays the same wherever it travels: a relative one is taken
    from the directory in which the File is made.

    Args:
        url: a path, or a ``file:`` URL of this host.

    Attributes:
        url: as given.
        filepath: the absolute path.
        filename: the last part of it.

    Raises:
        ConfigurationError: it is no path, or a URL of another scheme.
    """

    __slots__ = ("filepath", "url")

    def __init__(self, url: str | os.PathLike[str]) -> None:
        given: object = url
        if not isinstance(given, str | os.PathLike) or not isinstance(text := os.fspath(given), str) or not text:
            raise ConfigurationError("File(url)", url, "give the path of a file")
        self.url = text
        parts = urlsplit(text) if "://" in text or text.startswith(("file:", "zip:")) else None
        if parts is None:
            path = text
        elif parts.scheme != "file":
            fix = "give a path or a file: URL; other schemes are not supported yet"
            raise ConfigurationError("File(url)", url, fix)
        elif parts.netloc not in ("", "localhost") or not (path := unquote(parts.path)):
            raise ConfigurationError(
                "File(url)", url, "give a path, or a URL of this host with three slashes: file:///a/b"
            )
        self.filepath = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - keeps links as they are

    @property
    def filename(self) -> str:
        """The last part of its path."""
        return Path(self.filepath).name

    def exists(self) -> bool:
        """Whether it is there now."""
        return Path(self.filepath).exists()

    def __fspath__(self) -> str:
        """The path: a File can be given wherever a path can."""
        return self.filepath

    def __str__(self) -> str:
        """The path, as it stands in a command."""
        return self.filepath

    def __repr__(self) -> str:
        """For people."""
        return f"File({self.filepath!r})"

    def __eq__(self, other: object) -> bool:
        """Whether it names the same path."""
        return isinstance(other, File) and other.filepath == self.filepath

    def __hash__(self) -> int:
        """By the path."""
        return hash(self.filepath)

    def __reduce__(self) -> tuple[type[File], tuple[str]]:
        """Travel as the absolute path: the receiver may stand elsewhere."""
        return (File, (self.filepath,))
