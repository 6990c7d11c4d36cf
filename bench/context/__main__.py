"""`python -m bench.context`: finds what the next line needs? What does the index cost? Writes JSON and a plot.

The packages are those held out of every training corpus; they are fetched once, as wheels, into the cache folder.
"""

from __future__ import annotations

import argparse
import site
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from bench import results
from bench.context import quality, speed
from bench.context.tasks import sample
from model.paths import cache_dir

HELD_OUT = (
    "more-itertools", "boltons", "tinydb", "toolz", "attrs", "cattrs", "structlog", "marshmallow", "parso", "peewee",
    "returns", "trio", "litestar", "fastmcp", "flask", "requests", "tornado", "scrapy", "celery", "jedi", "rope",
    "werkzeug", "networkx", "rich", "starlette",
)  # fmt: skip
AIM_HIT_AT_5, AIM_BM25_AT_5 = 0.85, 0.6
AIM_FILES_PER_S, AIM_UPDATE_MS, AIM_QUERY_MS = 300, 50, 15


def fetch(names: tuple[str, ...], folder: Path) -> list[Path]:
    """One folder a package, with its modules as they would be installed; fetched where they are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    roots = []
    for name in names:
        root = folder / name
        if not root.exists():
            with tempfile.TemporaryDirectory() as wheels:
                command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
                subprocess.run([*command, "-d", wheels, name], check=True)
                for wheel in Path(wheels).glob("*.whl"):
                    zipfile.ZipFile(wheel).extractall(root)
        roots.append(root)
    return roots


def draw(figures: dict[str, Any], path: Path) -> None:
    """hit@1, hit@5 and MRR of the three methods, side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measures = ("hit_at_1", "hit_at_5", "mrr")
    figure, axes = pyplot.subplots(figsize=(6, 3.2), layout="constrained")
    for index, method in enumerate(quality.METHODS):
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


def main() -> int:
    """Print the figures and save them; 1 if an aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-package", type=int, default=30)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--no-speed", action="store_true", help="measure quality alone")
    arguments = parser.parse_args()
    roots = fetch(HELD_OUT, cache_dir() / "bench" / "held-out")
    with tempfile.TemporaryDirectory() as folder:
        figures = quality.measure(sample(roots, per_package=arguments.per_package, seed=1), Path(folder))
        aims = {
            "hit_at_5": figures["ours"]["hit_at_5"] >= AIM_HIT_AT_5,
            "bm25": figures["bm25"]["hit_at_5"] <= AIM_BM25_AT_5,
        }
        if not arguments.no_speed:
            # Twice over if need be: a copy of a package is as much work as another.
            sources = [*map(Path, site.getsitepackages()), *roots, *map(Path, site.getsitepackages())]
            costs = speed.measure(sources, Path(folder), files=arguments.files)
            figures["costs"] = costs
            aims |= {
                "files_per_s": costs["files_per_cpu_s"] >= AIM_FILES_PER_S,
                "update_ms": costs["update_ms_p50"] <= AIM_UPDATE_MS,
                "query_ms": costs["query_limited_ms_p95"] <= AIM_QUERY_MS,
                "index_size": costs["index_mb"] <= costs["tree_mb"],
            }
    figures["aims_met"] = aims
    draw(figures, results.save("context", figures).with_suffix(".png"))
    for name in quality.METHODS:
        print(name, figures[name])
    print(figures.get("costs", ""), aims)
    return 0 if all(aims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
