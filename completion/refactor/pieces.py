"""Pieces that arguments are made of: what a wish says and what is selected, cut where a piece can begin and end.

A small model copies; so new names, values and texts are limited to pieces of these. Knows no calls.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Iterable

_WORD = re.compile(r"(?<!\w)[^\W\d]\w*")
_FILE = r"[\w-]+\.(?:pyi?|[cm]?[jt]sx?|go|java|rs|c|h|cpp|cs|rb|php|kt|swift)\b"
_PATH = re.compile(rf"(?<![\w:./-])(?:[\w.-]+(?:/[\w.-]+)+|{_FILE})")
_FILE_PATH = re.compile(rf"(?<![\w:./-])(?:[\w.-]+/)*{_FILE}")
_NUMBER = re.compile(r"(?<![0-9])[0-9]{1,6}(?![0-9])")
_CHUNK = re.compile(r"\w+|\W", re.DOTALL)
_BRACKETED = re.compile(r"[\w.]*(?:\([^()\n]*\)|\[[^\[\]\n]*\]|\{[^{}\n]*\})")
_QUOTED = re.compile(r"\"[^\"\n]*\"|'[^'\n]*'")
_ENDS = ".,;:!?"
_PAIRS = (("`", "`"), ('"', '"'), ("'", "'"), ("“", "”"), ("«", "»"), ("[", "]"), ("<", ">"), ("(", ")"))
_LEAST_SHARED = 3
_MOST_SELECTED = 20_000
_SCRIPT_RESERVED = """break case catch class const continue debugger default delete do else enum export extends false
finally for function if import in instanceof new null return super switch this throw true try typeof var void while"""
_RESERVED = frozenset(keyword.kwlist) | frozenset(_SCRIPT_RESERVED.split())


def words(text: str) -> tuple[str, ...]:
    """The identifiers of a wish; the first also with a small letter, since sentences begin with a capital."""
    found = _WORD.findall(text)
    first = [found[0][0].lower() + found[0][1:]] if found else []
    return tuple(dict.fromkeys([*found, *first]))


def free_words(text: str) -> tuple[str, ...]:
    """The words that can be a new name: no reserved ones, and no parts of a file's path."""
    return tuple(word for word in words(without_paths(text)) if word not in _RESERVED)


def is_reserved(word: str) -> bool:
    """Whether a language that is known has the word for itself."""
    return word in _RESERVED


def without_paths(text: str) -> str:
    """The text with blanks where paths of files stand."""
    return _FILE_PATH.sub(lambda match: " " * len(match[0]), text)


def paths(text: str) -> tuple[str, ...]:
    """What looks like a path in a text."""
    found = (match.strip(".") for match in _PATH.findall(text))
    return tuple(dict.fromkeys(path for path in found if path))


def numbers(text: str) -> tuple[int, ...]:
    """The whole numbers in a text, as of lines; of `3-7` and `L3` too."""
    return tuple(dict.fromkeys(int(number) for number in _NUMBER.findall(text)))


def values(text: str) -> tuple[str, ...]:
    """What may be an expression of few words: each word with and without what people put around it, what is quoted,
    what is in brackets, and what follows `=`."""
    found = [*_QUOTED.findall(text), *_BRACKETED.findall(text)]
    for word in text.split():
        found += _bared(word)
        if "=" in word:
            found += _bared(word.partition("=")[2])
    return tuple(dict.fromkeys(value for value in found if value.strip()))


def chunks(text: str) -> list[str]:
    """The text in words and single signs, as JSON spells them: pieces begin and end between these."""
    return [json.dumps(chunk, ensure_ascii=False)[1:-1] for chunk in _CHUNK.findall(text)]


def shared(selected: str, text: str) -> tuple[str, ...]:
    """The longest runs of words and signs that the selected code and a wish have in common, in the order of the code.

    A selection of one line is one of them, since "this" may mean all of it. Of a long one, the first part is looked at.
    """
    ours, theirs = _CHUNK.findall(selected[:_MOST_SELECTED]), _CHUNK.findall(text)
    found: dict[str, None] = {}
    ends = [0] * (len(theirs) + 1)  # how many chunks before each place of the wish stand before the place of the code
    for chunk in ours:
        now = [0, *(ends[at] + 1 if chunk == one else 0 for at, one in enumerate(theirs))]
        for at, count in enumerate(ends):
            if count and (at == len(theirs) or not now[at + 1]):
                found["".join(theirs[at - count : at]).strip()] = None
        ends = now
    for at, count in enumerate(ends):
        if count:
            found["".join(theirs[at - count : at]).strip()] = None
    whole = selected.strip()
    long = [piece for piece in found if len(piece) >= _LEAST_SHARED and any(map(str.isalnum, piece))]
    pieces = [piece for piece in long if not any(piece in other and piece != other for other in long)]
    return (*pieces, whole) if pieces and "\n" not in whole and whole not in found else tuple(pieces)


def _bared(word: str) -> Iterable[str]:
    """A word as it stands, and without the marks at its end and around it, one after the other."""
    yield word
    while True:
        bare = word.rstrip(_ENDS)
        for before, behind in _PAIRS:
            if len(bare) > 1 and bare.startswith(before) and bare.endswith(behind):
                yield bare
                bare = bare[len(before) : -len(behind)]
        bare = bare.removesuffix(")") if "(" not in bare else bare
        if bare == word or not bare:
            return
        yield bare
        word = bare
