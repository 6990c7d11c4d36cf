"""How likely a suggestion is to be accepted: from its tokens' probabilities, its length, and the syntax around it.

The constants are data (`confidence.json`), fitted with `python -m bench.quality.calibrate` on packages that the
embedded model learned from, never on those kept for evaluation: once for that model, and once for models that others
trained, whose probabilities mean something else. What a user accepts shifts them (`history`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from math import exp, log, log1p

from completion.api import Level

_LEAST_JOINT = -20.0
_LEAST_TOKEN = -10.0
_FORCED_ENDS = frozenset({"tokens", "time", "lines", "loop"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What confidence depends on beside the tokens."""

    stop_reason: str
    polished: bool
    """Was the text changed after decoding?"""
    inside_line: bool
    """Does code follow the cursor on its line?"""
    blank_before: bool
    """Does nothing but indentation precede it?"""
    in_words: bool
    """Does the cursor stand in a string or a comment?"""
    broken: bool
    """Could the file not be parsed at the cursor?"""
    vetoes: int = 0
    asked: bool = False
    """Would only one kind of line do, and was the model asked for it?"""


def signals(text: str, logprobs: Sequence[float], found: Circumstances) -> dict[str, float]:
    """The figures that the probability is computed from. `logprobs`: of the tokens that make up `text`, natural."""
    joint = max(_LEAST_JOINT, sum(logprobs))
    return {
        "joint": joint,
        "probability": exp(joint),
        "mean": max(_LEAST_TOKEN, joint / len(logprobs)) if logprobs else _LEAST_TOKEN,
        "least": max(_LEAST_TOKEN, min(logprobs, default=_LEAST_TOKEN)),
        "first": max(_LEAST_TOKEN, logprobs[0]) if logprobs else _LEAST_TOKEN,
        "tokens": log1p(len(logprobs)),
        "characters": log1p(len(text)),
        "several_lines": float("\n" in text),
        "ended_itself": float(found.stop_reason == "eos"),
        "ended_by_force": float(found.stop_reason in _FORCED_ENDS),
        "polished": float(found.polished),
        "inside_line": float(found.inside_line),
        "blank_before": float(found.blank_before),
        "in_words": float(found.in_words),
        "broken": float(found.broken),
        "vetoed": float(found.vetoes > 0),
        "asked": float(found.asked),
    }


@dataclass(frozen=True, slots=True)
class Calibration:
    """A logistic function of the signals, and from which probability each level shows a suggestion."""

    bias: float
    weights: Mapping[str, float]
    thresholds: Mapping[Level, float]

    def probability(self, found: Mapping[str, float], *, shift: float = 0.0) -> float:
        """The probability, 0 … 1, that a suggestion with these signals is right; `shift` is added to its log-odds."""
        odds = self.bias + shift + sum(weight * found[name] for name, weight in self.weights.items())
        return 1 / (1 + exp(-max(-30.0, min(30.0, odds))))


OWN, OTHERS = "tersely", "others"
"""What the constants are kept under: for models of this family (see `model.fim`), and for all others."""


@cache
def shipped(family: str = OWN) -> Calibration:
    """The constants that come with this version, for models of that family."""
    found = json.loads(resources.files("completion").joinpath("confidence.json").read_text(encoding="utf-8"))
    fitted = found["models"][OWN if family == OWN else OTHERS]
    thresholds = {Level(name): value for name, value in found["thresholds"].items()}
    return Calibration(fitted["bias"], fitted["weights"], thresholds)


def log_odds(probability: float) -> float:
    """The log-odds of a probability, which may not be 0 or 1."""
    return log(probability / (1 - probability))
