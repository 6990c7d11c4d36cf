"""The kernel of a few tokens over states in slots, against the recurrences step by step. In Triton's interpreter where
there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from model.layers import delta, state_space
from model.layers.recurrent import Recurrence
from tests.model.paged.models import DEVICE

pytest.importorskip("triton", reason="triton is not installed: pip install triton --no-deps")

from model.paged.walk import walk

SIZES = [(6, 2, 7, 5), (4, 4, 16, 16), (3, 1, 5, 40), (8, 2, 32, 33)]
"""Heads, key heads, key and value dimensions: with and without a rest in the last tile, one tile and several."""


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _rows(batch: int, tokens: int, sizes: tuple[int, int, int, int], *, corrects: bool) -> Recurrence:
    heads, groups, key_dim, value_dim = sizes
    fades = -functional.softplus(_randn(batch, tokens, heads, seed=3) * 3)  # some heads forget at once, some hardly
    found = Recurrence(
        _randn(batch, tokens, groups, key_dim, seed=0).to(DEVICE),
        functional.normalize(_randn(batch, tokens, groups, key_dim, seed=1), dim=-1).to(DEVICE),
        _randn(batch, tokens, heads, value_dim, seed=2).to(DEVICE),
        fades.to(DEVICE),
    )
    return replace(found, shares=_randn(batch, tokens, heads, seed=4).sigmoid().to(DEVICE)) if corrects else found


def _states(slots: int, sizes: tuple[int, int, int, int], *, corrects: bool) -> Tensor:
    heads, _, key_dim, value_dim = sizes
    matrix = (key_dim, value_dim) if corrects else (value_dim, key_dim)
    return _randn(slots, heads, *matrix, seed=5).to(DEVICE)


def _step_by_step(rows: Recurrence, state: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """What one sequence's first tokens read, [count, H, V], and the state behind them."""
    served = rows.value.shape[2] // rows.key.shape[2]
    found = []
    for token in range(count):
        one = rows.part(token, token + 1)
        if one.shares is None:
            out, state = state_space.step(one.value, one.fades, one.key, one.query, state)
        else:
            query, key = (part.transpose(1, 2).repeat_interleave(served, 1) for part in (one.query, one.key))
            value, shares, fades = (part.transpose(1, 2) for part in (one.value, one.shares, one.fades))
            out, state = delta.step(query, key, value, shares, fades, state)
            out = out.transpose(1, 2)
        found.append(out[0, 0])
    return torch.stack(found) if found else rows.value[0, :0], state


def _one(rows: Recurrence, sequence: int) -> Recurrence:
    query, key, value, fades = (part[sequence, None] for part in (rows.query, rows.key, rows.value, rows.fades))
    return Recurrence(query, key, value, fades, None if rows.shares is None else rows.shares[sequence, None])


@pytest.mark.parametrize("corrects", [False, True], ids=["adds", "corrects"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("counts", [(1,), (3, 0, 8, 0)], ids=str)
def test_it_is_the_recurrence(counts: tuple[int, ...], sizes: tuple[int, int, int, int], corrects: bool) -> None:
    """For slots out of order; sequences to spare share the scratch slot, and whoever has no part is left alone."""
    rows = _rows(len(counts), max(counts), sizes, corrects=corrects)
    states = _states(9, sizes, corrects=corrects)
    before = states.clone()
    slots = [slot if count else 0 for slot, count in zip((5, 2, 7, 3), counts, strict=False)]
    found = walk(rows, states, torch.tensor(slots, device=DEVICE), torch.tensor(counts, device=DEVICE))
    expected = before.clone()
    for sequence, (slot, count) in enumerate(zip(slots, counts, strict=True)):
        out, state = _step_by_step(_one(rows, sequence), before[slot, None], count)
        torch.testing.assert_close(found[sequence, :count], out, rtol=1e-4, atol=1e-4)
        assert not found[sequence, count:].any()
        expected[slot] = state[0]
    torch.testing.assert_close(states, expected, rtol=1e-4, atol=1e-4)
    others = [slot for slot in range(9) if slot not in slots or slot == 0]
    assert torch.equal(states[others], before[others])


def test_a_slot_beyond_32_bits() -> None:
    """In memory that is never touched between."""
    sizes = SIZES[0]
    plain = _states(3, sizes, corrects=False)
    between = 2**30
    room = torch.empty(2 * between + plain[0].numel(), device=DEVICE)
    apart = room.as_strided(plain.shape, (between, *plain.stride()[1:]))
    apart.copy_(plain)
    rows = _rows(1, 2, sizes, corrects=False)
    slots, counts = torch.tensor([2], device=DEVICE), torch.tensor([2], device=DEVICE)
    torch.testing.assert_close(walk(rows, apart, slots, counts), walk(rows, plain, slots, counts))
    torch.testing.assert_close(apart[2], plain[2])


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from model.paged.walk_kernels import walk_kernel

names = walk_kernel.arg_names
codestral = dict(TOKENS=8, HEADS=128, GROUPS=8, KEY_DIM=128, VALUE_DIM=64, KEY_STRIDE=1, VALUE_STRIDE=128,
                 KEY_ROOM=128, COLUMNS=16, CORRECT=False)
qwen = dict(TOKENS=1, HEADS=32, GROUPS=16, KEY_DIM=128, VALUE_DIM=128, KEY_STRIDE=128, VALUE_STRIDE=1,
            KEY_ROOM=128, COLUMNS=32, CORRECT=True)
for constants in (codestral, qwen):
    whole = dict(slots="*i64", counts="*i64", slot_stride="i32")
    signature = {name: "constexpr" if name in constants else whole.get(name, "*fp32") for name in names}
    sixteens = {(place,): [["tt.divisibility", 16]] for place, name in enumerate(names) if name not in constants}
    source = ASTSource(fn=walk_kernel, signature=signature, attrs=sixteens,
                       constexprs={(names.index(name),): value for name, value in constants.items()})
    for capability in (75, 90):
        built = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
        assert "ld.global.v4.b32" in built.asm["ptx"]  # states come by whole lines
"""


def test_it_compiles_for_gpus(tmp_path: Path) -> None:
    """For Turing and Hopper, without having one, at the sizes of Codestral Mamba and Qwen3-Next."""
    pytest.importorskip("triton.backends.nvidia")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", COMPILE], check=True, timeout=300, env=environment)
