"""How benches report: one JSON and one plot a claim, with the machine they ran on, and a table for people."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from tersely import __version__

FOLDER = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What a figure depends on beside the code."""
    import torch

    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load_before": round(psutil.getloadavg()[0], 2),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def save(name: str, figures: dict[str, Any]) -> Path:
    """Write `bench/results/NAME.json`; return its path."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    stamp = {"bench": name, "version": __version__, "date": datetime.now(UTC).date().isoformat()}
    path.write_text(json.dumps(stamp | {"machine": machine()} | figures, indent=1, ensure_ascii=False) + "\n")
    return path


def sha256(path: Path) -> str:
    """Of a file that was measured."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` (0 … 1) of the values lie, by the nearest-rank method."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, round(share * len(ranked) + 0.5) - 1))]
