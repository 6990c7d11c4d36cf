"""What is known of a source file: plain data that goes into the index and comes out of it.

Tuples, since thousands are read for one question, and Python makes nothing faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

MAX_DEFINITIONS = 2000
"""Of one file; what has more was made by a tool."""
MAX_NAME = 120
"""Characters of a definition's name."""


class Definition(NamedTuple):
    """A name that a file defines. Lines count from 1, the last included."""

    name: str
    kind: str
    """function, method, class, type, field, constant or module."""
    owner: str
    """The class (or module, namespace) that it is a member of; empty at the top."""
    first_line: int
    last_line: int
    text: str
    """How it is shown to a model: decorators, signature, the documentation's first sentence; short bodies whole."""


class Import(NamedTuple):
    """One name that an import binds. `name` is empty for a whole module, and `*` for all that it has."""

    module: str
    name: str
    alias: str
    """The name that is bound here; empty where nothing is (an include)."""


@dataclass(slots=True)
class Found:
    """A definition in the making. `start` and `end` tell what is in what; rows count from 0.

    `body_row` is where its body begins; a `body_column` of −1 tells that it has none.
    """

    kind: str
    name: str
    start: int
    end: int
    first_row: int
    last_row: int
    body_row: int
    body_column: int
    receiver: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What one text defines and imports."""

    language: str
    definitions: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = ()
