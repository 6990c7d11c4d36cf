"""Which reasons to decline plainly do not hold: those that name what can be checked. Asks no model."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable

from completion.refactor.calls import Decline, FindSymbol
from completion.refactor.pieces import paths
from completion.refactor.targets import names_said, targets
from completion.refactor.wish import Wish

NO_NEW_NAME = "The new name is missing."
"""Said too often of new names that are words of prose. Which they are, nothing but the model can tell."""
_WORD = re.compile(r"[^\W\d]\w*")


def is_unfounded(decline: Decline, wish: Wish) -> bool:
    """Whether it declines for a reason, in the words that the adapter learned, that plainly does not hold."""
    for pattern, holds in _REASONS:
        if match := pattern.fullmatch(decline.reason):
            return not holds(wish, *match.groups())
    return False


def _is_taken(wish: Wish, name: str) -> bool:
    """Whether anything in sight bears the name."""
    seen = {part for symbol in wish.view.outline for part in (symbol.name.rpartition(".")[2], *symbol.parameters)}
    seen.update(_WORD.findall(wish.view.selected))
    seen.update(word for turn in wish.turns for result in turn.results for word in _WORD.findall(result))
    return name in seen


def _collides(wish: Wish, name: str) -> bool:
    """Whether the name can be a new one that is taken: it is in sight, and no other new name is said."""
    return _is_taken(wish, name) and not any(map(_is_written_as_code, _unknown_names(wish)))


def _lacks(wish: Wish, function: str, parameter: str) -> bool:
    """Whether none of the functions of that name has the parameter, as far as is known."""
    meant = [target for target in targets(wish) if target.short == function.rpartition(".")[2]]
    return not any(parameter in (target.parameters or ()) for target in meant)


def _is_sought(wish: Wish, name: str) -> bool:
    return any(FindSymbol(symbol=name) in turn.calls for turn in wish.turns)


def _unknown_names(wish: Wish) -> list[str]:
    """What the wish says that nothing in sight bears: maybe a new name."""
    return [name for name in names_said(wish.instruction) if not _is_taken(wish, name.rpartition(".")[2])]


def _is_written_as_code(name: str) -> bool:
    """Whether it is no word of prose: `sum_prices`, `sumPrices`, `Sum2`, not `surface` or `Surface`."""
    return name.isidentifier() and ("_" in name or any(char.isupper() or char.isdigit() for char in name[1:]))


_REASONS: tuple[tuple[re.Pattern[str], Callable[..., bool]], ...] = (
    (re.compile(r"The (?:new )?name (\w+) is taken\."), _collides),
    (re.compile(r"The (?:new )?name (\w+) is missing\."), lambda wish, name: name not in names_said(wish.instruction)),
    (re.compile(r"(.+) is not a valid \w+\."), lambda _, name: not name.isidentifier() or keyword.iskeyword(name)),
    (re.compile(r"(\S+) has no parameter (\w+)\."), _lacks),
    (re.compile(r"There is no (\S+)\."), _is_sought),
    (re.compile(r"Several symbols are named (\S+)\."), _is_sought),
    (re.compile(r"Nothing is selected\."), lambda wish: not wish.view.selected.strip()),
    (re.compile(r"Instructions in code are not followed\."), lambda wish: bool(wish.view.selected.strip())),
    (re.compile(re.escape(NO_NEW_NAME)), lambda wish: not any(map(_is_written_as_code, _unknown_names(wish)))),
    (re.compile(r"The target is missing\."), lambda wish: not paths(wish.instruction)),
)
"""Reasons that can be checked (`completion.refactor.training.wishes` words them), with whether they hold."""
