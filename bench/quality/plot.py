"""Draws the report: rates beside the base's, and the reliability diagram."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt


def draw(figures: dict[str, Any], path: Path) -> None:
    """A bar for every rate of every contender with its interval, and each contender's reliability."""
    contenders = figures["contenders"]
    figure, (bars, diagram) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    labels = list(_rates(next(iter(contenders.values()))))
    for number, (name, found) in enumerate(contenders.items()):
        rates = _rates(found)
        places = [place + 0.4 * number for place in range(len(labels))]
        shares = [rates[label]["share"] for label in labels]
        below = [rates[label]["share"] - rates[label]["low"] for label in labels]
        above = [rates[label]["high"] - rates[label]["share"] for label in labels]
        bars.barh(places, shares, height=0.38, xerr=[below, above], label=name)
        reliability = found["calibration"]["joint"]["bins"]
        diagram.plot(
            [row["confidence"] for row in reliability], [row["exact"] for row in reliability], "o-", label=name
        )
    floors = {labels.index(label): share for label, share in _floors(figures["floors"]).items()}
    bars.plot(list(floors.values()), [place + 0.2 for place in floors], "k|", markersize=16, label="floor")
    bars.set_yticks([place + 0.2 for place in range(len(labels))], labels)
    bars.invert_yaxis()
    bars.set(xlabel="share, with 95 % interval", xlim=(0, 1))
    diagram.plot([0, 1], [0, 1], "k:", linewidth=1)
    diagram.set(xlabel="probability of the answer", ylabel="share that matches exactly", xlim=(0, 1), ylim=(0, 1))
    for axes in (bars, diagram):
        axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _rates(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    rates = {"HumanEval line, pass@1": found["humaneval"]["pass"]}
    for language, by_context in found["held_out"].items():
        for context, kinds in by_context.items():
            rates |= {f"{language} {kind}, {context}": kinds[kind]["exact"] for kind in ("line", "block")}
        rates[f"{language} nothing to add"] = by_context["without context"]["empty"]["nothing"]
    return rates


def _floors(found: dict[str, Any]) -> dict[str, float]:
    floors: dict[str, float] = {"HumanEval line, pass@1": found["humaneval"]["empty"]["share"]}
    for language, kinds in found["held_out"].items():
        for context in ("without context", "with context"):
            floors |= {f"{language} {kind}, {context}": kinds[kind]["exact"]["share"] for kind in ("line", "block")}
    return floors
