"""Where a suggestion ends: decided from the syntax around the cursor, then checked at each generated token.

The shape is chosen once, before generation. The guard then sees all that was generated so far, and says where to cut
as soon as that is certain; what would come after the cut is never waited for. Where the file can be parsed
(`completion.syntax`), a line ends once what was begun at the cursor is closed; elsewhere brackets alone tell.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from completion.api import Level
from completion.brackets import CLOSERS, unclosed, unopened
from completion.language import Language
from completion.pairs import before_doubled

if TYPE_CHECKING:
    from completion.syntax import Syntax

_MAX_LINES = {Level.QUIET: 1, Level.BALANCED: 12, Level.EAGER: 30}
_BLOCK_WORDS = ("do", "then", "else", "begin", "of", "where")
_LONG_PIECE = 12
_LONGEST_LOOP = 120
_CLAUSES = ("except", "finally")
_END_WORDS = ("end", "fi", "done", "esac")
_LINES_ABOVE = 40
_LEAST_REPEATED = 3
"""So many characters of what stands behind the cursor on its line must come before that counts as saying it again."""
_GOES_ON = (",", "(", "[", "{", "=", "+", "*", "&&", "||", "=>", "->", "\\", ".", "|", "?", "<")
"""A line that ends so is not a whole one, if what it stands in cannot be parsed either."""
_LONG_QUOTES = {"python": ('"""', "'''"), "javascript": ("`",), "typescript": ("`",), "typescriptreact": ("`",)}


class Shape(Enum):
    """`LINE`: the rest of the line, and what it opens (brackets, a body). `BLOCK`: lines deeper than the one above."""

    LINE = "line"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Cut:
    """Keep `generated[:length]`. `reason` is one of: line, block, suffix, blank, lines, loop, eos, tokens, time."""

    length: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """The cursor's surroundings, read once."""

    line: str
    """What stands on the cursor's line before it."""
    opener: str
    """The last line with anything on it, up to the cursor: the one a block would belong to."""
    rest_of_line: str
    next_line: str
    """The first line with anything on it behind the cursor's line."""
    above: tuple[str, ...] = ()
    """The lines with anything on them before the cursor's line, the nearest last; not many."""


def survey(text: str, offset: int) -> Site:
    """Read the lines around `offset`."""
    before = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    line = before.rpartition("\n")[2]
    opener = line
    if not line.strip():
        opener = next((old for old in reversed(before.split("\n")) if old.strip()), "")
    rest, _, below = text[offset:].replace("\r\n", "\n").replace("\r", "\n").partition("\n")
    next_line = next((new for new in below.split("\n", 40)[:40] if new.strip()), "")
    above = tuple(old for old in before.rsplit("\n", _LINES_ABOVE)[:-1][-_LINES_ABOVE + 1 :] if old.strip())
    return Site(line=line, opener=opener, rest_of_line=rest, next_line=next_line, above=above)


def choose_shape(site: Site, language: Language, level: Level, *, in_words: bool = False) -> Shape:
    """A block where the syntax opens one (or the dial says eager), else a line. Inside a line: always a line.

    `in_words`: the cursor stands in a string or a comment, where a colon opens nothing.
    """
    if site.rest_of_line.strip() or level is Level.QUIET or language.blocks == "none" or in_words:
        return Shape.LINE
    if opens_block(site.opener, language) and (not site.line.strip() or site.line == site.opener):
        return Shape.BLOCK
    return Shape.BLOCK if level is Level.EAGER else Shape.LINE


def opens_block(line: str, language: Language) -> bool:
    """Does a line end in what a block, or a bracket's contents, follow?"""
    code = line.rstrip()
    if language.line_comment:
        code = _without_comment(code, language.line_comment).rstrip()
    if code.endswith(("{", "(", "[", "=>")):
        return True
    if language.blocks != "indent":
        return False
    last_word = code.rpartition(" ")[2]
    return code.endswith(":") or last_word in _BLOCK_WORDS or (language.id == "lua" and code.endswith(")"))


def _without_comment(line: str, mark: str) -> str:
    head, found, _ = line.partition(f" {mark}")
    return head if found else ("" if line.lstrip().startswith(mark) else line)


def before_loop(text: str) -> int | None:
    """Where a text begins to say the same over and over at its end, after the first time; None: it does not.

    Long pieces count at their third time, short ones (`0, 0, 0, …`) are often meant and count at their twelfth.
    """
    for period in range(2, min(_LONGEST_LOOP, len(text) // 3) + 1):
        times = 3 if period >= _LONG_PIECE else 12
        piece = text[-period:]
        primitive = (piece + piece).find(piece, 1) == period
        if primitive and text.endswith(piece * times) and any(char.isalnum() for char in piece):
            start = len(text) - period * times
            while start > 0 and text[start - 1] == text[start - 1 + period]:
                start -= 1
            # What joined the pieces has nothing more to join.
            return len(text[: start + period].rstrip(" \t*+-/,&|.=<"))
    return None


class StoppingGuard:
    """Sees the generated text grow and says where it ends."""

    def __init__(
        self,
        *,
        site: Site,
        shape: Shape,
        language: Language,
        level: Level,
        syntax: Callable[[], Syntax | None] = lambda: None,
    ) -> None:
        """`syntax`: parses the file around the cursor; asked only at line ends, when the engine is at work already."""
        self._site = site
        self._syntax = syntax
        self._shape = shape
        self._language = language
        self._max_lines = _MAX_LINES[level]
        # Where nothing opens a block, what follows are neighbours: they may stand as far left as the line itself.
        self._base_indent = indent_of(site.opener) - (not opens_block(site.opener, language))
        self._lines_seen = 0

    def check(self, generated: str) -> Cut | None:
        """The cut, if the text so far settles it; None: go on."""
        lines = generated.split("\n")
        while self._lines_seen < len(lines) - 1:
            cut = self._judge(lines, self._lines_seen)
            self._lines_seen += 1
            if cut:
                return cut
        if self._shape is Shape.BLOCK and (cut := self._judge_open_line(lines)):
            return cut
        if (length := self._before_rest_of_line(lines[0])) is not None:
            return Cut(length, "suffix")
        length = before_loop(generated)
        return None if length is None else Cut(length, "loop")

    def finish(self, generated: str, reason: str) -> Cut:
        """The cut at the end of generation: an unfinished last line of several goes when tokens or time ran out."""
        cut = self.check(generated)
        if cut:
            return cut
        lines = generated.split("\n")
        if reason in ("length", "time"):
            keep = len(lines) - 1 if len(lines) > 1 else 1
            return Cut(_length(lines, keep), "tokens" if reason == "length" else reason)
        last = len(lines) - 1
        return self._judge(lines, last, final=True) or Cut(len(generated), "eos")

    def _judge(self, lines: list[str], index: int, *, final: bool = False) -> Cut | None:
        """Judge the finished line `index`; the cut lies before it or behind it."""
        if self._repeats_suffix(lines, index):
            return Cut(_length(lines, index), "suffix")
        if self._shape is Shape.LINE:
            return None if final else self._judge_line(lines, index)
        if index > 0 and self._leaves_block(lines[index]) and not self._is_clause(lines, index):
            closes = self._closes_block(lines[index])
            return Cut(_length(lines, index + closes), "block")
        if index == 0 and self._has_its_body(lines[0]):
            return Cut(_length(lines, 1), "line")
        if (length := self._before_closer(lines, index)) is not None:
            return Cut(length, "block")
        if index > 1 and not lines[index].strip() and not lines[index - 1].strip():
            return Cut(_length(lines, index - 1), "blank")
        if index + 1 >= self._max_lines:
            return Cut(_length(lines, index + 1), "lines")
        return None

    def _judge_line(self, lines: list[str], index: int) -> Cut | None:
        """A line ends where it ends, unless it opened what is still open: brackets, a long string, a body."""
        if self._closes_again(lines, index):
            return Cut(_length(lines, index + 1), "suffix")
        if self._max_lines == 1 or (index == 0 and self._says_rest(lines[0])) or not self._is_open(lines, index):
            return Cut(_length(lines, index + 1), "line")
        if index + 1 >= self._max_lines:
            return Cut(_length(lines, 1), "lines")
        return None

    def _is_open(self, lines: list[str], index: int) -> bool:
        """Is something that was begun at the cursor not closed yet? The head of a block becomes a block here."""
        text = "\n".join(lines[: index + 1])
        brackets = bool(unclosed(text, self._language.line_comment))
        syntax = self._syntax() if text.strip() else None
        if syntax is None or syntax.broken:
            return brackets or self._in_long_string(text)
        if syntax.breaks(text):
            return brackets or self._goes_on(text, lines[index])
        if not syntax.lacks_body(text):
            return False
        head = lines[index] if index else self._site.line + lines[0]
        self._shape, self._base_indent = Shape.BLOCK, indent_of(head)
        return True

    def _goes_on(self, text: str, line: str) -> bool:
        is_decorator = self._language.id == "python" and line.lstrip().startswith("@")
        return (
            is_decorator
            or line.rstrip().endswith(_GOES_ON)
            or opens_block(line, self._language)
            or self._in_long_string(text)
        )

    def _in_long_string(self, text: str) -> bool:
        return any(text.count(quote) % 2 for quote in _LONG_QUOTES.get(self._language.id, ()))

    def _says_rest(self, line: str) -> bool:
        """Does the line end as the cursor's line does already, with nothing open before that?"""
        rest, said = self._site.rest_of_line.strip(), line.rstrip()
        return bool(rest) and said.endswith(rest) and not unclosed(said[: -len(rest)], self._language.line_comment)

    def _closes_again(self, lines: list[str], index: int) -> bool:
        """Does the text close what is closed behind the cursor, and go on to another line? The rest is not wanted."""
        text = "\n".join(lines[: index + 1])
        if before_doubled(text, self._site, self._language.line_comment) is None:
            return False
        syntax = self._syntax()
        return syntax is None or syntax.broken or syntax.breaks(text)

    def _is_clause(self, lines: list[str], index: int) -> bool:
        """A `try` is not whole without what follows its block; the line may still be being written."""
        first = self._site.line + lines[0]
        head = first if first.strip() else self._site.opener
        if self._language.id != "python" or "try:" not in (head.strip(), self._site.opener.strip()):
            return False
        around = [*lines[1:index], self._site.next_line]
        if any(line.strip().startswith(_CLAUSES) for line in around):
            return False
        line = lines[index].strip()
        return any(line.startswith(word) or word.startswith(line) for word in _CLAUSES)

    def _has_its_body(self, line: str) -> bool:
        """Is a line the head of a block whose body stands behind the cursor already?"""
        head = self._site.line + line
        return opens_block(head, self._language) and indent_of(self._site.next_line) > indent_of(head)

    def _before_closer(self, lines: list[str], index: int) -> int | None:
        """Where a block of brackets that was open at the cursor ends with this line: with its closer, or before it."""
        text = "\n".join(lines[: index + 1])
        if self._language.blocks != "brace" or not unopened(text, self._language.line_comment):
            return None
        syntax = self._syntax()
        if syntax is None:
            return None
        before = "\n".join(lines[:index])
        # Where the closer stands behind the cursor already, a second one cannot be parsed.
        return len(text) if syntax.errors(text) < syntax.errors(before) or not before.strip() else len(before)

    def _judge_open_line(self, lines: list[str]) -> Cut | None:
        """A line that is still being written already leaves the block when its first character stands too far left."""
        index = len(lines) - 1
        line = lines[index]
        if index == 0 or not line.strip() or not self._leaves_block(line):
            return None
        if self._closes_block(line) or self._is_clause(lines, index):
            return None
        return Cut(_length(lines, index), "block")

    def _before_rest_of_line(self, line: str) -> int | None:
        """Where the text begins to say what stands behind the cursor on its line."""
        rest = self._site.rest_of_line.strip()
        if len(rest) < _LEAST_REPEATED or not any(char.isalnum() for char in rest):
            return None
        found = line.find(rest)
        return found if found >= 0 else None

    def _leaves_block(self, line: str) -> bool:
        return bool(line.strip()) and indent_of(line) <= self._base_indent

    def _closes_block(self, line: str) -> bool:
        """Does the line end the block itself, and is that end not already there?"""
        code = line.strip()
        closes = code[0] in CLOSERS or (self._language.id != "python" and code.split()[0] in _END_WORDS)
        if indent_of(line) != self._base_indent or not closes:
            return False
        following = self._site.next_line
        return not (indent_of(following) == self._base_indent and following.strip()[:1] == code[0])

    def _repeats_suffix(self, lines: list[str], index: int) -> bool:
        """Is this line, a whole line of its own, the next one that is already in the file?"""
        if index == 0 and self._site.line.strip():
            return False
        line = lines[index] if index else self._site.line + lines[index]
        return bool(line.strip(" \t)]};,")) and line.rstrip() == self._site.next_line.rstrip()


def indent_of(line: str) -> int:
    """Width of a line's indentation, a tab as the next multiple of 8."""
    width = 0
    for char in line:
        if char == " ":
            width += 1
        elif char == "\t":
            width += 8 - width % 8
        else:
            break
    return width


def _length(lines: list[str], count: int) -> int:
    """Length of the first `count` lines without the newline behind them."""
    return max(0, sum(len(line) + 1 for line in lines[:count]) - 1)
