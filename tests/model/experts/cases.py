"""Random experts, and the choices that experts find hard."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.config import MlpConfig, RouterConfig
from model.experts.quantized import quantize_experts
from model.experts.weights import ExpertWeights, Stack

PLAIN = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
FORMATS = (*PLAIN, "int8", "fp8", "int8 in groups", "fp8 in groups", "int4 in groups")
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
"""Of the largest answer: a few roundings to the type that the answer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Sizes that no tile divides, unless a test asks for others."""

    experts: int = 5
    chosen: int = 2
    hidden: int = 40
    inner: int = 56
    activation: str = "silu"
    bias: bool = False

    def make(self, name: str, device: torch.device) -> tuple[ExpertWeights, torch.dtype]:
        """Weights in the number format, and the type of what they multiply."""
        plain = PLAIN.get(name, torch.bfloat16)
        router = RouterConfig(experts=self.experts, chosen=self.chosen, normalize=True)
        config = MlpConfig(intermediate=self.inner, activation=self.activation, bias=self.bias, router=router)  # type: ignore[arg-type]
        weights = ExpertWeights(
            gate=self._stack(0, self.inner, self.hidden, plain, device),
            up=self._stack(1, self.inner, self.hidden, plain, device),
            down=self._stack(2, self.hidden, self.inner, plain, device),
            config=config,
        )
        if name not in PLAIN:
            weights = quantize_experts(weights, name.split()[0], group=8 if name.endswith("groups") else None)
        return weights, plain

    def _stack(self, seed: int, outputs: int, inputs: int, dtype: torch.dtype, device: torch.device) -> Stack:
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(self.experts, outputs, inputs, generator=generator) * inputs**-0.5
        bias = torch.randn(self.experts, outputs, generator=generator).to(device, dtype) if self.bias else None
        return Stack(weight=weight.to(device, dtype), bias=bias)


def tokens(count: int, case: Case, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """x [N, D] and shares [N, K] that do not sum to one."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(count, case.hidden, generator=generator).to(device, dtype)
    return x, torch.rand(count, case.chosen, generator=generator).to(device)


def spread(count: int, case: Case, device: torch.device) -> Tensor:
    """Any experts, each at most once a token."""
    generator = torch.Generator().manual_seed(8)
    return torch.rand(count, case.experts, generator=generator).topk(case.chosen, dim=-1).indices.to(device)


def one_takes_all(count: int, case: Case, device: torch.device) -> Tensor:
    """Every token chooses the last expert first and the first one next; the others idle."""
    return torch.tensor([case.experts - 1, *range(case.chosen - 1)], device=device).expand(count, -1).contiguous()


def tied(count: int, case: Case, device: torch.device) -> Tensor:
    """A token may name one expert twice, as no router does: both shares count."""
    return (torch.arange(count, device=device)[:, None] % case.experts).expand(-1, case.chosen).contiguous()


def elsewhere(count: int, case: Case, device: torch.device) -> Tensor:
    """Some experts are another process's: here they are nobody's."""
    found = spread(count, case, device)
    return torch.where(found % 2 == 0, found, case.experts)


CHOICES = {"spread": spread, "one takes all": one_takes_all, "tied": tied, "elsewhere": elsewhere}
GPT_OSS = Case(activation="clamped", bias=True, chosen=3)
GELU = replace(Case(), activation="gelu")


def assert_close(found: Tensor, expected: Tensor) -> None:
    """`found` in its type against the reference in float32."""
    assert found.shape == expected.shape
    scale = float(expected.abs().max())
    assert scale > 0.1
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=TOLERANCE[found.dtype] * scale)
