"""Draws bench.terse: shares beside the plain rules', and how well confidence is calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_SHARES = {
    "right_of_all": "right, of all cursors",
    "wrong_of_all": "wrong, of all cursors",
    "too_long_of_begun_right": "too long, of those begun right",
    "said_where_nothing_is_missing": "said where nothing is missing",
    "repeats_suffix": "repeats what follows",
    "breaks_parsing": "breaks a file that parsed",
}


def draw(found: dict[str, Any], path: Path) -> None:
    """Bars for each contender, and the reliability diagram."""
    figure, (bars, diagram) = plt.subplots(1, 2, figsize=(12, 5), layout="constrained")
    contenders = found["contenders"]
    height = 0.8 / len(contenders)
    for number, (name, own) in enumerate(contenders.items()):
        places = [place + height * number for place in range(len(_SHARES))]
        bars.barh(places, [own[key]["share"] for key in _SHARES], height=0.9 * height, label=name)
    bars.set_yticks([place + 0.4 - height / 2 for place in range(len(_SHARES))], list(_SHARES.values()))
    bars.invert_yaxis()
    bars.set(xlabel="share", title=f"{found['positions']} cursors in held-out packages")
    rows = found["calibration"]["bins"]
    diagram.plot([0, 1], [0, 1], "k:", linewidth=1)
    diagram.plot([row["confidence"] for row in rows], [row["right"] for row in rows], "o-")
    for row in rows:
        diagram.annotate(str(row["count"]), (row["confidence"], row["right"]), fontsize=8)
    error = found["calibration"]["expected_error"]
    diagram.set(xlabel="confidence", ylabel="share that is right", title=f"expected calibration error {error:.3f}")
    bars.legend(fontsize=8)
    figure.savefig(path, dpi=120)
    plt.close(figure)
