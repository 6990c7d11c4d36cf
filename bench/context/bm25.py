"""BM25 by the book (k1 = 1.2, b = 0.75), over documents that fit in memory: what the retriever is compared with.

A baseline should be given every chance: it gets the words that the retriever gets (imports, the lines around the
cursor, or the whole file), and documents of either kind (chunks of lines, or one for each definition).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import log

_K1, _B = 1.2, 0.75


class Bm25:
    """Documents by number, in the order they are given."""

    def __init__(self, documents: Iterable[Sequence[str]]) -> None:
        self._postings: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._lengths: list[int] = []
        for number, words in enumerate(documents):
            self._lengths.append(len(words))
            for word, count in Counter(words).items():
                self._postings[word].append((number, count))
        self._mean = sum(self._lengths) / max(1, len(self._lengths))

    def scores(self, query: Mapping[str, int]) -> dict[int, float]:
        """The score of each document that has any of the words; a word counts as often as the query says it."""
        found: dict[int, float] = defaultdict(float)
        for word, times in query.items():
            postings = self._postings.get(word, ())
            weight = times * log(1 + (len(self._lengths) - len(postings) + 0.5) / (len(postings) + 0.5))
            for number, count in postings:
                long = 1 - _B + _B * self._lengths[number] / self._mean
                found[number] += weight * count * (_K1 + 1) / (count + _K1 * long)
        return found

    def best(self, query: Mapping[str, int], *, limit: int) -> list[int]:
        """The numbers of the best documents; equal scores in the documents' order."""
        scores = self.scores(query)
        return sorted(scores, key=lambda number: (-scores[number], number))[:limit]
