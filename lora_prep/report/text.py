"""Text that comes from outside, made fit to be shown: file names are hostile input."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["breakable", "plural", "visible", "without_secrets"]

INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # control characters, newlines among them
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # change the direction or end the line
    "\ud800-\udfff]"  # no UTF-8: bytes of a file name that are none, or halves of a character
)
ESCAPED_BYTE = range(0xDC80, 0xDD00)  # PEP 383: how Python keeps a byte that is no UTF-8
JOINTS = re.compile(r"(?<=[_/-])(?=\w)|(?<=\w)(?=\.\w+$)")
"""Where a file name may break: behind the marks inside it and before its suffix."""

QUERY = re.compile(r"(https?://[^\s?#]*)[?#]\S*")
PATH = re.compile(
    r"(?<![\w/:.?*-])/(?:[^\s/]+/)+(?=[^\s/])"
)  # what stands before a file's own name


def visible(text: str) -> str:
    r"""Return `text` with every character that hides or cannot be written as an escape.

    >>> visible("a\nb")
    'a\\nb'
    """
    return INVISIBLE.sub(_escape, text)


def without_secrets(text: str, folder: Path) -> str:
    """Return `text` without what must not be shown around: paths and the signatures of URLs.

    `folder` and every other path shrink to the last name, and a URL loses its query, where a
    presigned one keeps its signature.

    >>> without_secrets("no room in /home/ada/1 for http://s3/k?X-Amz-Signature=5e", Path("ada"))
    'no room in 1 for http://s3/k'
    """
    paths = {folder, folder.absolute(), folder.resolve()}
    for path in sorted(paths, key=lambda path: -len(str(path))):  # the whole path before its end
        if path.name and len(path.parts) > 1:
            text = text.replace(str(path), path.name)
    return PATH.sub("", QUERY.sub(r"\1", text))


def breakable(name: str) -> Markup:
    """Return a file name as HTML that breaks where its parts meet, not before its last letter."""
    from markupsafe import Markup, escape

    return Markup(JOINTS.sub("<wbr>", escape(visible(name))))  # noqa: S704  it is escaped


def plural(count: int, one: str) -> str:
    """Return "1 file" or "2 files"."""
    return f"{count:,} {one}" if count == 1 else f"{count:,} {one}s"


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code in ESCAPED_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape").decode("ascii")
