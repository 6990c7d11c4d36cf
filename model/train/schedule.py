"""Learning rate by warm-up, stable phase and decay: a run can go on for as long as it pays, and decays only to end.

(Hägele et al. 2024, "Scaling laws and compute-optimal training beyond fixed training durations": the decay takes
the shape 1 − √t.)
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decay:
    """The final phase: from `first_step`, over `steps` steps."""

    first_step: int
    steps: int


def factor(step: int, *, warmup_steps: int, decay: Decay | None) -> float:
    """What the peak learning rate is multiplied by at `step` (from 0). 0.0 after the decay's end."""
    warm = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    if decay is None or step < decay.first_step:
        return warm
    done = (step - decay.first_step + 1) / (decay.steps + 1)
    return warm * max(0.0, 1.0 - done**0.5) if done < 1 else 0.0
