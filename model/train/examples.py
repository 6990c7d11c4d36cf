"""Training examples: a hole in a file, laid out as the prompt that serving would send, with the answer.

Example number i of a seed is always the same, whatever was drawn before: a run can stop and resume anywhere. Loss
sits on the answer (the middle and the end token) alone. Lengths are in characters, since text is cut before it is
tokenized, as it is when serving.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from model.api import Segment
from model.errors import UsageError
from model.fim import FORMATS, Snippet, render
from model.train.corpus import SourceFile
from model.train.cuts import Cut, CutKind, Cutter, draw_kind
from model.train.definitions import Definitions

FAMILY = "tersely"
Encode = Callable[[tuple[Segment, ...]], list[int]]
_OPEN_FILES = 64
_FILE_TRIES = 50
_CROSSING_TRIES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """How much context examples have. Prefix and suffix lengths are drawn log-uniformly between their bounds.

    On a CPU short contexts teach more per second, since only the middle has loss; `long_share` of the examples have
    up to `long_chars` on either side.
    """

    prefix_chars: tuple[int, int] = (40, 1000)
    suffix_chars: tuple[int, int] = (20, 400)
    long_share: float = 0.06
    long_chars: int = 3000
    no_suffix_share: float = 0.1
    no_path_share: float = 0.3
    snippets_share: float = 2 / 3
    snippet_chars: int = 240
    max_snippets: int = 3


@dataclass(frozen=True, slots=True)
class Example:
    """`tokens[answer:]` is what the model must say; the prompt is before it."""

    tokens: tuple[int, ...]
    answer: int
    kind: str
    """What sort of question it is, for the figures of a validation."""
    language: str


@dataclass(frozen=True, slots=True)
class Hole(Example):
    """An example that `cut` took out of a file."""

    cut: Cut


class ExampleMaker:
    """Draws examples from a corpus."""

    def __init__(
        self, corpus: Sequence[SourceFile], *, encode: Encode, seed: int, budgets: Budgets | None = None
    ) -> None:
        self._corpus = corpus
        self._encode = encode
        self._seed = seed
        self._budgets = budgets or Budgets()
        self._heights = list(accumulate(file.weight * len(file.text) for file in corpus))
        self._definitions = Definitions(corpus, max_chars=self._budgets.snippet_chars)
        self._cutters: OrderedDict[int, Cutter] = OrderedDict()
        self._end = Segment(FORMATS[FAMILY].ends[0], special=True)

    def make(self, index: int) -> Hole:
        """Example number `index`."""
        rng = random.Random(f"{self._seed}/{index}")
        kind = draw_kind(rng)
        wants_snippets = rng.random() < self._budgets.snippets_share
        file, cut = self._draw(kind, rng, crossing=wants_snippets and kind is not CutKind.EMPTY)
        middle = file.text[cut.start : cut.end]
        snippets = self._snippets(file, middle, rng) if wants_snippets else ()
        prefix_chars, suffix_chars = self._lengths(rng)
        prompt = render(
            FAMILY,
            prefix=last_lines(file.text[: cut.start], prefix_chars),
            suffix=first_lines(file.text[cut.end :], suffix_chars),
            path="" if rng.random() < self._budgets.no_path_share else file.path,
            snippets=snippets,
        )
        tokens = self._encode(prompt)
        answer = self._encode((Segment(middle), self._end) if middle else (self._end,))
        return Hole((*tokens, *answer), len(tokens), str(cut.kind), file.language, cut)

    def _draw(self, kind: CutKind, rng: random.Random, *, crossing: bool) -> tuple[SourceFile, Cut]:
        """A file and a cut. `crossing`: try for a middle that uses what another file of the package defines."""
        best: tuple[SourceFile, Cut] | None = None
        for _ in range(_FILE_TRIES):
            number = bisect_right(self._heights, rng.random() * self._heights[-1])
            file, cutter = self._corpus[number], self._cutter(number)
            for _ in range(_CROSSING_TRIES if crossing else 1):
                cut = cutter.cut_kind(kind, rng)
                if cut is None:
                    continue
                best = file, cut
                if not crossing or self._definitions.used(file, file.text[cut.start : cut.end]):
                    return best
            if best is not None and rng.random() < 0.5:
                return best
        if best is None:
            raise UsageError("The corpus has no place for a cursor.", hint="Are its files empty, or very short?")
        return best

    def _snippets(self, file: SourceFile, middle: str, rng: random.Random) -> tuple[Snippet, ...]:
        """Definitions that the middle uses among ones that it does not, in no order that tells which is which."""
        used = self._definitions.used(file, middle)
        count = rng.randint(1, self._budgets.max_snippets)
        chosen = rng.sample(used, min(len(used), max(1, count - 1))) if used else []
        chosen += self._definitions.others(file, count - len(chosen), rng)
        return tuple(sorted(set(chosen), key=lambda snippet: (snippet.path, snippet.text)))

    def _lengths(self, rng: random.Random) -> tuple[int, int]:
        budgets = self._budgets
        if rng.random() < budgets.long_share:
            return rng.randint(budgets.prefix_chars[1], budgets.long_chars), rng.randint(0, budgets.long_chars)
        prefix, suffix = _log_uniform(budgets.prefix_chars, rng), _log_uniform(budgets.suffix_chars, rng)
        return prefix, 0 if rng.random() < budgets.no_suffix_share else suffix

    def _cutter(self, number: int) -> Cutter:
        cutter = self._cutters.pop(number, None)
        if cutter is None:
            cutter = Cutter(self._corpus[number].text, self._corpus[number].language)
        self._cutters[number] = cutter
        if len(self._cutters) > _OPEN_FILES:
            self._cutters.popitem(last=False)
        return cutter


def last_lines(text: str, limit_chars: int) -> str:
    """The end of `text`, from a line's start where there is one within the limit."""
    if len(text) <= limit_chars:
        return text
    newline = text.find("\n", len(text) - limit_chars)
    return text[newline + 1 :] if 0 <= newline < len(text) - 1 else text[len(text) - limit_chars :]


def first_lines(text: str, limit_chars: int) -> str:
    """The beginning of `text`, to a line's end where there is one within the limit."""
    if len(text) <= limit_chars:
        return text
    newline = text.rfind("\n", 0, limit_chars)
    return text[: newline + 1] if newline >= 0 else text[:limit_chars]


def _log_uniform(bounds: tuple[int, int], rng: random.Random) -> int:
    low, high = bounds
    return round(low * math.exp(rng.random() * math.log(high / low)))
