"""The kernel that scores index keys in pages, against plain products. In Triton's interpreter where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.paged.pool import PAGE_TOKENS
from tests.model.paged.models import DEVICE

pytest.importorskip("triton", reason="triton is not installed: pip install triton --no-deps")

from model.paged.scoring import score

TABLES = ((3, 1, 4, 0), (5, 0, 0, 0), (2, 6, 7, 8))
LENGTHS = (130, 64, 256)


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def _scored(queries: Tensor, weights: Tensor, keys: Tensor, pages: int = 4) -> Tensor:
    batch = len(queries)
    tables = torch.tensor(TABLES, dtype=torch.int32, device=DEVICE)[:batch, :pages]
    return score(queries, weights, keys, tables, torch.tensor(LENGTHS[:batch], dtype=torch.int32, device=DEVICE))


def _assert_right(found: Tensor, queries: Tensor, weights: Tensor, keys: Tensor) -> None:
    """Token by token, as far as each sequence holds them."""
    for sequence, length in enumerate(LENGTHS[: len(queries)]):
        pages = torch.tensor(TABLES[sequence], device=DEVICE)
        places = (pages[:, None] * PAGE_TOKENS + torch.arange(PAGE_TOKENS, device=DEVICE)).flatten()[:length]
        products = torch.relu(queries[sequence].float() @ keys[places].float().T)  # [J, M, S]
        expected = torch.einsum("jms,mj->ms", products, weights[sequence])
        torch.testing.assert_close(found[sequence, :, :length], expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("sizes", [(2, 4), (16, 16), (5, 20), (32, 128)], ids=str)
@pytest.mark.parametrize("rows", [1, 3, 40])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_scores_are_plain_products(sizes: tuple[int, int], rows: int, dtype: torch.dtype) -> None:
    """Heads and dimensions that fill a tile and such that do not; more new tokens than a program takes."""
    heads, dim = sizes
    batch = 1 if rows == 40 else 3
    queries = _randn(batch, heads, rows, dim, seed=0).to(dtype)
    weights = _randn(batch, rows, heads, seed=1)
    keys = _randn(9 * PAGE_TOKENS, dim, seed=2).to(dtype)
    _assert_right(_scored(queries, weights, keys), queries, weights, keys)


def test_programs_that_take_several_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.paged.scoring._PROGRAMS", 3)
    queries, weights = _randn(3, 2, 2, 8, seed=0), _randn(3, 2, 2, seed=1)
    keys = _randn(9 * PAGE_TOKENS, 8, seed=2)
    _assert_right(_scored(queries, weights, keys), queries, weights, keys)


def test_a_place_beyond_32_bits() -> None:
    """In memory that is never touched between; the last page of the first sequence is far behind."""
    queries, weights = _randn(1, 2, 2, 8, seed=0), _randn(1, 2, 2, seed=1)
    keys = _randn(9 * PAGE_TOKENS, 8, seed=2)
    between = 2**31 // (4 * PAGE_TOKENS)
    room = torch.empty((9 * PAGE_TOKENS) * between, device=DEVICE)
    apart = room.as_strided(keys.shape, (between, 1))
    places = torch.tensor([TABLES[0][page] * PAGE_TOKENS for page in range(3)], device=DEVICE)[:, None]
    places = (places + torch.arange(PAGE_TOKENS, device=DEVICE)).flatten()
    apart[places] = keys[places]
    assert int(places.max()) * between > 2**31
    _assert_right(_scored(queries, weights, apart), queries, weights, keys)


COMPILE = """
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from model.paged.scoring_kernels import score_kernel

names = score_kernel.arg_names
constants = dict(HEADS=32, HEADS_ROOM=32, DIM=128, DIM_ROOM=128, ROWS=8, PAGE=64, WIDEN=False)
kinds = dict(weights="*fp32", tables="*i32", lengths="*i32", scores="*fp32",
             rows="i32", tokens="i32", pages_stride="i32", key_stride="i32")
sixteens = [name for name in names if name not in constants and name not in ("rows", "pages_stride")]
for capability, numbers in ((75, "*fp16"), (90, "*bf16")):
    signature = {name: "constexpr" if name in constants else kinds.get(name, numbers) for name in names}
    source = ASTSource(fn=score_kernel, signature=signature,
                       attrs={(names.index(name),): [["tt.divisibility", 16]] for name in sixteens},
                       constexprs={(names.index(name),): value for name, value in constants.items()})
    built = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
    assert capability == 75 or "mma.sync" in built.asm["ptx"]  # on tensor cores, where Triton knows them
"""


def test_it_compiles_for_gpus(tmp_path: Path) -> None:
    """For Turing and Hopper, without having one, at the sizes of Mistral Large 4."""
    pytest.importorskip("triton.backends.nvidia")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", COMPILE], check=True, timeout=300, env=environment)
