"""Weights of four bits against their reference: dequantized, and multiplied in float32."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.experts.few import TileShape, few_experts
from model.experts.grouped import GroupedShape, triton_grouped_experts
from model.experts.projection import few_rows, many_rows
from model.experts.quantized import quantize_experts, quantize_stack
from model.experts.reference import reference_experts
from model.experts.weights import FOUR_BITS, Stack
from model.linear import GROUP, dequantize_int4, quantize_int4
from tests.model.experts.cases import PLAIN, TOLERANCE, Case, assert_close, spread, tokens

pytest.importorskip("triton", reason="triton is not installed: pip install triton --no-deps")

SMALL = TileShape(rows=32, columns=256)
"""Blocks that divide neither the outputs nor all of the inputs below."""


def _matrix(outputs: int, inputs: int, *, group: int = GROUP, device: torch.device) -> tuple[Stack, Tensor]:
    """Packed, and what the CPU's format makes of the same weights, float32 [O, P]; far from zero in the mean, so that
    zeros matter."""
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(3)) * inputs**-0.5 + 0.1
    stack = quantize_stack(Stack(weight=weight[None].to(device)), FOUR_BITS, group=group)
    return stack, dequantize_int4(*quantize_int4(weight, group=group)).to(device)


def _rows(count: int, inputs: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.randn(count, inputs, generator=torch.Generator().manual_seed(4)).to(device, dtype)


def test_a_byte_holds_two_neighbours_the_first_in_its_low_half(device: torch.device) -> None:
    weight = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    stack = quantize_stack(Stack(weight=weight[None].to(device)), FOUR_BITS)
    quants, scales, zeros = quantize_int4(weight)
    assert stack.scale is not None
    assert (stack.weight.shape, stack.scale.shape, stack.inputs, stack.group) == ((1, 3, 32), (1, 3, 2, 2), 64, 32)
    for row in range(3):
        for place, byte in enumerate(stack.weight[0, row].tolist()):
            assert [byte % 16, byte // 16] == quants[row, 2 * place : 2 * place + 2].tolist()
    assert torch.equal(stack.scale[0, ..., 0].cpu(), scales)
    assert torch.equal(stack.scale[0, ..., 1].cpu(), zeros)
    assert stack.size_bytes == 3 * 64 * 0.625


@pytest.mark.parametrize("piece", [1, 100, 1 << 24])
def test_pieces_widen_to_the_cpus_weights(piece: int, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model.experts.weights._PIECE", piece)
    stack, expected = _matrix(5, 96, device=device)
    assert torch.equal(stack.matrix(0, torch.float32), expected)
    assert torch.equal(stack.matrix(0, torch.bfloat16), expected.bfloat16())


@pytest.mark.parametrize(
    ("count", "name"), [*((count, "bfloat16") for count in range(1, 9)), (3, "float16"), (8, "float32")]
)
def test_few_rows(count: int, name: str, device: torch.device) -> None:
    stack, weight = _matrix(40, 160, device=device)
    x = _rows(count, 160, PLAIN[name], device)
    assert_close(few_rows(stack, x, shape=SMALL), x.float() @ weight.T)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 32), (17, 96), (32, 128), (33, 416), (70, 512)])
def test_any_size(outputs: int, inputs: int, device: torch.device) -> None:
    stack, weight = _matrix(outputs, inputs, device=device)
    x = _rows(2, inputs, torch.float32, device)
    assert_close(few_rows(stack, x, shape=SMALL), x @ weight.T)


@pytest.mark.parametrize("group", [16, 32, 64, 128, 256])
def test_groups_of_any_size(group: int, device: torch.device) -> None:
    """Smaller than what a program reads at once, and larger."""
    stack, weight = _matrix(24, 512, group=group, device=device)
    x = _rows(3, 512, torch.bfloat16, device)
    expected = x.float() @ weight.T
    assert_close(few_rows(stack, x, shape=SMALL), expected)
    assert_close(many_rows(stack, x), expected)


@pytest.mark.parametrize("dtype", PLAIN.values(), ids=PLAIN)
def test_a_prompt(dtype: torch.dtype, device: torch.device) -> None:
    stack, weight = _matrix(40, 96, device=device)
    bias = torch.randn(1, 40, generator=torch.Generator().manual_seed(5)).to(device, dtype)
    x = _rows(70, 96, dtype, device)
    found = many_rows(replace(stack, bias=bias), x)
    # The weights are rounded to the type of the inputs, as the ordinary product wants them.
    expected = x.float() @ weight.T + bias.float()
    bound = 2 * TOLERANCE[dtype] * float(expected.abs().max())
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=bound)
    assert_close(few_rows(replace(stack, bias=bias), x[:8], shape=SMALL), expected[:8])


@pytest.mark.parametrize(("count", "dtype"), [(1, "bfloat16"), (3, "float16"), (8, "bfloat16")])
def test_experts(count: int, dtype: str, device: torch.device) -> None:
    case = Case(experts=3, hidden=96, inner=64, bias=True, activation="clamped")
    weights, plain = case.make(dtype, device)
    weights = quantize_experts(weights, "int4")
    x, shares = tokens(count, case, plain, device)
    chosen = spread(count, case, device)
    expected = reference_experts(weights, x, shares, chosen)
    assert_close(few_experts(weights, x, shares, chosen, shape=TileShape(rows=128, columns=256)), expected)
    shape = GroupedShape(pairs=16, outputs=128, inputs=32)
    assert_close(triton_grouped_experts(weights, x, shares, chosen, shape=shape), expected)


def test_rows_of_a_matrix_beyond_32_bits(device: torch.device) -> None:
    """The last row lies 2.4 thousand million bytes behind the first, in memory that is never touched between."""
    stack, weight = _matrix(10, 64, device=device)
    between = 2**28
    room = torch.empty(9 * between + 32, dtype=FOUR_BITS, device=device)
    apart = room.as_strided(stack.weight.shape, (0, between, 1))
    apart.copy_(stack.weight)
    x = _rows(2, 64, torch.float32, device)
    assert_close(few_rows(replace(stack, weight=apart), x, shape=SMALL), x @ weight.T)


COMPILE = """
import re
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile
from model.experts.few_kernels import down_kernel
from model.experts.grouped_kernels import grouped_down_kernel

pointers = dict(inner="*fp16", chosen="*i64", shares="*fp32", down="*u8", down_scale="*bf16", down_bias="*fp16",
                parts="*fp32", pairs="*i64", tile_expert="*i64", tile_first="*i64", tile_end="*i64")
few = dict(SCALED=True, GROUP=32, BIASED=False, ROWS=8, COLUMNS=512)
many = dict(SCALED=True, GROUP=32, BIASED=False, PRECISION="tf32", WIDEN=False, M=64, N=64, K=64)
for kernel, constants, capabilities in ((down_kernel, few, (75, 90)), (grouped_down_kernel, many, (90,))):
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else pointers.get(name, "i32") for name in names}
    sixteens = {(place,): [["tt.divisibility", 16]] for place, name in enumerate(names)
                if signature[name] != "constexpr" and name != "experts"}
    source = ASTSource(fn=kernel, signature=signature, attrs=sixteens,
                       constexprs={(names.index(name),): value for name, value in constants.items()})
    for capability in capabilities:
        built = compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": 4})
        if kernel is down_kernel:
            assert not re.search(r"ld\\.global\\S*[.][bsu]8 ", built.asm["ptx"])
"""


def test_the_kernels_compile_for_gpus(tmp_path: Path) -> None:
    """For Turing and Hopper, without having one. That of few rows reads no byte by itself."""
    pytest.importorskip("triton.backends.nvidia")
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", COMPILE], check=True, timeout=300, env=environment)
