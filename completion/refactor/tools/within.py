"""Which files rope must look into: it would parse every file only to see that most do not have the name.

A name's uses have its text. A parameter's uses in other files are words of calls, `name=`. A constructor, whose name
stands in every other file, is used where its class is named, or on what only rope can tell. Each list may be too long,
never too short.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from completion.refactor.overlay import Overlay
from model.errors import RefusedError

_OF_SUPER = re.compile(r"(?<!\w)super\s*\([^()]*\)\s*\.\s*__init__(?!\w)")
_OF_SOMETHING = re.compile(r"\.\s*__init__(?!\w)")


def bearing(overlay: Overlay, word: str) -> frozenset[str]:
    """The Python files that have a word anywhere."""
    found = re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
    return frozenset(path for path, text in _texts(overlay) if word in text and found.search(text))


def of_local(overlay: Overlay, path: str, name: str) -> frozenset[str]:
    """The files that may use a variable or parameter of a function: its own, and those with `name=`."""
    said = re.compile(rf"(?<![\w.]){re.escape(name)}(?:\s|\\|#[^\n]*)*=(?!=)")
    return frozenset(path for path, text in _texts(overlay) if name in text and said.search(text)) | {path}


def of_constructor(overlay: Overlay, holder: str) -> frozenset[str]:
    """The files that may say `Holder.__init__`, by whatever name."""
    named = bearing(overlay, holder)
    return frozenset(
        path
        for path, text in _texts(overlay)
        if "__init__" in text and (path in named or _OF_SOMETHING.search(_OF_SUPER.sub("", text)))
    )


def _texts(overlay: Overlay) -> Iterator[tuple[str, str]]:
    for path in overlay.paths(language="python"):
        try:
            yield path, overlay.read(path)
        except RefusedError:
            continue  # not text: the mirror does not have it either
