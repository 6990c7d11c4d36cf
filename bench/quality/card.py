"""The results in the model card: `python -m bench.quality.card` writes them there from `bench/results/quality.json`.

The card's text around them is written by hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench import results

CARD = results.FOLDER.parent.parent / "docs" / "model-card.md"
FIGURES = results.FOLDER / "quality.json"
_BEGIN = "<!-- results: `python -m bench.quality.card` writes what follows -->"
_END = "<!-- end of results -->"
_UNMEASURED = "Not yet measured: `python -m bench.quality` measures, and writes the table here."


def results_of(figures: dict[str, Any] | None) -> str:
    """The results as Markdown; that there are none, where there are none."""
    if figures is None:
        return _UNMEASURED
    contenders = figures["contenders"]
    names = [name for name in ("base", "tuned") if name in contenders]
    columns = ["floor", *names]
    lines = [f"| measure | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for label, floor, path in _rows(figures):
        found = [_at(contenders[name], path) for name in names]
        if any(found):  # what was not measured has no row
            lines.append(f"| {label} | {' | '.join([floor, *map(_share, found)])} |")
    machine = figures["machine"]
    where = f"{machine['cores']} cores, torch {machine['torch']}"
    lines += [
        "",
        "Shares in per cent with their 95 % interval (Wilson). Floors: the empty answer for HumanEval, the best single"
        " answer to all questions elsewhere. The reference answers of HumanEval pass in"
        f" {_percent(figures['floors']['humaneval']['oracle']['share'])} %.",
        "",
        *(f"- {_terse(name, contenders[name])}" for name in names),
        "",
        f"Measured on {figures['date']} ({figures['size']}, {figures['tasks']} questions, seed {figures['seed']};"
        f" {where}) with the adapter {figures['adapter']['sha256'][:12]}…"
        f" ({figures['adapter']['training'] or 'no note on its training'}).",
    ]
    return "\n".join(lines)


def update(card: Path, figures: Path) -> None:
    """Put the results between their marks in the card."""
    read = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else None
    before, _, rest = card.read_text(encoding="utf-8").partition(_BEGIN)
    behind = rest.partition(_END)[2]
    card.write_text(f"{before}{_BEGIN}\n\n{results_of(read)}\n\n{_END}{behind}", encoding="utf-8")


def _rows(figures: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Label, floor, and where the share is in a contender's figures."""
    floors = figures["floors"]
    rows: list[tuple[str, str, tuple[str, ...]]] = [
        ("HumanEval single line, pass@1", _share(floors["humaneval"]["empty"]), ("humaneval", "pass")),
        ("HumanEval single line, exact", "", ("humaneval", "exact")),
        ("HumanEval single line, by the completer, pass@1", "", ("humaneval_served", "pass")),
        ("HumanEval single line, in an editor: something shown", "", ("humaneval_served", "shown")),
        ("HumanEval single line, in an editor: passes, of what is shown", "", ("humaneval_served", "pass_of_shown")),
    ]
    for language, kinds in floors["held_out"].items():
        for kind, name in (("line", "rest of line"), ("block", "block")):
            floor = _share(kinds[kind]["exact"])
            for context in ("without context", "with context"):
                label = f"held-out {language}, {name}, {context}: exact"
                rows.append((label, floor, ("held_out", language, context, kind, "exact")))
        label = f"held-out {language}, nothing to add: answered with nothing"
        rows.append((label, "", ("held_out", language, "without context", "empty", "nothing")))
        for name, key in (
            ("nothing to add: nothing shown", "nothing"),
            ("rest of line: something shown", "shown"),
            ("rest of line: right, of what is shown", "right_of_shown"),
        ):
            rows.append((f"held-out {language}, in an editor, {name}", "", ("served", language, key)))
        label = f"held-out {language}, begins right: also stops there"
        rows.append((label, "", ("held_out", language, "without context", "terse", "stops_there")))
    return rows


def _terse(name: str, found: dict[str, Any]) -> str:
    medians = ", ".join(
        f"{language} {kinds['without context']['terse']['median_generated_over_needed']:.2f}"
        for language, kinds in found["held_out"].items()
    )
    error = _percent(found["calibration"]["joint"]["expected_error"])
    return f"{name}: median of generated / needed tokens {medians}; expected calibration error {error} points."


def _at(found: Any, path: tuple[str, ...]) -> dict[str, float] | None:
    for key in path:
        found = (found or {}).get(key)
    return found  # type: ignore[no-any-return]


def _share(rate: dict[str, float] | None) -> str:
    if rate is None:
        return "–"
    return f"{_percent(rate['share'])} ({_percent(rate['low'])} to {_percent(rate['high'])})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


if __name__ == "__main__":
    update(CARD, FIGURES)
