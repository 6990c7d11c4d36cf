"""Every way to compute experts against the slow reference; on a CPU the kernels run in Triton's interpreter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import Tensor

from model.experts.compute import compute_experts
from model.experts.few import TileShape, columns_for, few_experts
from model.experts.grouped import (
    GroupedShape,
    cut_tiles,
    sort_by_expert,
    torch_grouped_experts,
    torch_groups,
    triton_grouped_experts,
)
from model.experts.in_turn import experts_in_turn
from model.experts.projection import few_rows, many_rows
from model.experts.quantized import quantize_experts, quantize_stack
from model.experts.reference import reference_experts
from model.experts.weights import FOUR_BITS, ExpertWeights, Stack
from model.layers.mixture import Router
from tests.model.experts.cases import (
    CHOICES,
    FORMATS,
    GELU,
    GPT_OSS,
    PLAIN,
    Case,
    assert_close,
    spread,
    tokens,
)

pytest.importorskip("triton", reason="triton is not installed: pip install triton --no-deps")

Way = Callable[[ExpertWeights, Tensor, Tensor, Tensor], Tensor]
GROUPED = partial(triton_grouped_experts, shape=GroupedShape(pairs=16, outputs=64, inputs=32))
FEW = partial(few_experts, shape=TileShape(rows=64, columns=64))
WAYS: dict[str, Way] = {"in turn": experts_in_turn, "few": FEW, "grouped": GROUPED}


def check(way: Way, case: Case, name: str, count: int, choice: str, device: torch.device) -> None:
    weights, dtype = case.make(name, device)
    x, shares = tokens(count, case, dtype, device)
    chosen = CHOICES[choice](count, case, device)
    assert_close(way(weights, x, shares, chosen), reference_experts(weights, x, shares, chosen))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORMATS)
def test_every_number_format(way: str, name: str, device: torch.device) -> None:
    check(WAYS[way], Case(), name, 5, "spread", device)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("choice", CHOICES)
def test_ties_idle_experts_and_one_that_takes_all(way: str, choice: str, device: torch.device) -> None:
    check(WAYS[way], Case(), "bfloat16", 10, choice, device)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [1, 2, 8, 9, 16, 33, 64])
def test_any_number_of_tokens(way: str, count: int, device: torch.device) -> None:
    check(WAYS[way], Case(experts=4, chosen=1), "float32", count, "spread", device)


@pytest.mark.parametrize(("way", "count"), [("few", 1), ("few", 8), ("grouped", 1), ("grouped", 64), ("in turn", 64)])
@pytest.mark.parametrize("name", FORMATS)
def test_the_least_and_the_most_tokens_in_every_number_format(
    way: str, count: int, name: str, device: torch.device
) -> None:
    check(WAYS[way], Case(experts=4), name, count, "spread", device)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", [GPT_OSS, GELU], ids=["clamped", "gelu"])
@pytest.mark.parametrize("name", ["bfloat16", "fp8"])
def test_every_activation_and_biases(way: str, case: Case, name: str, device: torch.device) -> None:
    check(WAYS[way], case, name, 6, "spread", device)


@pytest.mark.parametrize("way", WAYS)
def test_a_single_expert_is_a_dense_block(way: str, device: torch.device) -> None:
    case = Case(experts=1, chosen=1)
    weights, dtype = case.make("float32", device)
    x, _ = tokens(7, case, dtype, device)
    mine = torch.zeros(7, 1, dtype=torch.int64, device=device)
    gate, up, down = (stack.weight[0] for stack in (weights.gate, weights.up, weights.down))
    expected = (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T
    assert_close(WAYS[way](weights, x, torch.ones(7, 1, device=device), mine), expected)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("case", [Case(), GPT_OSS], ids=["silu", "clamped"])
def test_torchs_grouped_product(choice: str, case: Case, device: torch.device) -> None:
    weights, dtype = case.make("bfloat16", device)
    x, shares = tokens(20, case, dtype, device)
    if not torch_groups(weights, x):
        pytest.skip("torch has no grouped product for this device")
    chosen = CHOICES[choice](20, case, device)
    assert_close(torch_grouped_experts(weights, x, shares, chosen), reference_experts(weights, x, shares, chosen))


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_torchs_grouped_product_is_left_alone_for_other_types(name: str, device: torch.device) -> None:
    weights, dtype = Case().make(name, device)
    x, _ = tokens(3, Case(), dtype, device)
    assert not torch_groups(weights, x)


@pytest.mark.parametrize("count", [3, 20])
def test_a_mixture_may_be_packed_in_part(count: int, device: torch.device) -> None:
    """Where the inputs of some of its matrices do not fall into groups."""
    weights, dtype = Case().make("bfloat16", device)
    mixed = replace(weights, down=quantize_stack(weights.down, FOUR_BITS, group=8))
    x, shares = tokens(count, Case(), dtype, device)
    chosen = spread(count, Case(), device)
    assert not torch_groups(mixed, x)
    for way in WAYS.values():
        assert_close(way(mixed, x, shares, chosen), reference_experts(mixed, x, shares, chosen))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["int8", "int4"])
def test_offsets_beyond_32_bits(way: str, name: str, device: torch.device) -> None:
    """The last expert lies 2.4 thousand million bytes behind the first, in memory that is never touched between."""
    case = Case(experts=10, chosen=1, hidden=32, inner=32)
    weights, _ = case.make(name, device)
    wide = replace(weights, **{part: _far_apart(getattr(weights, part)) for part in ("gate", "up", "down")})
    x, shares = tokens(2, case, torch.float32, device)
    chosen = torch.tensor([[9], [0]], device=device)
    expected = reference_experts(weights, x, shares, chosen)
    assert wide.gate.weight.stride(0) * 9 > 2**31
    assert_close(WAYS[way](wide, x, shares, chosen), expected)


def _far_apart(stack: Stack) -> Stack:
    experts, outputs, inputs = stack.weight.shape
    between = 2**28
    room = torch.empty((experts - 1) * between + outputs * inputs, dtype=stack.weight.dtype, device=stack.weight.device)
    apart = room.as_strided(stack.weight.shape, (between, inputs, 1))
    apart.copy_(stack.weight)
    return replace(stack, weight=apart)


@pytest.mark.parametrize("way", WAYS)
def test_weights_may_be_views_of_one_fused_tensor(way: str, device: torch.device) -> None:
    weights, dtype = Case().make("float32", device)
    fused = torch.cat((weights.gate.weight, weights.up.weight), 1)
    halves = replace(weights, gate=Stack(weight=fused[:, :56]), up=Stack(weight=fused[:, 56:]))
    x, shares = tokens(4, Case(), dtype, device)
    chosen = spread(4, Case(), device)
    assert_close(WAYS[way](halves, x, shares, chosen), reference_experts(weights, x, shares, chosen))


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize(("count", "rows"), [(1, 16), (7, 4), (64, 16)])
def test_tiles_hold_every_pair_once_and_one_expert_each(choice: str, count: int, rows: int) -> None:
    chosen = CHOICES[choice](count, Case(), torch.device("cpu"))
    sorting = sort_by_expert(chosen, 5)
    tiles = cut_tiles(sorting.ends, pairs=chosen.numel(), rows=rows)
    held = [
        (row, int(expert))
        for expert, first, end in zip(tiles.expert, tiles.first.tolist(), tiles.end.tolist(), strict=True)
        for row in range(first, end)
    ]
    owned = [expert for expert in sorting.experts.tolist() if expert < 5]
    assert [row for row, _ in held] == list(range(len(owned)))
    assert [expert for _, expert in held] == owned
    assert all(end - first <= rows for first, end in zip(tiles.first.tolist(), tiles.end.tolist(), strict=True))


def test_eight_bits_are_close_to_the_weights() -> None:
    weights, _ = Case().make("float32", torch.device("cpu"))
    for name, bound in (("int8", 1 / 127), ("fp8", 1 / 15)):
        for group in (None, 8):
            packed = quantize_experts(weights, name, group=group)
            assert packed.size_bytes < weights.size_bytes / (2 if group else 3)
            for part in ("gate", "up", "down"):
                whole, rounded = getattr(weights, part), getattr(packed, part)
                largest = whole.weight.abs().amax()
                assert (rounded.matrix(2, torch.float32) - whole.weight[2]).abs().max() < bound * largest


@pytest.mark.parametrize(
    ("inputs", "columns"), [(2048, 512), (768, 256), (14336, 512), (1408, 128), (100, 128), (2880, 256)]
)
def test_tiles_fit_the_inputs(inputs: int, columns: int) -> None:
    assert columns_for(inputs, 512) == columns


def test_gradients_flow_through_the_seam() -> None:
    weights, dtype = Case().make("float32", torch.device("cpu"))
    x, shares = tokens(4, Case(), dtype, torch.device("cpu"))
    x.requires_grad_()
    compute_experts(weights, x, shares, spread(4, Case(), torch.device("cpu"))).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().min() > 0


@pytest.mark.parametrize("name", PLAIN)
def test_the_seam_on_this_device(name: str, device: torch.device) -> None:
    for count in (1, 8, 30):
        check(compute_experts, Case(), name, count, "spread", device)


@pytest.mark.parametrize("name", ["bfloat16", "int8", "fp8", "fp8 in groups"])
@pytest.mark.parametrize("bias", [False, True])
def test_a_projection_is_a_single_expert(name: str, bias: bool, device: torch.device) -> None:
    weights, dtype = Case(experts=1, bias=bias).make(name, device)
    x, _ = tokens(3, Case(), dtype, device)
    expected = x.float() @ weights.gate.matrix(0, torch.float32).T
    expected = expected if weights.gate.bias is None else expected + weights.gate.bias[0].float()
    assert_close(few_rows(weights.gate, x, shape=TileShape(rows=64, columns=64)), expected)
    assert_close(many_rows(weights.gate, x), expected)


class Launches:
    """In a kernel's place: notes its grids."""

    def __init__(self) -> None:
        self.grids: list[tuple[int, ...]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        self.grids.append(grid)
        return lambda *_, **__: None


@pytest.mark.parametrize("way", ["few", "grouped", "grouped by torch"])
def test_the_host_never_waits_for_the_choice(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors without numbers do: who asks for one of them is refused. The router is asked too."""
    launches = Launches()
    for module, kernels in (("few", ("gate_up", "down")), ("grouped", ("grouped_gate_up", "grouped_down"))):
        for kernel in kernels:
            monkeypatch.setattr(f"model.experts.{module}_kernels.{kernel}_kernel", launches)
    device, count = torch.device("meta"), 3 if way == "few" else 70
    weights, dtype = Case(experts=8, hidden=48, inner=64).make("bfloat16", device)
    assert weights.config.router is not None
    x = torch.empty(count, 48, dtype=dtype, device=device)
    with device, torch.no_grad():
        shares, chosen = Router(48, weights.config.router)(x)
    with pytest.raises(RuntimeError):
        experts_in_turn(weights, x, shares, chosen)  # as it must on a CPU
    found = (WAYS | {"grouped by torch": torch_grouped_experts})[way](weights, x, shares, chosen)
    assert (found.shape, found.dtype, found.device) == (x.shape, dtype, device)
    assert len(launches.grids) == (0 if way == "grouped by torch" else 2)
