"""JSON as PostgreSQL takes it, which is a little less than what Python's json writes."""

from __future__ import annotations

import json
from typing import Any

_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def encode(value: Any) -> str:
    """The value as JSON text, of ASCII alone.

    Raises TypeError or ValueError for what is not JSON: other types, NaN and infinities, circles, and the two kinds of
    text that jsonb cannot hold. RecursionError for what is nested too deep.
    """
    text = _encoder.encode(value)
    # jsonb has no U+0000 and no half of a surrogate pair. Both are escaped in the text; most texts have no such escape.
    if "\\u0000" in text or "\\ud" in text:
        _check_text(text)
    return text


def decode(text: str) -> Any:
    """The value of JSON text. Raises ValueError or RecursionError for what Python cannot hold."""
    return json.loads(text)


def _check_text(text: str) -> None:
    # Only a parser can tell the escape \\u0000 from the text \\\\u0000.
    waiting = [json.loads(text)]
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise ValueError("a text contains the character U+0000")
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise ValueError("a text contains half of a surrogate pair") from error
        elif isinstance(value, dict):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)


def plain(text: str, most: int) -> str:
    """A text of any kind as one that PostgreSQL can hold, at most so many characters of it."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    return text.replace("\0", "\\0").encode(errors="backslashreplace").decode()
