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

from completion.context.candidates import Candidate, reached
from completion.context.site import Surroundings
from completion.context.words import parts

WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "receiver": 5.00,
        "import": 3.73,
        "module": 2.25,
        "base": -0.03,
        "inherited": 0.99,
        "name": 0.00,
        "edited": 1.50,
        "wildcard": -0.00,
        "pair": -1.50,
        "viewed": -0.50,
        "alike": -0.50,
        "caller": -0.50,
        "sibling": -0.50,
        "uses": 0.44,
        "near": -0.64,
        "unused": 4.15,
        "head_near": 0.61,
        "head_unused": 2.41,
        "head_uses": 0.04,
        "head_echo": 0.63,
        "head_slot": 0.98,
        "echo": 1.78,
        "echo_strong": -0.03,
        "slot": 0.42,
        "slot_count": 0.72,
        "close": -0.49,
        "in_scope": 0.46,
        "likeness": 1.33,
        "likeness_beside": -0.07,
        "likeness_wanted": 0.34,
        "peers": 0.23,
        "echo_elsewhere": 2.67,
        "company": 0.10,
        "is_class": -0.34,
        "is_constant": 0.03,
        "class_in_brackets": -0.09,
        "constant_in_brackets": 0.12,
        "class_in_header": 0.53,
        "other_in_header": -0.53,
        "class_opens": 0.82,
        "error_ends": 0.27,
        "error": -0.19,
        "annotates_here": 0.62,
        "annotates": -0.31,
        "decorates_here": 0.71,
        "decorates": -1.00,
        "undecorated": -0.71,
        "private": -0.57,
        "used_private": 0.28,
    }
)
"""Of each feature; `bench/context/fit.py` finds them, on packages that no evaluation uses."""
BY_HAND = frozenset({"receiver", "name", "edited", "pair", "viewed", "alike", "caller", "sibling"})
"""Weights that masked imports cannot teach."""
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
        return WEIGHTS[one.source] + min(one.score, 30.0) / 20
    total = sum(WEIGHTS[name] * value for name, value in features(one, site).items())
    if site.typed:
        name = _called(one)
        total += 4.0 if name.startswith(site.typed) else 1.5 if name.lower().startswith(site.typed.lower()) else -4.0
    return total + one.score + _kind_wanted(one, site) + _behind_dot(one, site)


def features(one: Candidate, site: Surroundings) -> dict[str, float]:
    """What the weights are for. All lie between 0 and about 4."""
    assert one.definition is not None
    name, kind = _called(one), one.definition.kind
    keys = mentioned_as(one, site)
    uses = sum(site.uses[key] for key in keys)
    near = sum(site.near[key] for key in keys)
    head = "self" if one.source == "inherited" else one.known_as.partition(".")[0] if "." in one.known_as else ""
    away = min((site.distance[key] for key in keys if key in site.distance), default=None)
    echo = max(site.echoes.get(key, 0.0) for key in keys)
    here = sum(site.slots[key] for key in keys)
    words = parts(name)
    spread = sqrt(len(words) or 1)
    is_class = kind in ("class", "type") or (name[:1].isupper() and not name.isupper())
    is_error = name.endswith(("Error", "Exception", "Warning"))
    decorates = one.known_as in site.decorators
    annotates = min(site.annotated[name], uses) / (1 + uses)
    may_annotate = site.in_header or site.slot.behind > 0
    return {
        one.source: 1.0,
        "uses": log(1 + uses),
        "near": sqrt(min(near, 4)),
        "unused": float(one.source == "import" and uses == 0),
        "head_near": sqrt(min(site.near[head], 4)) if head else 0.0,
        "head_unused": float(bool(head) and site.uses[head] == 0),
        "head_uses": log(1 + site.uses[head]) if head else 0.0,
        "head_echo": site.echoes.get(head, 0.0) if head else 0.0,
        "head_slot": site.slots[head] / (1 + site.uses[head]) if head else 0.0,
        "echo": echo,
        "echo_strong": float(echo > 1.2),
        "slot": here / (1 + uses),
        "slot_count": log(1 + here),
        "close": 0.0 if away is None else 1 / (1 + log(1 + away)),
        "in_scope": float(away is not None and bool(site.enclosing) and _in_scope(away, site)),
        "likeness": sum(min(site.near_words[word], 8) / 8 for word in words) / spread,
        "likeness_beside": sum(word in site.beside_words for word in words) / spread,
        "likeness_wanted": sum(word in site.wanted_words for word in words) / spread,
        "peers": float(min(one.peers, 4)),
        "echo_elsewhere": one.echo,
        "company": float(min(one.company, 3)),
        "is_class": float(is_class),
        "is_constant": float(kind in ("constant", "field") and not is_class),
        "class_in_brackets": float(is_class and site.slot.in_brackets),
        "constant_in_brackets": float(kind == "constant" and not is_class and site.slot.in_brackets),
        "class_in_header": float(is_class and site.in_header),
        "other_in_header": float(not is_class and site.in_header),
        "class_opens": float(is_class and site.slot.behind > 0),
        "error_ends": float(is_error and site.slot.behind < 0),
        "error": float(is_error),
        "annotates_here": annotates if may_annotate else 0.0,
        "annotates": 0.0 if may_annotate else annotates,
        "decorates_here": float(decorates and site.slot.before_definition),
        "decorates": float(decorates and not site.slot.before_definition),
        "undecorated": float(not decorates and site.slot.before_definition),
        "private": float(name.startswith("_")),
        "used_private": float(name.startswith("_") and uses > 0),
    }


def mentioned_as(one: Candidate, site: Surroundings) -> tuple[str, ...]:
    """The mentions by which the file at the cursor uses a candidate."""
    name = _called(one)
    if one.source == "inherited":
        return f"self.{name}", f"cls.{name}", f"this.{name}", f"$this.{name}"
    if one.source == "receiver":
        return (reached(".".join((*site.receiver, name))),)
    return (one.known_as if one.known_as.startswith(".") else reached(one.known_as or name),)


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
    per_source: tuple[tuple[str, int], ...] = (
        ("alike", 1),
        ("caller", 1),
        ("edited", 2),
        ("name", 2),
        ("pair", 2),
        ("sibling", 1),
        ("viewed", 1),
    )
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
