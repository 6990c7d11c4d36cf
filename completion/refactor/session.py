"""One wish on one unit of a workspace: planned, carried out, verified, checked; else rolled back, with the reason.

Units of one workspace share an overlay. Planning runs side by side, tools one after another: the lock of the
`Session` is held while the overlay is read or changed.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from completion.language import detect
from completion.refactor.calls import ActingCall, Decline, LookingCall
from completion.refactor.carry_out import apply_rule, carry_out
from completion.refactor.check import check
from completion.refactor.cost import Tariff, total
from completion.refactor.outcome import Extra, Outcome
from completion.refactor.overlay import Mark, Overlay
from completion.refactor.pieces import words
from completion.refactor.plan import Filling, Hole, Plan, Planner
from completion.refactor.renamer import Renamer
from completion.refactor.schema import arguments_of, name_of
from completion.refactor.symbols import outline
from completion.refactor.tools.rewrite import Rule
from completion.refactor.wish import View, Wish
from completion.refactor.work_copy import WorkCopy
from model.api import Usage
from model.errors import RefusedError

Status = Literal["changed", "declined", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What a wish is about: a file, a folder, or ("") the whole root. `lines`: a selection in the file, 1-based."""

    path: str = ""
    lines: tuple[int, int] | None = None

    @property
    def label(self) -> str:
        """How a report names it."""
        return self.path or "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of a unit. Plain data, as a line of a JSON-lines report (`as_json`).

    `cost`: of planning, and of what the model wrote into the code; 0 where it runs here, None where it has no price.
    """

    unit: str
    status: Status
    reason: str = ""
    calls: tuple[ActingCall, ...] = ()
    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()
    confidence: float = 1.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float | None = 0.0
    currency: str | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """JSON data; extras as `path:line`."""
        return {
            "unit": self.unit,
            "status": self.status,
            "reason": self.reason,
            "calls": [{"name": name_of(one), "arguments": arguments_of(one)} for one in self.calls],
            "changed": list(self.changed),
            "notes": list(self.notes),
            "review": [{"path": one.path, "line": one.line, "text": one.shown, "why": one.why} for one in self.extras],
            "confidence": round(self.confidence, 3),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost": self.cost if self.cost is None else round(self.cost, 6),
            "currency": self.currency,
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Session:
    """A workspace with changes in the making. `command`: what must succeed over each unit's change.

    `buffers`: an editor's texts, which stand for their files.
    """

    root: Path
    planner: Planner
    fill: Filling | None = None
    command: str = ""
    accept_extras: bool = False
    renamer: Renamer | None = None
    tariff: Tariff = field(default_factory=Tariff)
    buffers: InitVar[Mapping[str, str] | None] = None
    overlay: Overlay = field(init=False)

    def __post_init__(self, buffers: Mapping[str, str] | None) -> None:
        self.overlay = Overlay(self.root, buffers=buffers)
        self.lock = threading.Lock()
        self._copy = WorkCopy(self.root) if self.command else None

    async def run(self, unit: Unit, instruction: str, *, done: Callable[[], None] = lambda: None) -> Report:
        """Grant a wish on a unit. `done` is called, with the lock held, when the overlay has its change.

        Raises the planner's errors; what concerns the code is in the report.
        """
        began_s = time.perf_counter()
        wish = Wish(instruction=instruction, view=await asyncio.to_thread(self._view, unit, instruction))
        plan = await self.planner.plan(wish, lambda call: self._look(call, unit.path))
        return await asyncio.to_thread(self._carry_out, unit, plan, began_s, done)

    async def run_rule(self, unit: Unit, rule: Rule, *, done: Callable[[], None] = lambda: None) -> Report:
        """Apply a rule to a unit."""
        began_s = time.perf_counter()

        def work() -> Report:
            with self.lock:
                mark = self.overlay.mark()
                outcome = apply_rule(rule, self.overlay, under=unit.path)
                return self._finished(unit, [outcome], Plan(calls=()), total(), began_s, mark, done)

        return await asyncio.to_thread(work)

    def _view(self, unit: Unit, instruction: str) -> View:
        with self.lock:
            try:
                text = self.overlay.read(unit.path)
            except RefusedError:
                return View()  # a folder, or the whole root: the model looks up
        from completion.refactor.tools.locals import variables

        view = View(
            path=unit.path,
            language=detect(path=unit.path).id,
            outline=outline(text, unit.path),
            variables=variables(text, unit.path, words(instruction)),
        )
        if unit.lines is None:
            return view
        first, last = unit.lines
        selected = "\n".join(text.split("\n")[first - 1 : last])
        return replace(view, first_line=first, last_line=last, selected=selected)

    def _look(self, call: LookingCall, prefer: str) -> str:
        from completion.refactor.tools.looking import look

        with self.lock:
            return look(call, self.overlay, prefer=prefer)

    def _carry_out(self, unit: Unit, plan: Plan, began_s: float, done: Callable[[], None]) -> Report:
        with self.lock:
            mark = self.overlay.mark()
            outcomes, spent = list[Outcome](), [_usage(plan)]

            def fill(hole: Hole) -> str:
                assert self.fill is not None
                filled = self.fill(hole)
                spent.append(filled.usage)
                return filled.text

            with_fill = None if self.fill is None else fill
            for call in plan.calls:
                outcomes.append(carry_out(call, self.overlay, fill=with_fill, prefer=unit.path, renamer=self.renamer))
                if not outcomes[-1].done:
                    break
            return self._finished(unit, outcomes, plan, total(*spent), began_s, mark, done)

    def _finished(
        self,
        unit: Unit,
        outcomes: list[Outcome],
        plan: Plan,
        spent: Usage,
        began_s: float,
        mark: Mark,
        done: Callable[[], None],
    ) -> Report:
        """The report, after extras and the check. The overlay has the change, or is as it was before."""
        changed = tuple(sorted({path for one in outcomes for path in one.changed}))
        extras = tuple(one for outcome in outcomes for one in outcome.extras)
        status: Status = "changed"
        reason = next((one.refused for one in outcomes if not one.done), "")
        if reason:
            status = "declined" if isinstance(plan.calls[0] if plan.calls else None, Decline) else "failed"
            changed, extras = (), ()
        else:
            if self.accept_extras and len(outcomes) == 1:
                reason = self._accept(extras)
                changed = tuple(sorted({*changed, *(one.path for one in extras)}))
                extras = ()
            if not reason and self.command:
                reason = check(self.overlay, self.command, copy=self._copy).failure
            if reason:
                status, changed, extras = "failed", (), ()
        if status == "changed":
            try:
                done()
            except RefusedError as error:
                status, reason, changed, extras = "failed", str(error), (), ()
        if status != "changed":
            self.overlay.rollback(mark)
        return Report(
            unit=unit.label,
            status=status,
            reason=reason,
            calls=plan.calls,
            changed=changed,
            notes=tuple(note for one in outcomes for note in one.notes),
            extras=extras,
            confidence=plan.confidence,
            prompt_tokens=spent.prompt_tokens,
            completion_tokens=spent.completion_tokens,
            cost=self.tariff.cost(spent),
            currency=self.tariff.currency,
            seconds=time.perf_counter() - began_s,
        )

    def _accept(self, extras: tuple[Extra, ...]) -> str:
        """Make what is offered too; why not, where it cannot be."""
        from completion.refactor.tools.extras import accept

        try:
            accept(self.overlay, extras)
        except RefusedError as error:
            return str(error)
        return ""


def _usage(plan: Plan) -> Usage:
    return Usage(
        prompt_tokens=plan.prompt_tokens,
        cached_tokens=plan.cached_tokens,
        completion_tokens=plan.completion_tokens,
    )
