"""What a piece of Python takes for granted: the attributes, keyword arguments, imports and arguments that it names.

A lexer and nothing more: it reads half-written statements, and says nothing where it is not sure. Whether a claim can
be true is for `completion.context.symbols` to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

_TOKEN = re.compile(
    r"""(?P<text>[rRbBuUfF]{0,2}(?:\"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z)|'{3}(?:[^\\]|\\.)*?(?:'{3}|\Z)
        |\"(?:[^\"\\\n]|\\.)*(?:\"|(?=\n)|\Z)|'(?:[^'\\\n]|\\.)*(?:'|(?=\n)|\Z)))
    |(?P<comment>\#[^\n]*)|(?P<number>\d[\w.]*)|(?P<name>[^\W\d]\w*)|(?P<line>\n)|(?P<blank>[ \t\\]+)|(?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_LONGEST_STATEMENT_LINES = 15
_OPEN_ENDS = ("(", "[", "{", ",")


class ClaimKind(Enum):
    """`ATTRIBUTE`: `holder.name`. `KEYWORD`: `holder(…, name=`. `IMPORT`: `from holder import name`.

    `ARGUMENT`: `holder(…,` takes one more argument than the `given` and `positional` ones.
    """

    ATTRIBUTE = "attribute"
    KEYWORD = "keyword argument"
    IMPORT = "import"
    ARGUMENT = "argument"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim. `at`: where its name begins (of an argument: where what comes before it ends)."""

    kind: ClaimKind
    holder: tuple[str, ...]
    name: str
    at: int
    end: int
    positional: int = 0
    given: tuple[str, ...] = ()


@dataclass(slots=True)
class _Frame:
    """An open bracket. `callee`: the names before a call's; empty for any other bracket."""

    callee: tuple[str, ...]
    after: int
    """Where what stands before the next argument ends."""
    positional: int = 0
    given: list[str] = field(default_factory=list)
    empty: bool = True
    keyword: str = ""
    unpacks: bool = False
    in_lambda: bool = False

    def finish_argument(self, after: int) -> None:
        if self.keyword:
            self.given.append(self.keyword)
        elif not self.empty:
            self.positional += 1
        self.empty, self.keyword, self.after = True, "", after


def statement_start(text: str) -> int:
    """Where the statement begins that a text ends in, as far as line ends tell."""
    start = text.rfind("\n") + 1
    for _ in range(_LONGEST_STATEMENT_LINES):
        before = text[: max(0, start - 1)].rstrip(" \t")
        if start == 0 or not before.endswith(_OPEN_ENDS):
            break
        start = before.rfind("\n") + 1
    return start


def read_claims(text: str, *, final: bool) -> list[Claim]:
    """The claims of a text, in order. A claim that more text may change is left out, unless the text is `final`."""
    return _Reader(text, final=final).read()


class _Reader:
    def __init__(self, text: str, *, final: bool) -> None:
        self._text = text
        self._final = final
        self._claims: list[Claim] = []
        self._frames: list[_Frame] = []
        self._chain: list[str] = []
        """The dotted names that just ended here; empty where something else did."""
        self._dotted = False
        self._word = ""
        """The last token, if it was a name."""
        self._begin_statement()

    def _begin_statement(self) -> None:
        self._first = True
        self._module: str | None = None
        self._importing = False

    def read(self) -> list[Claim]:
        for match in _TOKEN.finditer(self._text):
            kind = match.lastgroup
            if kind in ("blank", "comment"):
                continue
            if kind == "line":
                if not self._frames:
                    self._begin_statement()
                    self._end_chain()
                continue
            if kind == "name":
                self._name(match[0], match.start(), match.end())
            elif kind == "mark":
                self._mark(match[0], match.start(), match.end())
            else:
                self._argument(match.start())
                self._end_chain()
            self._first = False
        return self._claims

    def _name(self, name: str, start: int, end: int) -> None:
        if self._first and name == "from":
            self._module = ""
        elif self._module is not None and not self._importing:
            if name == "import":
                self._importing = True
            else:
                self._module += name
        elif self._importing:
            if self._word != "as" and name != "as" and self._ended(end):
                self._claims.append(
                    Claim(kind=ClaimKind.IMPORT, holder=(self._module or "",), name=name, at=start, end=end)
                )
        elif self._dotted and self._chain:
            if self._is_load(end):
                holder = tuple(self._chain)
                self._claims.append(Claim(kind=ClaimKind.ATTRIBUTE, holder=holder, name=name, at=start, end=end))
            self._chain.append(name)
        elif not self._dotted:
            self._argument(start)
            self._keyword(name, start, end)
            self._chain = [] if self._word in ("def", "class") else [name]
        if self._frames and name == "lambda":
            self._frames[-1].in_lambda = True
        self._dotted, self._word = False, name

    def _mark(self, mark: str, start: int, end: int) -> None:
        if self._module is not None and not self._importing and mark == ".":
            self._module += "."
        if mark == ".":
            self._dotted = True
            if not self._word:
                self._chain = []
            self._word = ""
            return
        frame = self._frames[-1] if self._frames else None
        if mark == "," and frame is not None:
            if not frame.in_lambda:
                frame.finish_argument(start)
        elif mark in ")]}":
            if self._frames:
                self._frames.pop()
        elif mark in "([{":
            self._argument(start)
            callee = tuple(self._chain) if mark == "(" and self._word and not self._importing else ()
            self._frames.append(_Frame(callee, end))
        else:
            self._argument(start)
            if frame is not None and mark == "*":
                frame.unpacks = True
            if frame is not None and mark == ":":
                frame.in_lambda = False
        self._end_chain()

    def _end_chain(self) -> None:
        self._chain, self._dotted, self._word = [], False, ""

    def _argument(self, start: int) -> None:
        """Something of an argument begins, or goes on."""
        frame = self._frames[-1] if self._frames else None
        if frame is None or not frame.empty:
            return
        frame.empty = False
        if frame.callee and not frame.unpacks:
            self._claims.append(
                Claim(
                    kind=ClaimKind.ARGUMENT,
                    holder=frame.callee,
                    name=self._text[start : start + 1],
                    at=frame.after,
                    end=start + 1,
                    positional=frame.positional,
                    given=tuple(frame.given),
                )
            )

    def _keyword(self, name: str, start: int, end: int) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is None or frame.keyword or self._text[frame.after : start].strip(" \t\n,\\"):
            return
        rest = self._text[end:].lstrip(" \t")
        if rest.startswith("=") and len(rest) > 1 and rest[1] != "=":
            frame.keyword = name
            if frame.callee:
                self._claims.append(
                    Claim(
                        kind=ClaimKind.KEYWORD,
                        holder=frame.callee,
                        name=name,
                        at=start,
                        end=end,
                        positional=frame.positional,
                        given=tuple(frame.given),
                    )
                )

    def _ended(self, end: int) -> bool:
        return end < len(self._text) or self._final

    def _is_load(self, end: int) -> bool:
        """Is an attribute read, and not set? Where what follows is not there yet, that is not known."""
        rest = self._text[end:].lstrip(" \t")
        if not rest:
            return self._final and end <= len(self._text)
        if end == len(self._text):
            return self._final
        return not (rest.startswith("=") and not rest.startswith("==")) and len(rest) + (rest[0] != "=") > 1
