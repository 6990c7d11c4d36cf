"""llama.vim as it is, in real Neovims, over our engine in place of llama.cpp's server."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from model.service import launcher
from model.service.options import EngineOptions
from tests.editors.nvim.neovim import Neovim
from tests.editors.tools import cached, run_or_skip

pytestmark = pytest.mark.nvim

ADDRESS = "https://github.com/ggml-org/llama.vim"
GHOST = "left - right"
SHOWN = """
local lines = {}
local marks = vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_create_namespace("vt_fim"), 0, -1, { details = true })
for _, mark in ipairs(marks) do
  for _, chunk in ipairs(mark[4].virt_text or {}) do
    lines[#lines + 1] = chunk[1]
  end
end
return table.concat(lines)
"""


def plugin() -> Path:
    """The newest llama.vim; it has no releases."""

    def install(folder: Path) -> None:
        run_or_skip("llama.vim", "git", "clone", "--quiet", "--depth", "1", ADDRESS, folder, timeout_s=120)

    return cached("llama.vim", install)


def test_its_suggestion_is_shown_and_taken(neovim: Neovim):
    folder = plugin()
    engine = asyncio.run(launcher.ensure_running(EngineOptions(model=f"fake:{GHOST}\n", port=0)))
    neovim.nvim.vars["llama_config"] = {"endpoint_fim": f"{engine.url}/infill", "show_info": 0}
    neovim.nvim.command(f"set rtp+={folder}")
    neovim.nvim.command("runtime plugin/llama.vim")
    neovim.open("def subtract(left, right):\n    return‸\n")
    neovim.type(" ")
    neovim.until(lambda: neovim.lua(SHOWN) == GHOST)
    neovim.type("<Tab>")
    neovim.until(lambda: neovim.line == f"    return {GHOST}")
    assert neovim.messages() == ""
