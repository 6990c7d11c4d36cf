"""Orders candidates by how likely the next lines use them, and picks those worth what reading them costs.

Scores are linear in a few features; their weights were fitted on packages that are in no evaluation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from types import MappingProxyType

from completion.context.candidates import Candidate
from completion.context.site import Surroundings
from completion.context.words import parts

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "receiver": 5.00,
        "import": 4.02,
        "module": 3.11,
        "base": 0.50,
        "inherited": -2.00,
        "name": 0.00,
        "edited": 1.50,
        "wildcard": -0.10,
        "pair": -1.50,
        "viewed": -0.50,
        "alike": -0.50,
        "uses": 0.62,
        "near": -0.49,
        "unused": 4.69,
        "head_near": 0.65,
        "head_unused": 1.38,
        "echo": 2.62,
        "echo_strong": -0.10,
        "close": -0.54,
        "in_scope": 0.54,
        "likeness": 1.51,
        "likeness_beside": -0.30,
        "peers": 0.48,
        "is_class": 0.38,
        "is_constant": 0.17,
        "class_in_brackets": 0.04,
        "constant_in_brackets": 0.33,
        "error": 0.16,
        "private": -0.56,
        "used_private": 0.23,
    }
)
"""Of each feature; `bench/context/fit.py` finds them, on packages that no evaluation uses. Set by hand, since masked
imports cannot teach them: those of receiver, base, inherited, name, edited, pair, viewed and alike."""
_CHARACTERS_PER_TOKEN = 3.3
_FIXED_TOKENS = 40
"""What any snippet costs beside its own tokens (path, marks, room): tempers the preference for short ones."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its score; the text that would be shown comes later."""

    candidate: Candidate
    score: float


def rank(candidates: Sequence[Candidate], site: Surroundings) -> list[Ranked]:
    """Best first; equal scores in the order of path and line, so that the order is the same from key to key."""
    scored = [Ranked(one, score(one, site)) for one in candidates]
    return sorted(scored, key=lambda one: (-one.score, one.candidate.path, one.candidate.first_line))


def score(one: Candidate, site: Surroundings) -> float:
    """How much speaks for a candidate at this cursor."""
    if one.definition is None:
        return WEIGHTS["alike"] + min(one.score, 30.0) / 20
    total = sum(WEIGHTS[name] * value for name, value in features(one, site).items())
    if site.typed:
        name = _called(one)
        total += 4.0 if name.startswith(site.typed) else 1.5 if name.lower().startswith(site.typed.lower()) else -4.0
    return total + one.score + _kind_wanted(one, site) + _behind_dot(one, site)


def features(one: Candidate, site: Surroundings) -> dict[str, float]:
    """What the weights are for. All lie between 0 and about 4."""
    assert one.definition is not None
    name, kind = _called(one), one.definition.kind
    uses, near = site.uses[name], site.near[name]
    head = one.known_as.partition(".")[0] if "." in one.known_as else ""
    away = site.distance.get(name)
    words = parts(name)
    return {
        one.source: 1.0,
        "uses": log(1 + uses),
        "near": sqrt(min(near, 4)),
        "unused": float(one.source == "import" and uses == 0),
        "head_near": sqrt(min(site.near[head], 4)) if head else 0.0,
        "head_unused": float(bool(head) and site.uses[head] == 0),
        "echo": site.echoes.get(name, 0.0),
        "echo_strong": float(site.echoes.get(name, 0.0) > 1.2),
        "close": 0.0 if away is None else 1 / (1 + log(1 + away)),
        "in_scope": float(away is not None and bool(site.enclosing) and _in_scope(away, site)),
        "likeness": sum(min(site.near_words[word], 8) / 8 for word in words) / sqrt(len(words) or 1),
        "likeness_beside": sum(word in site.beside_words for word in words) / sqrt(len(words) or 1),
        "peers": float(min(one.peers, 4)),
        "is_class": float(kind in ("class", "type")),
        "is_constant": float(kind in ("constant", "field")),
        "class_in_brackets": float(kind in ("class", "type") and site.in_brackets),
        "constant_in_brackets": float(kind == "constant" and site.in_brackets),
        "error": float(name.endswith(("Error", "Exception", "Warning"))),
        "private": float(name.startswith("_")),
        "used_private": float(name.startswith("_") and uses > 0),
    }


def _called(one: Candidate) -> str:
    """The name by which the file at the cursor would use it."""
    return one.known_as.rpartition(".")[2] or one.name


def _in_scope(away: int, site: Surroundings) -> bool:
    return away <= site.line - site.enclosing[-1].first_line


def _behind_dot(one: Candidate, site: Surroundings) -> float:
    """Behind a dot stands a member of what is before it, and hardly anything else."""
    if not site.receiver:
        return 0.0
    own = one.source == "receiver" or (one.source == "inherited" and site.receiver[0] in ("self", "cls", "this"))
    return 3.0 if own else -3.0


def _kind_wanted(one: Candidate, site: Surroundings) -> float:
    """What the words before the cursor ask for."""
    line = site.line_before.strip()
    if re.match(r"(raise|throw|except|catch)\b", line):
        return 2.0 if one.name.endswith(("Error", "Exception", "Warning")) else -0.5
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How much context a prompt may carry. The defaults are what the embedded model was trained on."""

    characters: int = 720
    snippets: int = 3
    snippet_characters: int = 240
    per_source: tuple[tuple[str, int], ...] = (("alike", 1), ("viewed", 1), ("pair", 2), ("edited", 2), ("name", 2))
    """At most so many snippets of a source; of others, as many as there is room for."""
    least_score: float = 0.0


LARGE = Budget(characters=4000, snippets=10, snippet_characters=800)
"""For models that were trained on whole repositories, and run where prompts are read fast."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A candidate with the text that goes into the prompt."""

    candidate: Candidate
    text: str
    value: float


def choose(shown: Sequence[tuple[Ranked, str]], budget: Budget, cached: frozenset[tuple[str, str]]) -> list[Shown]:
    """The picks within the budgets, best value first. `cached`: (path, text) of what the engine has read already.

    Value is score over what reading costs: what the last prompt showed is free but for its place.
    """
    valued = []
    for one, text in shown:
        tokens = 0.0 if (one.candidate.path, text) in cached else len(text) / _CHARACTERS_PER_TOKEN
        worth = max(0.0, one.score - budget.least_score)
        valued.append(Shown(one.candidate, text, worth * sqrt(_FIXED_TOKENS / (_FIXED_TOKENS + tokens))))
    limits = dict(budget.per_source)
    picks: list[Shown] = []
    per_source: Counter[str] = Counter()
    left = budget.characters
    for pick in sorted(valued, key=lambda one: (-one.value, one.candidate.path, one.candidate.first_line)):
        source = pick.candidate.source
        if pick.value <= 0 or len(picks) >= budget.snippets:
            break
        if len(pick.text) > left or per_source[source] >= limits.get(source, budget.snippets):
            continue
        if any(pick.text in other.text and pick.candidate.path == other.candidate.path for other in picks):
            continue
        picks.append(pick)
        per_source[source] += 1
        left -= len(pick.text)
    return picks
