"""`python -m bench.context`: finds what the next line needs? What does the index cost? Writes JSON and a plot.

The packages are those held out of every training corpus, one half of them for tuning and one that reports; they are
fetched once, as wheels, into the cache folder. `--tuning` asks the tuning half, and saves nothing.
"""

from __future__ import annotations

import argparse
import json
import site
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from bench import results
from bench.context import quality, speed
from bench.context.packages import HELD_OUT, REPORTING, TUNING, fetch
from bench.context.tasks import sample

AIM_HIT_AT_5, AIM_BM25_AT_5 = 0.85, 0.6
AIM_FILES, AIM_FILES_PER_S, AIM_UPDATE_MS, AIM_QUERY_MS, AIM_GROWTH_MB = 20_000, 300, 50, 15, 150


def draw(figures: dict[str, Any], path: Path) -> None:
    """hit@1, hit@5 and MRR of three methods, side by side; of BM25 the variant that did best."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measures = ("hit_at_1", "hit_at_5", "mrr")
    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    for index, method in enumerate(("ours", figures["best_bm25"], "tabs")):
        heights = [figures[method][measure] for measure in measures]
        bars = axes.bar([place + 0.27 * (index - 1) for place in range(3)], heights, width=0.25, label=method)
        axes.bar_label(bars, fmt="%.2f", fontsize=8)
    axes.set_xticks(range(3), ["hit@1", "hit@5", "MRR"])
    axes.set_ylim(0, 1)
    axes.set_title(
        f"The definition that a masked line uses ({figures['tasks']} lines of held-out packages)", fontsize=9
    )
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


def judge(figures: dict[str, Any]) -> dict[str, bool]:
    """Which aims are met."""
    aims = {
        "hit_at_5": figures["ours"]["hit_at_5"] >= AIM_HIT_AT_5,
        "bm25": figures[figures["best_bm25"]]["hit_at_5"] <= AIM_BM25_AT_5,
    }
    costs = figures.get("costs")
    if costs is not None:
        aims |= {
            "files": costs["files_indexed"] >= AIM_FILES,
            "files_per_s": costs["files_per_cpu_s"] >= AIM_FILES_PER_S,
            "update_ms": costs["update_cpu_ms"]["p95"] <= AIM_UPDATE_MS,
            "query_ms": costs["query_limited"]["cpu_ms"]["p95"] <= AIM_QUERY_MS,
            "growth_mb": costs["reader_growth_mb"] <= AIM_GROWTH_MB,
            "index_size": costs["index_mb"] <= costs["tree_mb"],
        }
    return aims


def main() -> int:
    """Print the figures and save them; 1 if an aim is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.context", description=__doc__)
    parser.add_argument("--per-package", type=int, default=30)
    parser.add_argument("--files", type=int, default=20_500)
    parser.add_argument("--no-speed", action="store_true", help="measure quality alone")
    parser.add_argument("--no-quality", action="store_true", help="measure costs alone, and keep the quality as saved")
    parser.add_argument("--tuning", action="store_true", help="ask the tuning half; saves nothing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if arguments.no_quality:
            saved = json.loads((results.FOLDER / "context.json").read_text(encoding="utf-8"))
            figures = {name: saved[name] for name in saved if name not in ("bench", "version", "date", "machine")}
        else:
            roots = fetch(TUNING if arguments.tuning else REPORTING)
            figures = quality.measure(sample(roots, per_package=arguments.per_package, seed=1), folder)
            figures["packages"] = {"tuning": list(TUNING), "reporting": list(REPORTING)}
        if not arguments.no_speed:
            installed = [Path(sysconfig.get_path("stdlib")), *map(Path, site.getsitepackages()), *fetch(HELD_OUT)]
            figures["costs"] = speed.measure(installed, folder, files=arguments.files)
    figures["aims_met"] = aims = judge(figures)
    if not arguments.tuning:
        draw(figures, results.save("context", figures).with_suffix(".png"))
    for method in quality.METHODS:
        print(method, figures[method])
    print(figures["by_kind"], figures.get("costs", ""), aims, sep="\n")
    return 0 if all(aims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
