"""Last touches on a suggestion: never offer what is already there, leave blanks at the end, or break a sound file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from completion.brackets import CLOSERS, OPENERS, QUOTES, unclosed, unopened
from completion.language import Language
from completion.pairs import before_doubled
from completion.stopping import Site, indent_of, opens_block
from model import fim

if TYPE_CHECKING:
    from completion.syntax import Syntax

_NOT_MARKS = frozenset(" \t_([{")
_WRITTEN = ("<filename>",)
"""A control token of one family, which people write as a placeholder."""
_LEAKED = {token.lstrip("▁") for row in fim.FORMATS.values() for token in row.control_tokens} - {*_WRITTEN}
_CONTROL = re.compile(
    "|".join(
        (
            r"<\|[a-z_▁]+\|>",
            r"<｜[^｜\s]+｜>",
            *sorted(map(re.escape, _LEAKED)),
        )
    )
)
"""Control tokens as servers spell them that leak what should have ended a text."""
_PLACEHOLDER = re.compile(
    r"\W*(?:todo|fixme)\b\W*(?:implement\b.*|add\b.*|write\b.*)?|\W*(?:your|add|insert|write|put)\b.{0,24}\bcode\b.{0,12}"
    r"|\W*(?:the\s+)?(?:rest|remainder) of (?:the|your)\b.*|\W*implement(?:ation)?\s+(?:me|here|goes here)\W*",
    re.IGNORECASE,
)
"""What stands where something should."""
_COPIED_LINES = 3


def polish(
    text: str, site: Site, language: Language, syntax: Syntax | None = None, *, ended: bool = True
) -> tuple[str, tuple[str, ...]]:
    """The suggestion as it will be shown, and what was done to it, in words. Empty: nothing is worth showing.

    `syntax`: the file around the cursor; None: it cannot be parsed. `ended`: did the model end the text by itself?
    """
    done: list[str] = []
    for step in (_trim_control, _indent_alike, _straighten, _trim_rest_of_line, _trim_punctuation, _trim_blanks):
        trimmed, note = step(text, site, language)
        if trimmed != text:
            done.append(note)
        text = trimmed
    if text and (syntax is None or syntax.broken or syntax.breaks(text)):
        doubled = before_doubled(text, site, language.line_comment)
        if doubled is not None:
            text, done = text[:doubled], [*done, "cut: what is closed behind the cursor"]
    if text and not text.strip():
        return "", (*done, "dropped: only blanks")
    if (
        text
        and text.strip() == site.next_line.strip()
        and not site.line.strip()
        and not _is_a_body(text, site, language)
    ):
        return "", (*done, "dropped: the next line says the same")
    if reason := _boilerplate(text, site, language):
        return "", (*done, f"dropped: {reason}")
    if text and syntax is not None:
        text, notes = _keep_sound(text, site, language, syntax, ended=ended)
        done += notes
    return text, tuple(done)


def _keep_sound(text: str, site: Site, language: Language, syntax: Syntax, *, ended: bool) -> tuple[str, list[str]]:
    """As much of a text as leaves the file one that can be parsed; what was broken at the cursor may stay so."""
    if not syntax.breaks(text):
        return text, []
    if unclosed(text, language.line_comment):
        closed = _closed(text, site, language)
        if (ended or "\n" not in text) and not syntax.breaks(closed):
            return closed, ["closed: the brackets that it left open"]
    elif text[-1] in CLOSERS and unopened(text, language.line_comment) and not syntax.breaks(text[:-1]):
        return text[:-1].rstrip(), ["cut: a bracket that nothing opens"]
    lines = text.split("\n")
    for count in range(len(lines) - 1, 0, -1):
        shorter = "\n".join(lines[:count]).rstrip()
        if shorter.strip() and not syntax.breaks(shorter):
            return shorter, ["cut: the file could no longer be parsed"]
    return "", ["dropped: the file could no longer be parsed"]


def _closed(text: str, site: Site, language: Language) -> str:
    """The text with what it left open closed: brackets of earlier lines on lines of their own, as far in as those."""
    lines = (site.line + text).split("\n")
    closers: dict[int, str] = {}
    for at in reversed(unclosed(text, language.line_comment)):
        line = text.count("\n", 0, at)
        closers[line] = closers.get(line, "") + OPENERS[text[at]]
    for line, closer in closers.items():
        indent = lines[line][: len(lines[line]) - len(lines[line].lstrip())]
        text += closer if line == len(lines) - 1 else f"\n{indent}{closer}"
    return text


def _is_a_body(text: str, site: Site, language: Language) -> bool:
    """Is a text on an empty line what the head above it lacks, while the next line belongs to a block further out?"""
    closes = text.lstrip()[:1] in CLOSERS
    if closes or language.blocks != "indent" or not opens_block(site.opener, language):
        return False
    return indent_of(site.line + text) > indent_of(site.opener) >= indent_of(site.next_line)


def _boilerplate(text: str, site: Site, language: Language) -> str:
    """Why a text says nothing, though it says something; empty: it does not."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    comment = language.line_comment or "#"
    starts = (comment, "/*", "*", '"""', "...", "pass")
    if lines and all(line.startswith(starts) for line in lines) and any(map(_PLACEHOLDER.fullmatch, lines)):
        return "a placeholder for code"
    above = [line.strip() for line in site.above]
    for start in range(len(above) - len(lines) + 1) if len(lines) >= _COPIED_LINES else ():
        if above[start : start + len(lines)] == lines:
            return "a copy of the lines above"
    return ""


def _trim_control(text: str, site: Site, _: Language) -> tuple[str, str]:
    """Cut at a control token; where the lines around are about such, they are left alone."""
    found = _CONTROL.search(text)
    around = "\n".join((*site.above, site.line, site.rest_of_line, site.next_line))
    if found is None or _CONTROL.search(around):
        return text, ""
    return text[: found.start()], "cut: a control token"


def _indent_alike(text: str, site: Site, _: Language) -> tuple[str, str]:
    """Indent with tabs where the lines around do, and with blanks where they do."""
    note = "indented as the lines around are"
    around = [line for line in (site.line, site.opener, site.next_line) if line[:1] in (" ", "\t")]
    if not around:
        return text, note
    lines = text.split("\n")
    if all(line[0] == "\t" for line in around):
        step = min((width for width in map(_blanks, lines[1:]) if width), default=0)
        if step:
            step = 2 if step % 4 else 4
            lines[1:] = ["\t" * (_blanks(line) // step) + line[_blanks(line) :] for line in lines[1:]]
    elif all(line[0] == " " for line in around):
        tabs = [len(line) - len(line.lstrip("\t")) for line in lines]
        lines = [" " * _step(site) * count + line[count:] for count, line in zip(tabs, lines, strict=True)]
    return "\n".join(lines), note


def _blanks(line: str) -> int:
    return len(line) - len(line.lstrip(" "))


def _straighten(text: str, site: Site, _: Language) -> tuple[str, str]:
    """Take away surplus blanks in front, here and on the lines that follow.

    A prompt that ends in blanks splits what a tokenizer keeps together, and models that were not trained on that add
    a blank of their own. Blanks that make a whole step of indentation are meant.
    """
    note = "straightened: surplus blanks in front"
    if site.line.strip() or not site.line or not text.startswith(" ") or "\t" in site.line:
        return text, note
    surplus = _blanks(text) % _step(site)
    first, *others = text.split("\n")
    kept = [line[surplus:] if line[: len(site.line) + surplus].isspace() else line for line in others]
    return "\n".join([first[surplus:], *kept]), note


def _step(site: Site) -> int:
    """One step of indentation, in blanks: 2 or 4, as the lines around the cursor have it."""
    widths = [_blanks(line) for line in (site.line, site.opener, site.next_line)]
    return 4 if all(width % 4 == 0 for width in widths) else 2


def _trim_rest_of_line(text: str, site: Site, _: Language) -> tuple[str, str]:
    """Cut where the text begins to reproduce what stands behind the cursor on its line."""
    rest = site.rest_of_line.strip()
    note = "cut: what stands behind the cursor"
    if not any(char.isalnum() for char in rest):
        return text, note
    found = text.find(rest)
    if found >= 0:
        return text[:found], note
    for size in range(min(len(rest), len(text)), 2, -1):
        if text.endswith(rest[:size]) and any(char.isalnum() for char in rest[:size]):
            return text[:-size], note
    return text, note


def _trim_punctuation(text: str, site: Site, language: Language) -> tuple[str, str]:
    """Drop trailing marks that the rest of the line already has.

    Closers only where the text opened no partner, quotes only where it has an odd number of them, and openers only
    where they end the line.
    """
    said, rest = text.rstrip(), site.rest_of_line.strip()
    for size in range(min(len(rest), len(said)), 0, -1):
        mark = rest[:size]
        forbidden = _NOT_MARKS if mark != rest else ()
        if any(char.isalnum() or char in forbidden for char in mark) or not said.endswith(mark):
            continue
        quote = next((char for char in mark if char in QUOTES), "")
        if quote and said.count(quote) % 2 == 0:
            continue
        # The text may have begun within a string, or (between a string's braces) in code.
        surplus = max(unopened(before + said, language.line_comment) for before in {"", quote})
        if sum(char in CLOSERS for char in mark) <= surplus:
            return said[:-size], "cut: punctuation that stands behind the cursor"
    return text, ""


def _trim_blanks(text: str, _: Site, __: Language) -> tuple[str, str]:
    """No blanks at line ends, no empty lines at the end."""
    return "\n".join(line.rstrip() for line in text.rstrip().split("\n")), "cut: blanks at the end"
