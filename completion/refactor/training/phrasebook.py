"""How people put wishes: templates, references and courtesies as data. Knows no code and no calls.

In a template `<a|b>` is one of several wordings and `{symbol}` a slot. Training and measuring use different books: a
test holds their templates and verbs apart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

_CHOICE = re.compile(r"<([^<>]*)>")
_SLOT = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[a-z]{5,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasebook:
    """One person's way of speaking. Keys of `wishes` are kinds of wishes (`completion.refactor.training.wishes`)."""

    wishes: Mapping[str, tuple[str, ...]]
    verbs: Mapping[str, frozenset[str]]
    """By kind: every template has one of them, or none at all."""
    here: Mapping[str, tuple[str, ...]]
    """What people call the definition around the cursor, by its kind; "" for any."""
    nouns: Mapping[str, tuple[str, ...]]
    """What people put before a name, by the kind of what it names."""
    lines: tuple[str, ...]
    """What people call the selected lines."""
    openings: tuple[str, ...]
    endings: tuple[str, ...]
    joiners: tuple[str, ...]
    """Between two wishes."""
    things: tuple[str, ...]
    """What is to be written, where new code is wished for."""
    quotes: tuple[tuple[str, str], ...] = (("", ""),)
    """What people put around names."""
    typos: float = 0.0
    """The share of wishes with a slip of the finger in one of their words."""

    def say(self, kind: str, rng: random.Random, **slots: str) -> str:
        """A wish of a kind in words, with its slots filled. Names are never misspelt."""
        fitting = [text for text in self.wishes[kind] if slots_of(text) <= slots.keys()]
        text = choose(rng.choice(fitting), rng)
        if rng.random() < self.typos:
            text = _slip(text, rng)
        return _SLOT.sub(lambda match: slots[match[1]], text)

    def dress(self, wish: str, rng: random.Random) -> str:
        """The whole instruction, with or without courtesies, capitals and a full stop."""
        if rng.random() < 0.25:
            wish = choose(rng.choice(self.openings), rng) + wish
        if rng.random() < 0.12:
            wish += choose(rng.choice(self.endings), rng)
        if rng.random() < 0.25 and wish[0].islower() and " " in wish and wish.split(" ", 1)[0].isalpha():
            wish = wish[0].upper() + wish[1:]
        return wish + ("." if rng.random() < 0.15 and wish[-1].isalnum() else "")

    def quote(self, name: str, rng: random.Random) -> str:
        """A name as it may be spelt in a wish."""
        before, behind = rng.choice(self.quotes)
        return f"{before}{name}{behind}"


def choose(template: str, rng: random.Random) -> str:
    """One of the wordings of a template."""
    while match := _CHOICE.search(template):
        template = template[: match.start()] + rng.choice(match[1].split("|")) + template[match.end() :]
    return template


def wordings(template: str) -> Iterator[str]:
    """Every wording of a template without nested choices."""
    parts = _CHOICE.split(template)
    choices = [part.split("|") if number % 2 else [part] for number, part in enumerate(parts)]
    return ("".join(chosen) for chosen in product(*choices))


def slots_of(template: str) -> set[str]:
    """The names of a template's slots."""
    return set(_SLOT.findall(template))


def _slip(text: str, rng: random.Random) -> str:
    """Two letters exchanged, one left out or one doubled, inside a word of five letters and more outside slots."""
    words = [match for match in _WORD.finditer(text) if "{" not in text[: match.start()].rpartition("}")[2]]
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    return rng.choice(
        (
            text[:at] + text[at + 1] + text[at] + text[at + 2 :],
            text[:at] + text[at + 1 :],
            text[:at] + text[at] + text[at:],
        )
    )
