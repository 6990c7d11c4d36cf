"""The gated delta rule (arXiv 2412.06464), as Qwen3-Next has it: a matrix for each head that fades and is corrected.

Legend: B batch, T tokens, Q tokens of a block, D hidden, J key heads, H heads, K key and V value dimensions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import DeltaConfig, NormConfig
from model.layers.recurrent import CausalConvolution, Memory, Parts, Recurrence, join, recur

BLOCK_TOKENS = 64
_FEW_TOKENS = 8
"""Up to here the rule is followed token by token: a triangular system costs more, and asks a library to solve it."""
_LENGTH_EPSILON = 1e-6
"""Under the root when queries and keys are brought to length one (HF's `l2norm`)."""


class Delta(nn.Module):
    """Projections, convolution, the rule, norm, gate, projection. Rows of `qkv_proj`: J queries, J keys, H values."""

    def __init__(self, hidden: int, config: DeltaConfig, norm: NormConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv_proj = nn.Linear(hidden, config.channels, bias=False)
        self.z_proj = nn.Linear(hidden, config.inner, bias=False)
        self.beta_proj = nn.Linear(hidden, config.heads, bias=False)
        self.step_proj = nn.Linear(hidden, config.heads, bias=False)
        self.conv = CausalConvolution(config.channels, config.kernel, bias=False)
        self.step_bias = nn.Parameter(torch.zeros(config.heads))
        self.rate_log = nn.Parameter(torch.zeros(config.heads))
        self.norm = NormThenGate(config.value_dim, epsilon=norm.epsilon)
        self.out_proj = nn.Linear(config.inner, hidden, bias=False)

    def forward(self, x: Tensor, *, memory: Memory | None = None) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        parts = self.project(x)
        return self.finish(self.mix(parts, memory), parts)

    def project(self, x: Tensor) -> Parts:
        """What the convolution runs over, shares, time steps, and gates."""
        return self.qkv_proj(x), self.beta_proj(x), self.step_proj(x), self.z_proj(x)

    def mix(self, parts: Parts, memory: Memory | None) -> Tensor:
        """What each token reads from the state, float32 [B, T, H, V]."""
        inputs, betas, steps, _ = parts
        joined = join(self.config, inputs, memory)
        query, key, value = self._heads(self.conv(joined).float())  # [B, T, J, K], [B, T, J, K], [B, T, H, V]
        shares = betas.float().sigmoid()  # [B, T, H]
        steps = functional.softplus(steps.float() + self.step_bias.float())
        fades = -self.rate_log.float().exp() * steps
        if memory is not None and memory.live is not None:
            live = memory.live[..., None]
            shares, fades = shares * live, fades * live  # nothing moves, nothing fades
        return recur(self.config, Recurrence(query, key, value, fades, shares), joined, memory, _scan)

    def finish(self, mixed: Tensor, parts: Parts) -> Tensor:
        """Norm, gate and projection, [B, T, D]."""
        gates = parts[-1]
        gated = self.norm(mixed, torch.unflatten(gates, -1, (self.config.heads, -1)))
        projected: Tensor = self.out_proj(gated.flatten(2).to(gates.dtype))
        return projected

    def _heads(self, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        config = self.config
        keys = config.key_heads * config.key_dim
        query, key, value = torch.split(mixed, [keys, keys, config.inner], -1)
        query, key = self._unit(query), self._unit(key)
        return query * config.key_dim**-0.5, key, torch.unflatten(value, -1, (config.heads, -1))

    def _unit(self, rows: Tensor) -> Tensor:
        """[B, T, J · K] to [B, T, J, K], each of length one."""
        heads = torch.unflatten(rows, -1, (self.config.key_heads, -1))
        return heads * torch.rsqrt(heads.square().sum(-1, keepdim=True) + _LENGTH_EPSILON)


class NormThenGate(nn.Module):
    """A root-mean-square norm of each head, then times SiLU(gate), in float32."""

    def __init__(self, size: int, *, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.epsilon)
        gated: Tensor = normed * self.weight.float() * functional.silu(gate.float())
        return gated


def _scan(rows: Recurrence, state: Tensor) -> tuple[Tensor, Tensor]:
    assert rows.shares is not None
    served = rows.value.shape[2] // rows.key.shape[2]
    query, key = (part.transpose(1, 2).repeat_interleave(served, 1) for part in (rows.query, rows.key))
    value, shares, fades = (part.transpose(1, 2) for part in (rows.value, rows.shares, rows.fades))
    out, state = correct(query, key, value, shares, fades, state)
    return out.transpose(1, 2), state


def correct(
    query: Tensor, key: Tensor, value: Tensor, shares: Tensor, fades: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """What each token reads after its correction: [B, H, T, V], and the state behind the last token.

    query and key [B, H, T, K], value [B, H, T, V]; shares [B, H, T] say how far a key's value moves; fades [B, H, T]
    are logarithms, not above 0; state [B, H, K, V]. All float32. A few tokens go step by step; more go by blocks.
    """
    found = []
    if query.shape[2] <= _FEW_TOKENS:
        for place in range(query.shape[2]):
            one = slice(place, place + 1)
            rows = (query[:, :, one], key[:, :, one], value[:, :, one])
            out, state = step(*rows, shares[..., one], fades[..., one], state)
            found.append(out)
        return torch.cat(found, 2), state
    for start in range(0, query.shape[2], BLOCK_TOKENS):
        part = slice(start, start + BLOCK_TOKENS)
        rows = (query[:, :, part], key[:, :, part], value[:, :, part])
        out, state = _block(*rows, shares[..., part], fades[..., part], state)
        found.append(out)
    return torch.cat(found, 2), state


def step(
    query: Tensor, key: Tensor, value: Tensor, shares: Tensor, fades: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """The rule itself, for one token: fade, then move what stands at the key towards the value."""
    state = state * fades.exp()[..., None]
    change = (value - key @ state) * shares[..., None]  # [B, H, 1, V]
    state = state + key.transpose(-1, -2) @ change
    return query @ state, state


def _block(
    query: Tensor, key: Tensor, value: Tensor, shares: Tensor, fades: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """As `correct`, for one block. What each token changes depends on the earlier ones: a triangular system."""
    faded = fades.cumsum(-1)  # [B, H, Q], from the block's start
    between = faded[..., :, None] - faded[..., None, :]  # [B, H, Q, Q]
    later = torch.ones(between.shape[-2:], dtype=torch.bool, device=between.device).triu(1)
    kept = between.masked_fill(later, float("-inf")).exp()
    since = faded.exp()[..., None]
    wanted = (value - since * (key @ state)) * shares[..., None]
    system = (key @ key.transpose(-1, -2)) * kept * shares[..., None]  # its diagonal is taken to be one
    changes = torch.linalg.solve_triangular(system, wanted, upper=False, unitriangular=True)  # [B, H, Q, V]
    found = since * (query @ state) + ((query @ key.transpose(-1, -2)) * kept) @ changes
    last = faded[..., -1:, None]
    left = (key * (last - faded[..., None]).exp()).transpose(-1, -2) @ changes
    return found, state * last.exp() + left
