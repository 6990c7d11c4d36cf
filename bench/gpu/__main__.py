"""`python -m bench.gpu`: one GPU, at most eight minutes. Kernels are checked first; then each model in each format."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from bench import results
from bench.gpu.check import check_all, failed
from bench.gpu.measure import bandwidth, free, measure
from bench.gpu.models import MODELS, TINY
from bench.gpu.peer import measure_peer
from model.device import device_dtype, pick_device

_LIMIT_S = 480.0
_OUR_SHARE = 0.6
"""Of the time, for ourselves; what is left is the peer's."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.gpu", description=__doc__)
    parser.add_argument("--model", action="append", help="Only this one; may be given several times.")
    parser.add_argument("--no-peer", action="store_true", help="Without HF transformers.")
    parser.add_argument("--limit", type=float, default=_LIMIT_S, metavar="SECONDS")
    parser.add_argument("--tiny", action="store_true", help="A dry run on tiny models, whose figures mean nothing.")
    parser.add_argument("--out", type=Path, help="Write the figures there instead of bench/results/gpu.json.")
    options = parser.parse_args(arguments)
    device = pick_device("auto")
    if device.type != "cuda" and not options.tiny:
        print("There is no GPU that torch can use: not yet measured here.")
        return 1
    figures = run(options, device)
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")
    elif not options.tiny:
        print(results.save("gpu", figures))
    print(table(figures))
    return 1 if figures["failed_checks"] else 0


def run(options: argparse.Namespace, device: torch.device) -> dict[str, Any]:
    """All figures; what the time did not reach is said, never guessed."""
    began = time.monotonic()
    dtype = device_dtype(device, "auto") if device.type == "cuda" else torch.float32
    checks = check_all(device, dtype)
    bytes_per_s = bandwidth(device, 1 << (24 if options.tiny else 32))
    sizes = (96, 40, 4) if options.tiny else (2048, 1024, 64)
    rows: dict[str, Any] = {}
    chosen = [model for model in (TINY if options.tiny else MODELS) if not options.model or model.name in options.model]
    for model in chosen:
        rows[model.name] = {"formats": []}
        for quantize in model.aims:
            if time.monotonic() - began > options.limit * _OUR_SHARE:
                rows[model.name]["formats"].append({"format": quantize, "skipped": "no time was left"})
                continue
            try:
                figures = measure(
                    model,
                    device=device,
                    dtype=dtype,
                    quantize=quantize,
                    bytes_per_s=bytes_per_s,
                    context_tokens=sizes[0],
                    prompt_tokens=sizes[1],
                    steps=sizes[2],
                )
            except Exception as error:  # noqa: BLE001 - a model that fails is a line of the report
                figures = {"format": quantize, "skipped": f"{type(error).__name__}: {str(error)[:300]}"}
            rows[model.name]["formats"].append(figures)
            free(device)
    # The peer comes last, so that what it takes is not taken from ourselves.
    for model in [] if options.no_peer else chosen:
        rows[model.name]["peer"] = measure_peer(
            model,
            device=device,
            dtype=dtype,
            context_tokens=sizes[0],
            steps=sizes[2] // 2,
            until=began + options.limit * 0.9,
        )
    return {
        "batch": 1,
        "context_tokens": sizes[0],
        "prompt_tokens": sizes[1],
        "bandwidth_gigabytes_per_s": round(bytes_per_s / 1e9, 1),
        "checks": checks,
        "failed_checks": failed(checks),
        "models": rows,
        "spent_s": round(time.monotonic() - began, 1),
    }


def table(figures: dict[str, Any]) -> str:
    """For people."""
    checks = ", ".join(figures["failed_checks"]) or "none"
    lines = [f"bandwidth {figures['bandwidth_gigabytes_per_s']} GB/s; failed checks: {checks}"]
    for name, row in figures["models"].items():
        for found in row["formats"]:
            if "skipped" in found:
                lines.append(f"{name} {found['format']}: not measured, {found['skipped']}")
                continue
            verdict = "met" if found["met"] else "missed"
            lines.append(
                f"{name} {found['format']}: {found['tokens_per_s']} tok/s, aim {found['aim']} ({verdict}), "
                f"{found['share_of_roofline']:.0%} of the roofline; "
                f"first token {found['first_token_cold_ms']} ms cold, {found['first_token_warm_8_ms']} ms warm"
            )
        if "peer" in row:
            lines.append(f"{name} transformers: {row['peer']}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
