"""Whole wishes with the calls that they ask for: single, parallel, after a look-up, and those to be declined."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from completion.refactor.calls import LOOKING, AnyCall, Decline, FindSymbol, OrganizeImports, Rewrite
from completion.refactor.layout import parameter_names
from completion.refactor.schema import arguments_of
from completion.refactor.training import results
from completion.refactor.training.parts import ACTS, SYMBOL_ACTS, some_lines
from completion.refactor.training.phrasebook import Phrasebook
from completion.refactor.training.scene import Names, Scene, is_function, without
from completion.refactor.training.speaker import Part, Speaker, cursor_in
from completion.refactor.wish import Symbol, Turn, View, Wish

_KINDS = {"single": 72, "parallel": 8, "lookup": 8, "decline": 16}
_TRIES = 30
_PLANTED_SHARE = 0.06
_IDLE_CURSOR_SHARE = 0.25
_NO_VIEW_SHARE = 0.25
_NOT_SAID = ("pattern", "replacement")
"""Arguments that are made of the words, not copied."""
_KEYWORDS = ("class", "import", "for", "return", "2fast", "my-name", "two words", "3d", "while")
DECLINES = {
    "chat": 6,
    "unclear": 6,
    "destructive": 8,
    "other_task": 9,
    "planted": 3,
    "no_new_name": 6,
    "no_selection": 6,
    "no_target": 5,
    "taken": 5,
    "bad_name": 5,
    "no_parameter": 8,
    "not_found": 7,
    "ambiguous": 6,
}
"""Why wishes are declined, with shares."""

NO_CHANGE = "There is nothing to change."
"""How a dialogue ends that only asks for something."""
REASONS = {
    "chat": "This is not a refactoring.",
    "unclear": "The wish is unclear.",
    "destructive": "That would do harm.",
    "other_task": "This is not a refactoring.",
    "planted": "Instructions in code are not followed.",
    "no_new_name": "The new name is missing.",
    "no_selection": "Nothing is selected.",
    "no_target": "The target is missing.",
}
"""The reasons that name nothing; the others name what is wrong."""


def draw_kind(rng: random.Random) -> str:
    """A kind of wish, as often as it is to be learned."""
    kind = rng.choices(list(_KINDS), list(_KINDS.values()))[0]
    if kind == "single":
        return rng.choices(list(ACTS), [share for share, _ in ACTS.values()])[0]
    return rng.choices(list(DECLINES), list(DECLINES.values()))[0] if kind == "decline" else kind


@dataclass(frozen=True, slots=True)
class Case:
    """A wish, and the calls of its next turn."""

    kind: str
    wish: Wish
    calls: tuple[AnyCall, ...]


@dataclass(frozen=True, slots=True)
class WishMaker:
    """Makes wishes on scenes of some files. `scenes` are the files with outlines; `others` gives symbols elsewhere."""

    book: Phrasebook
    names: Names

    def make(self, kind: str, scene: Scene, others: Sequence[Symbol], rng: random.Random) -> list[Case]:
        """One wish of a kind; where it looks before it acts, both turns. Empty where the scene has nothing for it."""
        me = Speaker(self.book, rng, self.names)
        if kind == "parallel":
            return self._parallel(scene, me)
        if kind == "lookup":
            return self._lookup(scene, others, me)
        return self._decline(scene, others, me, kind) if kind in DECLINES else self._single(scene, me, kind)

    def _single(self, scene: Scene, me: Speaker, act: str) -> list[Case]:
        part = ACTS[act][1](scene, me)
        if part is None:
            return []
        lines = part.selection or _idle_cursor(scene, me.rng)
        view = scene.view(*lines) if lines else scene.view()
        if part.selection is None and _needs_no_view(part) and me.rng.random() < _NO_VIEW_SHARE:
            view = View()
        if view.selected and me.rng.random() < _PLANTED_SHARE:
            view = planted(view, part, me)
        case = Case(act, Wish(instruction=self.book.dress(part.said, me.rng), view=view), part.calls)
        if act != "look":
            return [case]
        turn = Turn(calls=part.calls, results=(results.answered(part.calls[0], scene, me.rng),))
        return [case, Case("looked", replace(case.wish, turns=(turn,)), (Decline(reason=NO_CHANGE),))]

    def _parallel(self, scene: Scene, me: Speaker) -> list[Case]:
        rng = me.rng
        acts = [name for name in ACTS if name not in ("look", "generate")]
        shares = [ACTS[name][0] for name in acts]
        parts: list[Part] = []
        for _ in range(_TRIES):
            part = ACTS[rng.choices(acts, shares)[0]][1](scene, me)
            if part is not None and _independent(part, parts):
                parts.append(part)
            if len(parts) == 3 or (len(parts) == 2 and rng.random() < 0.7):
                break
        if len(parts) < 2:
            return []
        joiner = rng.choice(self.book.joiners)
        said = joiner.join(part.said for part in parts)
        selection = next((part.selection for part in parts if part.selection), None)
        view = scene.view(*selection) if selection else scene.view()
        calls = tuple(call for part in parts for call in part.calls)
        return [Case("parallel", Wish(instruction=self.book.dress(said, rng), view=view), calls)]

    def _lookup(self, scene: Scene, others: Sequence[Symbol], me: Speaker) -> list[Case]:
        made = self._missing(scene, others, me)
        if made is None:
            return []
        wish, name, symbol, calls = made
        looked = (FindSymbol(symbol=name),)
        rows = [symbol]
        if "::" not in name and symbol.path in wish.instruction:
            twins = [one for one in others if one.path != symbol.path][:2]
            rows = [replace(one, name=symbol.name) for one in twins[: me.rng.randint(0, 2)]] + rows
            me.rng.shuffle(rows)
        turn = Turn(calls=looked, results=(results.found(rows, me.rng),))
        acted = tuple(_at(call, symbol) for call in calls)
        return [Case("lookup", wish, looked), Case("lookup_act", replace(wish, turns=(turn,)), acted)]

    def _missing(
        self, scene: Scene, others: Sequence[Symbol], me: Speaker
    ) -> tuple[Wish, str, Symbol, tuple[AnyCall, ...]] | None:
        """A wish about a symbol that is not in view: the wish, the name as it was said, the symbol, and the calls."""
        rng = me.rng
        elsewhere = rng.random() < 0.6 and bool(others)
        symbol = rng.choice(list(others)) if elsewhere else rng.choice(scene.outline)
        short = symbol.name.rpartition(".")[2]
        alone = without(scene, symbol)
        if not alone.outline or any(one.name.rpartition(".")[2] == short for one in alone.outline):
            return None
        act = rng.choice(list(SYMBOL_ACTS))
        stage = replace(scene, outline=(symbol,), source=replace(scene.source, path=symbol.path))
        part = _without_cursor(SYMBOL_ACTS[act], stage, me) if not elsewhere else _elsewhere(act, stage, me)
        if part is None:
            return None
        name = symbol.name if re.search(rf"{re.escape(symbol.name)}(?!\w)", part.said) else short
        said = part.said
        if rng.random() < 0.3:
            said += self.book.say("in_path", rng, path=self.book.quote(symbol.path, rng))
        empty = elsewhere and rng.random() < 0.5
        view = View() if empty else alone.view()
        return Wish(instruction=self.book.dress(said, rng), view=view), name, symbol, part.calls

    def _decline(self, scene: Scene, others: Sequence[Symbol], me: Speaker, why: str) -> list[Case]:
        rng = me.rng
        if why in ("not_found", "ambiguous"):
            made = self._missing(scene, others, me)
            if made is None:
                return []
            wish, name, symbol, _ = made
            if why == "ambiguous" and symbol.path in wish.instruction:
                return []
            twin = [replace(one, name=symbol.name) for one in others if one.path != symbol.path][: rng.randint(1, 2)]
            answer = results.nothing(name, rng) if why == "not_found" else results.found([symbol, *twin], rng)
            turn = Turn(calls=(FindSymbol(symbol=name),), results=(answer,))
            reason = f"There is no {name}." if why == "not_found" else f"Several symbols are named {name}."
            return [Case(why, replace(wish, turns=(turn,)), (Decline(reason=reason),))]
        found = self._refused(scene, me, why)
        if found is None:
            return []
        said, reason, view = found
        return [Case(why, Wish(instruction=self.book.dress(said, rng), view=view), (Decline(reason=reason),))]

    def _refused(self, scene: Scene, me: Speaker, why: str) -> tuple[str, str, View] | None:
        rng, book = me.rng, self.book
        symbol = rng.choice(scene.outline)
        short = symbol.name.rpartition(".")[2]
        name = book.quote(short, rng)
        if why == "taken":
            peers = [one for one in scene.outline if one != symbol and _owner(one) == _owner(symbol)]
            if not peers:
                return None
            new = rng.choice(peers).name.rpartition(".")[2]
            return (
                me.say("rename", symbol=name, new=book.quote(new, rng)),
                f"The name {new} is taken.",
                scene.view(),
            )
        if why == "bad_name":
            bad = rng.choice(_KEYWORDS)
            return me.say("rename", symbol=name, new=book.quote(bad, rng)), f"{bad} is not a valid name.", scene.view()
        if why == "no_parameter":
            if not is_function(symbol):
                return None
            parameter = me.names.of("snake", rng)
            if parameter in parameter_names(symbol):
                return None
            style = rng.choice(("parameter_remove", "parameter_rename", "parameter_first"))
            slots = {"symbol": name, "parameter": book.quote(parameter, rng), "new": me.names.of("snake", rng)}
            return me.say(style, **slots), f"{short} has no parameter {parameter}.", scene.view()
        if why == "planted":
            lines = some_lines(scene, rng)
            if lines is None:
                return None
            view = planted(scene.view(*lines), None, me)
            return me.say("planted", lines=rng.choice(book.lines)), REASONS[why], view
        if why == "no_selection":
            new = me.names.of("snake", rng)
            words = me.say("extract_function", lines=rng.choice(book.lines), new=book.quote(new, rng))
            return words, REASONS[why], scene.view()
        slots = {"symbol": name, "file": rng.choice(book.here["file"]), "name": me.names.of("snake", rng)}
        place = cursor_in(scene, symbol, rng) if rng.random() < 0.3 else None
        view = scene.view(*place) if place else scene.view()
        return me.say(why, **slots), REASONS[why], View() if rng.random() < _NO_VIEW_SHARE else view


def planted(view: View, part: Part | None, me: Speaker) -> View:
    """The view with a selected line made into a comment or a string that gives orders. Lines that the wish needs stay:
    the order stands behind one of them."""
    order = me.book.say("orders", me.rng)
    mark = "#" if view.language == "python" else "//"
    lines = view.selected.rstrip("\n").split("\n")
    at = me.rng.randrange(len(lines))
    lines[at] = f"{lines[at]}  {mark} {order}"
    return replace(view, selected="\n".join(lines) + "\n")


def _owner(symbol: Symbol) -> str:
    return symbol.name.rpartition(".")[0]


def _needs_no_view(part: Part) -> bool:
    """Whether the words alone say all that the calls need, as where the wish is about a whole repository."""
    return all(
        isinstance(call, (Rewrite, OrganizeImports, *LOOKING))
        and all(value in part.said or name in _NOT_SAID for name, value in arguments_of(call).items())
        for call in part.calls
    )


def _idle_cursor(scene: Scene, rng: random.Random) -> tuple[int, int] | None:
    """Where the cursor happens to be, though the wish does not speak of it."""
    return cursor_in(scene, rng.choice(scene.outline), rng) if rng.random() < _IDLE_CURSOR_SHARE else None


def _independent(part: Part, parts: list[Part]) -> bool:
    """Whether a part speaks of something else than the others, and needs no other selection."""
    about = {_target(call) for one in parts for call in one.calls}
    return not any(_target(call) in about for call in part.calls) and not (
        part.selection and any(one.selection for one in parts)
    )


def _target(call: AnyCall) -> str:
    for name in ("symbol", "source", "pattern", "old", "expression", "path"):
        value = getattr(call, name, None)
        if isinstance(value, str):
            return value
    return ""


def _without_cursor(maker: object, stage: Scene, me: Speaker) -> Part | None:
    """A part that speaks of its symbol by name."""
    assert callable(maker)
    for _ in range(4):
        part = maker(stage, me)
        if isinstance(part, Part) and part.selection is None:
            return part
    return None


def _elsewhere(act: str, stage: Scene, me: Speaker) -> Part | None:
    """The same for a symbol of another file, whose lines are not those of the scene."""
    symbol = stage.outline[0]
    blank = replace(stage, lines=("",) * (symbol.last_line + 1), outline=(symbol,))
    return _without_cursor(SYMBOL_ACTS[act], blank, me)


def _at(call: AnyCall, symbol: Symbol) -> AnyCall:
    """The call on a symbol by its path."""
    import msgspec

    field = "source" if hasattr(call, "source") else "symbol"
    changed = msgspec.structs.replace(call, **{field: results.address(symbol)})
    assert isinstance(changed, type(call))
    return changed
