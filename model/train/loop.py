"""The training loop: resumable at any step, seeded, logged as JSON lines. Knows nothing of where examples come from.

A run folder holds `config.json`, `log.jsonl`, `last.pt` (all that a resume needs) and, once the learning rate begins
to fall, `stable.pt`: the state from which a later, longer run goes on once the decay is done. Writing a number of
steps into a file named `decay` in the run folder starts the decay; a file named `stop` stops after a checkpoint.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model.errors import TrainingError, UsageError
from model.train.batches import Batch, pack, split, take, weigh
from model.train.examples import Example
from model.train.feeder import Source
from model.train.packed import PackedDecoder
from model.train.schedule import Decay, factor
from model.train.team import Team, TeamSource


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopConfig:
    """How to train. `rank` None trains the projections whole. `rounding`: see `model.train.projection`."""

    rank: int | None = 32
    scale: float = 1.0
    learning_rate: float = 1e-3
    batch_tokens: int = 4096
    micro_tokens: int = 2048
    warmup_steps: int = 40
    weight_decay: float = 0.0
    beta2: float = 0.98
    clip_norm: float = 1.0
    seed: int = 0
    validate_steps: int = 150
    checkpoint_s: float = 300.0
    rounding: str = "none"


@dataclass(slots=True)
class Progress:
    """Where a run stands."""

    step: int = 0
    next_example: int = 0
    tokens: int = 0
    answer_tokens: int = 0
    seconds: float = 0.0
    decay: Decay | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """When to end: after `steps`, or `minutes` of this process of which the last `decay_minutes` decay. None: never.

    With no `decay_minutes` the rate stays, for a later run to go on.
    """

    steps: int | None = None
    decay_steps: int = 0
    minutes: float | None = None
    decay_minutes: float = 0.0


class Trainer:
    """One run, in one process or in each process of a team. Files are the leader's."""

    def __init__(
        self,
        model: PackedDecoder,
        source: Source,
        *,
        config: LoopConfig,
        folder: Path,
        validation: Sequence[Example] | None = None,
        team: Team | None = None,
    ) -> None:
        self.model, self.config, self.folder = model, config, folder
        self.team = team or Team()
        self.source = source if self.team.size == 1 else TeamSource(source, self.team)
        self.progress = Progress()
        self.validation = validation if validation and self.team.leads else []
        self._device = next(model.parameters()).device
        self._optimizer = torch.optim.AdamW(
            model.trained().values(),
            lr=config.learning_rate,
            betas=(0.9, config.beta2),
            weight_decay=config.weight_decay,
            fused=True,
        )
        if (folder / "last.pt").exists():
            self.load(folder / "last.pt")
        if self._decayed() and (folder / "stable.pt").exists():
            self.load(folder / "stable.pt")
        if self.team.leads:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "config.json").write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")

    def run(self, limits: Limits) -> Progress:
        """Train until a limit, the end of a decay, or a file named `stop` ends it; then leave a checkpoint."""
        began = saved = time.monotonic()
        while not self.team.agree(self._finished(limits, time.monotonic() - began)):
            if self.validation and self.progress.step % self.config.validate_steps == 0:
                self._log(validation=self.validate())
            self._maybe_decay(self.team.agree(self._decay_steps(limits, time.monotonic() - began)))
            self._step()
            if time.monotonic() - saved > self.config.checkpoint_s:
                self.save(self.folder / "last.pt")
                saved = time.monotonic()
        self.save(self.folder / "last.pt")
        if self.validation:
            self._log(validation=self.validate())
        return self.progress

    def _finished(self, limits: Limits, elapsed_s: float) -> bool:
        if self._decayed() or (self.folder / "stop").exists():
            return True
        if limits.minutes is not None and not limits.decay_minutes and elapsed_s / 60 >= limits.minutes:
            return True
        return limits.steps is not None and self.progress.step >= limits.steps

    def _decayed(self) -> bool:
        progress = self.progress
        return progress.decay is not None and progress.step >= progress.decay.first_step + progress.decay.steps

    def _decay_steps(self, limits: Limits, elapsed_s: float) -> int:
        """Over how many steps the rate is to fall from here on; 0: not yet."""
        progress = self.progress
        if progress.decay is not None:
            return 0
        asked = self.folder / "decay"
        if asked.exists():
            return int(asked.read_text(encoding="utf-8"))
        left_minutes = math.inf if limits.minutes is None else limits.minutes - elapsed_s / 60
        if limits.decay_minutes and left_minutes <= limits.decay_minutes:
            per_step_s = progress.seconds / max(1, progress.step)
            return max(1, round(limits.decay_minutes * 60 / per_step_s)) if per_step_s else 1
        if limits.steps is not None and progress.step == limits.steps - limits.decay_steps:
            return limits.decay_steps
        return 0

    def _maybe_decay(self, steps: int) -> None:
        if steps:
            self.save(self.folder / "stable.pt")
            self.progress.decay = Decay(self.progress.step, steps)

    def _step(self) -> None:
        began = time.monotonic()
        config, progress = self.config, self.progress
        examples, following = take(self.source, progress.next_example, tokens=config.batch_tokens)
        total = sum(sum(weigh(example)) for example in examples)
        sharing = self._device.type == "cpu"
        mine = split(self.team.share(examples), tokens=config.micro_tokens)
        parts = [pack(part, sharing=sharing) for part in mine]
        loss = self._reduced(sum(self._backward(part, total) for part in parts))
        parameters = list(self.model.trained().values())
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, config.clip_norm))
        rate = config.learning_rate * factor(progress.step, warmup_steps=config.warmup_steps, decay=progress.decay)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        self.model.refresh()
        progress.step += 1
        progress.next_example = following
        progress.tokens += sum(len(example.tokens) for example in examples)
        progress.answer_tokens += sum(len(example.tokens) - example.answer for example in examples)
        progress.seconds += time.monotonic() - began
        self._log(loss=round(loss, 4), norm=round(norm, 3), rate=rate)

    def _reduced(self, loss: float) -> float:
        """The team's loss; every member's gradients become those of the whole batch."""
        if self.team.size == 1:
            return loss
        parameters = list(self.model.trained().values())
        for parameter in parameters:
            if parameter.grad is None:  # a batch may have fewer examples than the team has members
                parameter.grad = torch.zeros_like(parameter)
        whole = torch.tensor([loss])
        self.team.add([whole, *(parameter.grad for parameter in parameters if parameter.grad is not None)])
        return float(whole)

    def _backward(self, batch: Batch, total_weight: float) -> float:
        batch = _to(batch, self._device)
        hidden = self.model(batch.tokens, batch.lengths, positions=batch.positions, masks=batch.masks)
        logits = self.model.logits(hidden[batch.places])  # [M, V]
        losses = functional.cross_entropy(logits, batch.targets, reduction="none")
        loss = (losses * batch.weights).sum() / total_weight
        whole = loss + self.model.auxiliary() * (batch.weights.sum() / total_weight)
        whole.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Mean loss per answer token, and how many answers greedy decoding would give exactly, overall and by kind."""
        losses: list[Tensor] = []
        exact: dict[str, list[bool]] = {}
        for part in split(self.validation, tokens=self.config.micro_tokens):
            batch = _to(pack(part), self._device)
            logits = self.model.logits(self.model(batch.tokens, batch.lengths)[batch.places])
            losses.append(functional.cross_entropy(logits, batch.targets, reduction="none"))
            wrong = torch.zeros(len(part), dtype=torch.bool, device=self._device)
            wrong[batch.owners[logits.argmax(-1) != batch.targets]] = True
            for example, missed in zip(part, wrong.tolist(), strict=True):
                exact.setdefault(f"exact_{example.kind}", []).append(not missed)
        hits = [hit for kind in exact.values() for hit in kind]
        by_kind = {name: round(sum(values) / len(values), 4) for name, values in sorted(exact.items())}
        return {"loss": round(float(torch.cat(losses).mean()), 4), "exact": sum(hits) / len(hits), **by_kind}

    def save(self, path: Path) -> None:
        """Write everything that a resume needs; the file is whole or absent. Only the leader writes."""
        if not self.team.leads:
            return
        state = {
            "config": asdict(self.config),
            "progress": asdict(self.progress),
            "trained": {name: parameter.detach() for name, parameter in self.model.trained().items()},
            "optimizer": self._optimizer.state_dict(),
        }
        partial = path.with_suffix(".partial")
        torch.save(state, partial)
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Go on from where `save` was called. Raises `UsageError` for a run of another rank."""
        state: dict[str, Any] = torch.load(path, map_location=self._device, weights_only=True)
        rank = state["config"]["rank"]
        if rank != self.config.rank:
            raise UsageError(
                f"The run in {self.folder} trains rank {rank}, not {self.config.rank}.",
                hint="Go on with its rank, or choose another folder.",
            )
        trained = self.model.trained()
        if {name: one.shape for name, one in trained.items()} != {n: one.shape for n, one in state["trained"].items()}:
            raise UsageError(
                f"The run in {self.folder} trains other weights.",
                hint="Go on with the options that it began with, or choose another folder.",
            )
        for name, parameter in trained.items():
            parameter.data.copy_(state["trained"][name])
        self._optimizer.load_state_dict(state["optimizer"])
        decay = state["progress"].pop("decay")
        self.progress = Progress(**state["progress"], decay=Decay(**decay) if decay else None)
        self.model.refresh()

    def _log(self, **values: Any) -> None:
        progress = self.progress
        row = {"step": progress.step, "tokens": progress.tokens, "seconds": round(progress.seconds, 1), **values}
        if not math.isfinite(row.get("loss", 0.0)):
            raise TrainingError(
                f"The loss is not a number at step {progress.step}.",
                hint="Go on from the last checkpoint with a lower --rate.",
            )
        if not self.team.leads:
            return
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(row) + "\n")


def _to(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cpu":
        return batch
    kept = ("lengths", "masks")
    moved = {name: getattr(batch, name).to(device, non_blocking=True) for name in Batch.__slots__ if name not in kept}
    return Batch(lengths=batch.lengths, masks=batch.masks, **moved)
