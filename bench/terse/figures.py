"""From answers to figures. What is right is what the author wrote, or whole first lines of it."""

from __future__ import annotations

import ast
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from tree_sitter import Parser

from bench.quality import measure as quality
from bench.quality.calibrate import expected_error
from bench.quality.positions import Position
from bench.terse.ask import ALONE, INFILL, TERSELY, Row
from completion import confidence
from completion.api import Level
from completion.context.grammars import grammar
from completion.language import detect

_LEAST_CHARACTERS = 3
_BINS = 10


def figures(positions: Sequence[Position], rows: Sequence[Row]) -> dict[str, Any]:
    """All figures, by contender; of tersely also by level, and how well its confidence is calibrated."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.contender, []).append(row)
    ours = by_name.pop(TERSELY)
    alone = by_name.pop(ALONE, [])
    levels = confidence.shipped().thresholds
    equal = {name: _at_equal_exact_match(positions, ours, theirs) for name, theirs in by_name.items()}
    if alone:
        equal[f"{INFILL}, both with the file alone"] = _at_equal_exact_match(positions, alone, by_name[INFILL])

    def balanced(rows: Sequence[Row]) -> list[Row]:
        return [row if sure(row) >= levels[Level.BALANCED] else _silent(row) for row in rows]

    return {
        "positions": len(positions),
        "kinds": {kind: sum(one.kind == kind for one in positions) for kind in sorted({one.kind for one in positions})},
        "contenders": {
            TERSELY: measure(positions, balanced(ours)),
            "tersely, whatever it is sure of": measure(positions, ours),
            **({ALONE: measure(positions, balanced(alone))} if alone else {}),
            **{name: measure(positions, theirs) for name, theirs in by_name.items()},
        },
        "shown_by_level": {level.value: _shown(positions, ours, least) for level, least in levels.items()},
        "shown_but_wrong_at_equal_exact_match": equal,
        "calibration": _calibration(positions, ours),
        "veto_on_and_off": _veto_on_and_off(positions, ours),
    }


def measure(positions: Sequence[Position], rows: Sequence[Row]) -> dict[str, Any]:
    """One contender's figures; shares of what is shown, unless said otherwise."""
    shown = [(positions[row.position], row) for row in rows if row.text.strip()]
    begun = [(one, row) for one, row in shown if one.reference.strip() and _begins_right(one, row.text)]
    filled = [row for row in rows if positions[row.position].reference.strip()]
    exact = [row for one, row in shown if _exact(one, row.text)]
    needed = sum(row.needed_tokens for row in filled)
    return {
        "shown_of_all": rate([bool(row.text.strip()) for row in rows]),
        "right_of_all": rate([positions[row.position].right(row.text) for row in rows]),
        "wrong_of_all": rate([bool(row.text.strip()) and not positions[row.position].right(row.text) for row in rows]),
        "exact_of_all": rate([_exact(positions[row.position], row.text) for row in rows]),
        "right": rate([one.right(row.text) for one, row in shown]),
        "generated_over_needed": round(sum(row.generated_tokens for row in filled) / needed, 3),
        "generated_over_needed_median": round(
            statistics.median(row.generated_tokens / max(1, row.needed_tokens) for row in filled), 3
        ),
        "generated_over_needed_where_exact": round(
            sum(row.generated_tokens for row in exact) / max(1, sum(row.needed_tokens for row in exact)), 3
        ),
        "too_long_of_begun_right": rate([len(row.text.rstrip()) > len(one.reference.rstrip()) for one, row in begun]),
        "said_where_nothing_is_missing": rate(
            [bool(row.text.strip()) for row in rows if not positions[row.position].reference.strip()]
        ),
        "repeats_suffix": rate([repeats_suffix(one, row.text) for one, row in shown]),
        "breaks_parsing": rate([breaks(one, row.text) for one, row in shown]),
        "leaves_unparsable": rate([not parses(one.language, one.path, one.filled(row.text)) for one, row in shown]),
    }


def rate(hits: Sequence[bool]) -> dict[str, float]:
    """A share with its interval; of nothing at all, anything is possible."""
    return quality.rate(hits) if hits else {"share": 0.0, "low": 0.0, "high": 1.0}


def sure(row: Row) -> float:
    """The confidence as the constants that ship now have it."""
    return confidence.shipped().probability(row.signals) if row.signals else 0.0


def repeats_suffix(position: Position, text: str) -> bool:
    """Does a text end in what stands behind the cursor already, where the author's did not?"""
    said = text.rstrip()
    rest, _, below = position.text[position.offset :].partition("\n")
    if _ends_in(said, rest.strip()) and not _ends_in(position.reference.rstrip(), rest.strip()):
        return True
    following = next((line for line in below.split("\n") if line.strip()), "")
    last = said.rpartition("\n")[2] if "\n" in said or not _line_before(position).strip() else ""
    alike = last.strip() == following.strip() and len(last.strip()) >= _LEAST_CHARACTERS
    theirs = position.reference.rstrip().rpartition("\n")[2].strip()
    return alike and theirs != following.strip()


def _ends_in(text: str, rest: str) -> bool:
    return len(rest) >= _LEAST_CHARACTERS and text.endswith(rest)


def _line_before(position: Position) -> str:
    return position.text[: position.offset].rpartition("\n")[2]


def breaks(position: Position, text: str) -> bool:
    """Can a file that could be parsed no longer be? Python's own parser judges Python."""
    language, path = position.language, position.path
    return parses(language, path, position.text) and not parses(language, path, position.filled(text))


def parses(language: str, path: str, text: str) -> bool:
    """Is a text whole, by Python's own parser or tree-sitter's?"""
    if language == "python":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ast.parse(text)
        except (SyntaxError, ValueError):
            return False
        return True
    return not _parser(detect(path=path).id).parse(text.encode("utf-8", "replace")).root_node.has_error


@cache
def _parser(language_id: str) -> Parser:
    found = grammar(language_id)
    assert found is not None
    assert found.parser.language is not None
    return Parser(found.parser.language)


def _begins_right(position: Position, text: str) -> bool:
    return text.rstrip().startswith(position.reference.rstrip())


def _silent(row: Row) -> Row:
    return Row(row.position, row.contender, "", row.generated_tokens, row.needed_tokens, row.stop_reason, row.signals)


def _shown(positions: Sequence[Position], rows: Sequence[Row], least: float) -> dict[str, Any]:
    shown = [row for row in rows if row.text.strip() and sure(row) >= least]
    right = sum(positions[row.position].right(row.text) for row in shown)
    return {
        "threshold": least,
        "shown": round(len(shown) / len(rows), 4),
        "right": round(right / len(rows), 4),
        "wrong": round((len(shown) - right) / len(rows), 4),
    }


def _at_equal_exact_match(positions: Sequence[Position], ours: Sequence[Row], theirs: Sequence[Row]) -> dict[str, Any]:
    """How much is shown and wrong once the surest suggestions have as many right as the other has in all."""
    wanted = sum(positions[row.position].right(row.text) for row in theirs)
    wrong_theirs = sum(bool(row.text.strip()) for row in theirs) - wanted
    right = wrong = 0
    for row in sorted((row for row in ours if row.text.strip()), key=sure, reverse=True):
        if right >= wanted:
            break
        hit = positions[row.position].right(row.text)
        right, wrong = right + hit, wrong + (not hit)
    return {
        "right": round(wanted / len(theirs), 4),
        "right_ours": round(right / len(ours), 4),
        "wrong": round(wrong_theirs / len(theirs), 4),
        "wrong_ours": round(wrong / len(ours), 4),
    }


def _calibration(positions: Sequence[Position], rows: Sequence[Row]) -> dict[str, Any]:
    told = [(sure(row), positions[row.position].right(row.text)) for row in rows if row.text.strip() and row.signals]
    bins = []
    for number in range(_BINS):
        inside = [(value, hit) for value, hit in told if min(_BINS - 1, int(value * _BINS)) == number]
        if inside:
            bins.append(
                {
                    "count": len(inside),
                    "confidence": round(statistics.fmean(value for value, _ in inside), 4),
                    "right": round(statistics.fmean(hit for _, hit in inside), 4),
                }
            )
    return {
        "expected_error": round(expected_error([value for value, _ in told], [hit for _, hit in told]), 4),
        "bins": bins,
    }


def _veto_on_and_off(positions: Sequence[Position], rows: Sequence[Row]) -> dict[str, Any]:
    """What is said with vetoes and without: where none struck, that is the same."""
    struck = [row for row in rows if row.vetoes]
    free = [replace(row, text=row.without_veto or "") if row.vetoes else row for row in rows]
    said = {"on": rows, "off": free}
    return {
        "cursors": len(rows),
        "struck": len(struck),
        "exact": {
            name: rate([_exact(positions[row.position], row.text) for row in each]) for name, each in said.items()
        },
        "right": {name: rate([positions[row.position].right(row.text) for row in each]) for name, each in said.items()},
        "mended": sum(_gained(positions[one.position], one.text, one.without_veto or "") for one in struck),
        "spoilt": sum(_gained(positions[one.position], one.without_veto or "", one.text) for one in struck),
        "reasons": [reason for row in struck for reason in row.vetoes][:40],
    }


def _exact(position: Position, text: str) -> bool:
    return text.rstrip() == position.reference.rstrip()


def _gained(position: Position, text: str, other: str) -> bool:
    return position.right(text) and not position.right(other)
