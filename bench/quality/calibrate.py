"""Fits the confidence of suggestions: how likely is one with these signals to be what the author wrote?

Asks a model, by default the embedded one, at cursors of a training corpus (never of the packages that are kept for
evaluation), notes the signals of each suggestion and whether it is right, and fits a logistic function, whose constants
it writes to `completion/confidence.json`, beside those for other models.

    python -m bench.quality.calibrate CORPUS/files.jsonl [--count 1500]
    python -m bench.quality.calibrate CORPUS/files.jsonl --model FILE.gguf --rows ROWS [--rows OTHER_MODELS_ROWS]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import results
from bench.quality.positions import Position, corpus_positions
from completion import confidence
from completion.api import CompletionRequest
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model.api import Engine
from model.hub import DEFAULT_MODEL, pull
from model.local import LocalEngine
from model.train.start import shipped_adapter

SEED = 11
_RIDGE, _RIDGE_TO_OWN = 5.0, 200.0
_ROUNDS = 50
_THRESHOLDS = {"quiet": 0.5, "balanced": 0.24, "eager": 0.05}

Vector = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Observation:
    """A suggestion's signals, and whether it was right."""

    signals: dict[str, float]
    right: bool


async def observe(engine: Engine, positions: list[Position], *, until_s: float) -> list[Observation]:
    """What is suggested at each position, as far as anything is, until a moment of `time.monotonic`."""
    settings = CompletionSettings(look_ahead=False, time_limit_ms=None, context=False)
    found: list[Observation] = []
    for position in positions:
        if time.monotonic() > until_s:
            break
        completer = EngineCompleter(engine, settings)
        request = CompletionRequest(text=position.text, offset=position.offset, path=position.path)
        (suggestion,) = await completer.attempt(request)
        if suggestion.text and suggestion.explanation.signals:
            found.append(Observation(dict(suggestion.explanation.signals), position.right(suggestion.text)))
    return found


def fit(observations: list[Observation], *, own: Mapping[str, float] | None = None) -> tuple[float, dict[str, float]]:
    """Bias and weights of the ridge-regularised logistic regression, by Newton's method on standardized signals.

    With `own` weights are drawn towards these, strongly, instead of towards 0: for another model, of which too little
    is observed to tell what a token of one in a thousand means. No token's greater probability ever makes a text less
    likely: what would turn a sign is left out, the worst first.
    """
    apart = [_apart(one.signals) for one in observations]
    right = np.array([float(one.right) for one in observations])
    names = list(apart[0])
    aims = None if own is None else _apart_weights(own)
    while True:
        raw = np.array([[signals[name] for name in names] for signals in apart])
        spread = raw.std(0)
        bias, weights = _newton(raw, right, None if aims is None else np.array([aims[name] for name in names]))
        wrong = [place for place, name in enumerate(names) if name in _SURER and weights[place] < 0]
        if not wrong:
            break
        del names[min(wrong, key=lambda place: weights[place] * spread[place])]
    found = dict.fromkeys(observations[0].signals, 0.0) | dict(zip(names, map(float, weights), strict=True))
    return bias, found | {"first": found["first"] - found["joint"]}


_SURER = frozenset({"joint", "probability", "mean", "least", "first"})
"""These grow with the probability of a token."""


def _apart(signals: Mapping[str, float]) -> dict[str, float]:
    """The signals with the first token's share taken out of the joint one, so that each token is weighed once."""
    return {**signals, "joint": signals["joint"] - signals["first"]}


def _apart_weights(weights: Mapping[str, float]) -> dict[str, float]:
    """The weights that give what `weights` do, for signals that `_apart` gives."""
    return {**weights, "first": weights["first"] + weights["joint"]}


def _newton(raw: Vector, right: Vector, aims: Vector | None) -> tuple[float, Vector]:
    """Bias and weights for signals [observations, names], drawn towards `aims` [names], or towards 0."""
    mean, spread = raw.mean(0), raw.std(0)
    spread[spread == 0] = 1.0
    design = np.hstack([np.ones((len(raw), 1)), (raw - mean) / spread])
    penalty = np.full(design.shape[1], _RIDGE if aims is None else _RIDGE_TO_OWN)
    penalty[0] = 0.0
    centre: Vector = np.zeros(design.shape[1])
    if aims is not None:
        centre[1:] = aims * spread
    weights = centre.copy()
    for _ in range(_ROUNDS):
        guess = 1 / (1 + np.exp(-design @ weights))
        gradient = design.T @ (guess - right) + penalty * (weights - centre)
        curvature = (design.T * (guess * (1 - guess))) @ design + np.diag(penalty)
        weights -= np.linalg.solve(curvature, gradient)
    plain: Vector = weights[1:] / spread
    return float(weights[0] - plain @ mean), plain


def expected_error(probabilities: list[float], right: list[bool], *, bins: int = 10) -> float:
    """Expected calibration error over bins of equal width."""
    error = 0.0
    for number in range(bins):
        inside = [
            (value, hit)
            for value, hit in zip(probabilities, right, strict=True)
            if min(bins - 1, int(value * bins)) == number
        ]
        if inside:
            error += abs(sum(value for value, _ in inside) - sum(hit for _, hit in inside))
    return error / max(1, len(probabilities))


def report(
    observations: list[Observation], *, source: dict[str, Any], own: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The file's content: constants of all observations, and the error on a fifth that was fitted without."""
    kept = observations[::5]
    others = [one for number, one in enumerate(observations) if number % 5]
    bias, weights = fit(others, own=own)
    trial = confidence.Calibration(bias, weights, {})
    guesses = [trial.probability(one.signals) for one in kept]
    bias, weights = fit(observations, own=own)
    return {
        "bias": round(bias, 5),
        "weights": {name: round(value, 5) for name, value in weights.items()},
        "fitted": source
        | {
            "command": "python -m bench.quality.calibrate CORPUS",
            "date": datetime.now(UTC).date().isoformat(),
            "suggestions": len(observations),
            "right": round(sum(one.right for one in observations) / len(observations), 4),
            "expected_error_on_a_fifth": round(expected_error(guesses, [one.right for one in kept]), 4),
            "ridge": _RIDGE if own is None else _RIDGE_TO_OWN,
        },
    }


def read_rows(path: Path) -> list[Observation]:
    """The observations of an earlier run."""
    return [Observation(**json.loads(row)) for row in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path: Path, observations: Sequence[Observation]) -> None:
    """Keep them, a line each."""
    lines = [json.dumps({"signals": one.signals, "right": one.right}) + "\n" for one in observations]
    path.write_text("".join(lines), encoding="utf-8")


def enter(path: Path, name: str, fitted: dict[str, Any]) -> None:
    """Put the constants for one kind of models beside the others' in the file that ships."""
    models = json.loads(path.read_text(encoding="utf-8"))["models"] if path.exists() else {}
    whole = {"thresholds": _THRESHOLDS, "models": models | {name: fitted}}
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Parse, ask, fit, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality.calibrate", description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument(
        "--model", type=Path, help="a checkpoint that somebody else trained; by default the embedded one"
    )
    parser.add_argument("--count", type=int, default=1500)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop asking after this time")
    parser.add_argument("--out", type=Path, default=Path(confidence.__file__).with_name("confidence.json"))
    parser.add_argument(
        "--rows", type=Path, action="append", default=[], help="also keep the observations here; fit more files' too"
    )
    parser.add_argument("--from-rows", action="store_true", help="fit what --rows has, and ask nothing")
    arguments = parser.parse_args()
    if arguments.from_rows and not arguments.rows:
        parser.error("--from-rows needs --rows FILE, as an earlier run has written it.")
    positions = corpus_positions(arguments.corpus, count=arguments.count, seed=SEED)
    adapter = shipped_adapter(DEFAULT_MODEL) if arguments.model is None else None
    if not arguments.from_rows:
        engine = LocalEngine.load(arguments.model or pull(DEFAULT_MODEL), adapter=adapter, threads=1)
        asked = asyncio.run(_ask(engine, positions, time.monotonic() + 60 * arguments.minutes))
        if arguments.rows:
            write_rows(arguments.rows[0], asked)
        observations = asked + [one for path in arguments.rows[1:] for one in read_rows(path)]
    else:
        observations = [one for path in arguments.rows for one in read_rows(path)]
    source: dict[str, Any] = {"positions": len(positions), "seed": SEED}
    if adapter is not None:
        source["adapter_sha256"] = results.sha256(adapter)
    name = confidence.OTHERS if arguments.model else confidence.OWN
    found = report(observations, source=source, own=confidence.shipped().weights if arguments.model else None)
    enter(arguments.out, name, found)
    print(arguments.out.read_text(encoding="utf-8"))


async def _ask(engine: LocalEngine, positions: list[Position], until_s: float) -> list[Observation]:
    try:
        return await observe(engine, positions, until_s=until_s)
    finally:
        await engine.aclose()


if __name__ == "__main__":
    main()
