"""The data card as people read it: what the model learned from, and what was left out."""

from __future__ import annotations

from collections import Counter
from typing import Any

_REASONS = {
    "package limit": "more of a package than its limit",
    "foreign": "vendored, or built by a tool",
    "size": "too short or too long",
    "compiled": "compiled from another source",
    "generated": "says that it is generated",
    "minified": "minified",
    "near duplicate": "near copy of another file, or of a held-out one",
    "data": "mostly numbers",
    "repetitive": "mostly equal lines",
    "encoding": "not UTF-8",
    "evaluation overlap": "shares a long line with HumanEval",
}


def markdown(card: dict[str, Any], *, held_out: list[str]) -> str:
    """A document from what `corpus.save` wrote as `card.json`."""
    packages = [package for package in card["packages"] if package["files"]]
    lines = [
        "# Data card of the embedded model's adapter",
        "",
        "Source files of well-known packages from PyPI (wheels) and npm (tarballs), under MIT, BSD or Apache licences",
        "by their own metadata. `model/train/sources.json` pins the versions; `model/train/corpus.py` builds the",
        "corpus; no corpus text is in this repository.",
        "",
        "| language | files | million characters |",
        "|---|---|---|",
        *(f"| {name} | {card['files'][name]} | {card['chars'][name] / 1e6:.1f} |" for name in sorted(card["files"])),
        "",
        "Tests weigh a fifth of other files. A package weighs as if it had no more than 400,000 characters, and less",
        "the more of it was left out. One package in 25 is kept for validation.",
        "",
        "## Left out",
        "",
        "| why | files |",
        "|---|---|",
        *(f"| {_REASONS.get(why, why)} | {count} |" for why, count in Counter(card["left_out"]).most_common()),
        "",
        "Any file that shares a line of 40 characters or more with HumanEval is left out"
        f" ({card['left_out'].get('evaluation overlap', 0)} were). Held out for the evaluation, with every near copy:",
        ", ".join(sorted(held_out)) + ".",
        "",
        "Packages that were fetched and not used: "
        + "; ".join(f"{name} ({why})" for name, why in sorted(card["skipped_packages"].items()))
        + ".",
        "",
        f"## The {len(packages)} packages",
        "",
        "| registry | package | version | licence | files | thousand characters |",
        "|---|---|---|---|---|---|",
        *(_row(package) for package in packages),
        "",
    ]
    return "\n".join(lines)


def _row(package: dict[str, Any]) -> str:
    licence = package["licence"].splitlines()[0]
    cells = (package["ecosystem"], package["name"], package["version"], licence, package["files"])
    return f"| {' | '.join(map(str, cells))} | {package['chars'] / 1000:.0f} |"
