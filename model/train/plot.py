"""Draws a run's log: loss and validation over tokens. Needs matplotlib."""

from __future__ import annotations

import json
from pathlib import Path

_SMOOTHING = 0.05


def draw_loss(log: Path, path: Path) -> None:
    """Training loss (with a running mean), validation loss, and the share of validation answers exactly right."""
    from matplotlib.figure import Figure

    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    steps = [row for row in rows if "norm" in row]
    checks = [row for row in rows if "validation" in row]
    tokens = [row["tokens"] / 1e6 for row in steps]
    checked = [row["tokens"] / 1e6 for row in checks]
    smooth, value = [], steps[0]["loss"] if steps else 0.0
    for row in steps:
        value += _SMOOTHING * (row["loss"] - value)
        smooth.append(value)
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(tokens, [row["loss"] for row in steps], color="0.85", linewidth=0.8)
    axes.plot(tokens, smooth, label="training loss, running mean")
    axes.plot(checked, [row["validation"]["loss"] for row in checks], "o-", label="validation loss")
    axes.set(xlabel="million tokens", ylabel="nats per answer token")
    axes.legend(loc="upper right")
    exact = axes.twinx()
    exact.plot(checked, [row["validation"]["exact"] for row in checks], "s--", color="tab:green")
    exact.set(ylabel="validation answers exactly right (dashed)", ylim=(0, 0.6))
    figure.savefig(path, dpi=120)
