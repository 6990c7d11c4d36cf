"""How well the embedded model turns wishes into calls: `python -m bench.quality.tools`.

Asks the held-out wishes (`bench.quality.wishes`) as they are served, and greedily without the grammar of valid
answers. Beside the tuned model stand its floors: the base without the adapter, and the adapter with its rows shuffled.
An answer is exact when its calls are, to the last argument; a wish is rightly declined when the answer is to decline,
whatever the reason.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import torch

from bench import results
from bench.quality.measure import rate
from bench.quality.wishes import SEED, development_cases, held_out_cases, is_declined
from completion.refactor.asking import AskingTuned
from completion.refactor.calls import AnyCall, Decline
from completion.refactor.layout import write
from completion.refactor.training.wishes import Case
from model.api import Engine
from model.errors import PullError
from model.hub import pull
from model.local import LocalEngine
from model.paths import cache_dir
from model.registry import TOOLS_MODEL
from model.train.adapter import Adapter, load_adapter
from model.train.collect import fetch_all
from model.train.start import shipped_adapter

matplotlib.use("Agg")
import matplotlib.pyplot as plt

_MOST_TOKENS = 160
_AT_ONCE = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model called for one case; nothing where what it said is no valid answer."""

    case: Case
    calls: tuple[AnyCall, ...]
    tokens: int
    prompt_tokens: int
    confidence: float = 1.0

    @property
    def exact(self) -> bool:
        """Whether the calls are those that were asked for."""
        return self.calls == self.case.calls

    @property
    def declines(self) -> bool:
        """Whether the model declined."""
        return len(self.calls) == 1 and isinstance(self.calls[0], Decline)


async def ask_all(engine: Engine, cases: Sequence[Case], *, constrained: bool) -> list[Answer]:
    """Every case once, as it is served, or greedily without the grammar."""
    asking, free = AskingTuned(engine, constrained=constrained), asyncio.Semaphore(_AT_ONCE)

    async def one(case: Case) -> Answer:
        async with free:
            found = await asking.ask(case.wish, lambda _: "", most_tokens=_MOST_TOKENS)
        return Answer(
            case=case,
            calls=found.calls,
            tokens=found.completion_tokens,
            prompt_tokens=found.prompt_tokens,
            confidence=found.confidence,
        )

    return await asyncio.gather(*(one(case) for case in cases))


def measure(answers: Sequence[Answer]) -> dict[str, Any]:
    """The rates of the bench: of wishes to act or look on, and of those to decline, overall and by kind."""
    act = [answer for answer in answers if not is_declined(answer.case)]
    refuse = [answer for answer in answers if is_declined(answer.case)]
    kinds = sorted({answer.case.kind for answer in answers})
    by_kind = {kind: [answer for answer in answers if answer.case.kind == kind] for kind in kinds}
    return {
        "wishes": len(act),
        "exact": rate([answer.exact for answer in act]),
        "right_tool": rate([_tools(answer.calls) == _tools(answer.case.calls) for answer in act]),
        "valid": rate([bool(answer.calls) for answer in answers]),
        "wishes_to_decline": len(refuse),
        "rightly_declined": rate([answer.declines for answer in refuse]),
        "wrongly_declined": rate([answer.declines for answer in act]),
        "mean_prompt_tokens": round(sum(answer.prompt_tokens for answer in answers) / len(answers), 1),
        "mean_answer_tokens": round(sum(answer.tokens for answer in answers) / len(answers), 1),
        "by_kind": {
            kind: {
                "wishes": len(own),
                "right": sum(answer.declines if is_declined(answer.case) else answer.exact for answer in own),
            }
            for kind, own in by_kind.items()
        },
    }


def _tools(calls: Sequence[AnyCall]) -> list[str]:
    return [type(call).__name__ for call in calls]


def scrambled(adapter: Adapter, *, seed: int = 0) -> Adapter:
    """The adapter with the rows of its updates in another order: as large, and senseless."""
    generator = torch.Generator().manual_seed(seed)
    updates = {
        name: (a, b[torch.randperm(len(b), generator=generator)]) for name, (a, b) in sorted(adapter.updates.items())
    }
    return replace(adapter, updates=updates)


async def contend(
    checkpoint: Path, adapter: Path | None, cases: Sequence[Case], *, modes: Sequence[bool], log: Path | None = None
) -> dict[str, Any]:
    """The figures of one model, by mode; `log` gets every answer that was not right."""
    engine = await asyncio.to_thread(LocalEngine.load, checkpoint, adapter=adapter, threads=1)
    found: dict[str, Any] = {}
    try:
        for constrained in modes:
            began = time.monotonic()
            answers = await ask_all(engine, cases, constrained=constrained)
            name = "constrained" if constrained else "unconstrained"
            seconds = round((time.monotonic() - began) / len(cases), 2)
            found[name] = measure(answers) | {"seconds_per_wish": seconds}
            if log is not None:
                _note(log.with_suffix(f".{name}.txt"), answers)
    finally:
        await engine.aclose()
    return found


def _note(path: Path, answers: Sequence[Answer]) -> None:
    wrong = [one for one in answers if not (one.declines if is_declined(one.case) else one.exact)]
    rows = [
        f"{one.case.kind}: {one.case.wish.instruction}\n  want {write(one.case.calls)}\n"
        f"  got  {write(one.calls)} ({one.confidence:.2f})"
        for one in wrong
    ]
    path.write_text("\n".join(rows), encoding="utf-8")


def draw(figures: dict[str, Any], path: Path) -> None:
    """Exact calls and right declines of every contender, with their intervals."""
    figure, axes = plt.subplots(figsize=(9, 4), layout="constrained")
    labels = ["exact, constrained", "exact, unconstrained", "declined rightly, constrained", "declined rightly"]
    picks = [("constrained", "exact"), ("unconstrained", "exact"), ("constrained", "rightly_declined")]
    picks.append(("unconstrained", "rightly_declined"))
    for number, (name, found) in enumerate(figures["contenders"].items()):
        rows = [(place + 0.27 * number, found[mode][key]) for place, (mode, key) in enumerate(picks) if mode in found]
        shares = [one["share"] for _, one in rows]
        errors = [[one["share"] - one["low"] for _, one in rows], [one["high"] - one["share"] for _, one in rows]]
        axes.barh([place for place, _ in rows], shares, height=0.25, xerr=errors, label=name)
    axes.set_yticks([place + 0.27 for place in range(len(labels))], labels)
    axes.invert_yaxis()
    axes.set(xlabel=f"share of {figures['wishes'].replace(' ', '-')} wishes, with 95 % interval", xlim=(0, 1))
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def questions(share: float, *, seed: int = SEED) -> list[Case]:
    """The held-out cases. Raises `PullError` where a package is missing, which would change them."""
    packages = cache_dir() / "held-out-packages"
    if missing := fetch_all(packages, held_out=True):
        raise PullError(
            f"Held-out packages could not be fetched: {', '.join(missing)}.",
            hint="Is there a network, and npm? Other packages would ask other questions.",
        )
    return held_out_cases(packages / "held-out", share=share, seed=seed)


def main() -> None:
    """Parse, ask, measure, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.quality.tools", description=__doc__)
    parser.add_argument("--adapter", type=Path, help="the adapter to measure; by default the shipped one")
    parser.add_argument("--share", type=float, default=1.0, help="of the wishes of each kind")
    parser.add_argument("--floor-share", type=float, default=0.25, help="the same for the floors")
    parser.add_argument("--no-floors", action="store_true", help="measure the tuned model alone")
    parser.add_argument("--seed", type=int, default=SEED, help="other wishes of the same kinds")
    parser.add_argument(
        "--development", type=Path, metavar="CORPUS", help="ask the development wishes, about packages of this corpus"
    )
    parser.add_argument("--log", type=Path, help="where to note what went wrong")
    parser.add_argument("--name", default="tools", help="of the result files")
    arguments = parser.parse_args()
    adapter = arguments.adapter or shipped_adapter(TOOLS_MODEL)
    if adapter is None:
        parser.error("The tool model brings no adapter to measure. Give --adapter FILE.")
    checkpoint = pull(TOOLS_MODEL)
    loaded = load_adapter(adapter)

    def ask(share: float) -> list[Case]:
        if arguments.development is not None:
            return development_cases(arguments.development / "files.jsonl", share=share, seed=arguments.seed)
        return questions(share, seed=arguments.seed)

    cases = ask(arguments.share)
    both = (True, False)
    contenders = {"tuned": asyncio.run(contend(checkpoint, adapter, cases, modes=both, log=arguments.log))}
    if not arguments.no_floors:
        few = ask(arguments.share * arguments.floor_share)
        contenders["base"] = asyncio.run(contend(checkpoint, None, few, modes=both))
        with tempfile.TemporaryDirectory() as folder:
            senseless = Path(folder) / "scrambled.safetensors"
            scrambled(loaded).save(senseless)
            contenders["scrambled"] = asyncio.run(contend(checkpoint, senseless, few, modes=both))
    figures = {
        "adapter": {"sha256": results.sha256(adapter), "training": loaded.info.note},
        "wishes": "held out" if arguments.development is None else "development",
        "seed": arguments.seed,
        "share": arguments.share,
        "contenders": contenders,
    }
    written = results.save(arguments.name, figures)
    draw(figures, written.with_suffix(".png"))
    print(written.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
