"""Warnings and their meanings as a reader of the report sees them."""

from __future__ import annotations

from markupsafe import Markup, escape


def clipped(text: str, most: int = 240) -> str:
    """Return a text that is not longer than a few lines."""
    return text if len(text) <= most else text[:most].rsplit(" ", 1)[0] + " …"


def coded(text: str) -> Markup:
    """Return text as markup, what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(p) if i % 2 else escape(p) for i, p in enumerate(parts)
    )


def plain(name: str) -> str:
    """Return a warning's name in words: "window_short" is "window short"."""
    return name.replace("_", " ").replace("-", " ")
