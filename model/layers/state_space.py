"""Mamba-2 (arXiv 2405.21060): a matrix for each head that fades, is written to and read from.

Legend: B batch, T tokens, Q tokens of a block, D hidden, G groups, R heads of a group, H = G · R heads, P dimensions of
a head, N numbers of state for each dimension, I = H · P.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from model.config import NormConfig, StateSpaceConfig
from model.layers.recurrent import CausalConvolution, Memory, Parts, Recurrence, join, recur

BLOCK_TOKENS = 64
"""Within a block all tokens are computed at once, which costs their number squared; between blocks goes the state."""


class StateSpace(nn.Module):
    """Projection, convolution, scan, gate, norm, projection.

    Rows of `in_proj`: the gate [I], values [I], writes [G · N], reads [G · N], time steps [H].
    """

    def __init__(self, hidden: int, config: StateSpaceConfig, norm: NormConfig) -> None:
        super().__init__()
        self.config = config
        self.in_proj = nn.Linear(hidden, config.inner + config.channels + config.heads, bias=config.bias)
        self.conv = CausalConvolution(config.channels, config.kernel, bias=config.conv_bias)
        self.step_bias = nn.Parameter(torch.zeros(config.heads))
        self.rate_log = nn.Parameter(torch.zeros(config.heads))
        self.skip = nn.Parameter(torch.ones(config.heads))
        self.norm = GatedGroupNorm(config.inner, groups=config.groups, epsilon=norm.epsilon)
        self.out_proj = nn.Linear(config.inner, hidden, bias=config.bias)

    def forward(self, x: Tensor, *, memory: Memory | None = None) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        parts = self.project(x)
        return self.finish(self.mix(parts, memory), parts)

    def project(self, x: Tensor) -> Parts:
        """The gate, what the convolution runs over, and the time steps."""
        config = self.config
        return torch.split(self.in_proj(x), [config.inner, config.channels, config.heads], -1)

    def mix(self, parts: Parts, memory: Memory | None) -> Tensor:
        """What each token reads from the state, and of itself: float32 [B, T, I]."""
        config = self.config
        _, inputs, steps = parts
        joined = join(config, inputs, memory)
        written = config.groups * config.state
        values, writes, reads = torch.split(self.conv(joined).float(), [config.inner, written, written], -1)
        values = torch.unflatten(values, -1, (config.heads, config.head_dim))  # [B, T, H, P]
        writes, reads = (torch.unflatten(part, -1, (config.groups, config.state)) for part in (writes, reads))
        steps = functional.softplus(steps.float() + self.step_bias.float()).clamp(*config.limits)  # [B, T, H]
        if memory is not None and memory.live is not None:
            steps = steps * memory.live[..., None]  # no time passes
        fades = -self.rate_log.float().exp() * steps
        rows = Recurrence(reads, writes, values * steps[..., None], fades)
        return (recur(config, rows, joined, memory, _scan) + values * self.skip.float()[:, None]).flatten(2)

    def finish(self, mixed: Tensor, parts: Parts) -> Tensor:
        """Gate, norm and projection, [B, T, D]."""
        gate = parts[0]
        projected: Tensor = self.out_proj(self.norm(mixed, gate).to(gate.dtype))
        return projected


class GatedGroupNorm(nn.Module):
    """x · SiLU(gate), then a root-mean-square norm of each group of channels, in float32."""

    def __init__(self, channels: int, *, groups: int, epsilon: float) -> None:
        super().__init__()
        self.groups = groups
        self.epsilon = epsilon
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, gate: Tensor) -> Tensor:
        grouped = torch.unflatten(x * functional.silu(gate.float()), -1, (self.groups, -1))
        normed = grouped * torch.rsqrt(grouped.square().mean(-1, keepdim=True) + self.epsilon)
        weighted: Tensor = normed.flatten(-2) * self.weight.float()
        return weighted


def _scan(rows: Recurrence, state: Tensor) -> tuple[Tensor, Tensor]:
    return scan(rows.value, rows.fades, rows.key, rows.query, state)


def scan(values: Tensor, fades: Tensor, writes: Tensor, reads: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """What each token reads after it wrote: [B, T, H, P], and the state behind the last token.

    values [B, T, H, P], already times their time steps; fades [B, T, H], logarithms, not above 0; writes and reads
    [B, T, G, N]; state [B, H, P, N]. All float32. A single token is one step of the recurrence; more go by blocks.
    """
    if values.shape[1] == 1:
        return step(values, fades, writes, reads, state)
    found = []
    for start in range(0, values.shape[1], BLOCK_TOKENS):
        part = slice(start, start + BLOCK_TOKENS)
        out, state = _block(values[:, part], fades[:, part], writes[:, part], reads[:, part], state)
        found.append(out)
    return torch.cat(found, 1), state


def step(values: Tensor, fades: Tensor, writes: Tensor, reads: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The recurrence itself, for one token: state ← exp(fade) · state + value ⊗ write; out = state · read."""
    heads, groups = values.shape[2], writes.shape[2]
    write, read = (part[:, 0].repeat_interleave(heads // groups, 1) for part in (writes, reads))  # [B, H, N]
    state = state * fades[:, 0].exp()[..., None, None] + values[:, 0, :, :, None] * write[:, :, None]
    return (state @ read[..., None])[None, ..., 0].transpose(0, 1), state


def _block(values: Tensor, fades: Tensor, writes: Tensor, reads: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """As `scan`, for one block: products of tokens with tokens, and with the state before them."""
    groups = writes.shape[2]
    grouped = torch.unflatten(values, 2, (groups, -1)).permute(0, 2, 3, 1, 4)  # [B, G, R, Q, P]
    faded = torch.unflatten(fades.cumsum(1), 2, (groups, -1)).permute(0, 2, 3, 1)  # [B, G, R, Q]
    into, out = writes.transpose(1, 2), reads.transpose(1, 2)  # [B, G, Q, N]
    held = torch.unflatten(state, 1, (groups, -1))  # [B, G, R, P, N]
    between = faded[..., :, None] - faded[..., None, :]  # [B, G, R, Q, Q]
    later = torch.ones(between.shape[-2:], dtype=torch.bool, device=between.device).triu(1)
    weights = (out @ into.transpose(-1, -2))[:, :, None] * between.masked_fill(later, float("-inf")).exp()
    carried = out[:, :, None] @ held.transpose(-1, -2) * faded.exp()[..., None]  # [B, G, R, Q, P]
    found = weights @ grouped + carried
    last = faded[..., -1:]
    added = (grouped * (last - faded).exp()[..., None]).transpose(-1, -2) @ into[:, :, None]  # [B, G, R, P, N]
    held = held * last.exp()[..., None] + added
    return found.permute(0, 3, 1, 2, 4).flatten(2, 3), held.flatten(1, 2)
