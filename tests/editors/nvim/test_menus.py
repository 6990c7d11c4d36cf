"""Beside the completion menus of other plugins, as they are: nvim-cmp and blink.cmp, cloned at a release."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.editors.nvim.neovim import Neovim
from tests.editors.nvim.test_ghost import GHOST, check_quiet, check_screens, start
from tests.editors.tools import cached, run_or_skip

pytestmark = pytest.mark.nvim

PLUGINS = {
    "nvim-cmp": (
        "https://github.com/hrsh7th/nvim-cmp",
        "v0.0.2",
        """
        local cmp = require("cmp")
        cmp.register_source("words", {
          complete = function(_, _, done)
            done({ { label = "lemon" }, { label = "lever" } })
          end,
        })
        cmp.setup({
          sources = { { name = "words" } },
          performance = { debounce = 0, throttle = 0 },
          mapping = {
            ["<C-e>"] = cmp.mapping.abort(),
            ["<C-y>"] = cmp.mapping.confirm({ select = true }),
          },
        })
        function _G.menu_is_open() return cmp.visible() end
        """,
    ),
    "blink.cmp": (
        "https://github.com/Saghen/blink.cmp",
        "v1.8.0",
        """
        package.loaded["words"] = {
          new = function()
            return {
              get_completions = function(_, _, done)
                local items = { { label = "lemon" }, { label = "lever" } }
                done({ items = items, is_incomplete_forward = false, is_incomplete_backward = false })
              end,
            }
          end,
        }
        require("blink.cmp").setup({
          fuzzy = { implementation = "lua" },
          sources = { default = { "words" }, providers = { words = { name = "words", module = "words" } } },
          keymap = { preset = "none", ["<C-e>"] = { "cancel" }, ["<C-y>"] = { "select_and_accept" } },
        })
        function _G.menu_is_open() return require("blink.cmp").is_menu_visible() end
        """,
    ),
}


@pytest.fixture(params=PLUGINS)
def menu(request: pytest.FixtureRequest, neovim: Neovim) -> str:
    """One of the plugins, set up with two words that begin as the suggestion does."""
    address, release, configuration = PLUGINS[request.param]

    def install(folder: Path) -> None:
        clone = ("git", "clone", "--quiet", "--depth", "1", "--branch", release, address, folder)
        run_or_skip(request.param, *clone, timeout_s=120)

    folder = cached(f"{request.param}-{release}", install)
    neovim.nvim.command(f"set rtp+={folder}")
    neovim.nvim.command("runtime! plugin/**/*.lua plugin/**/*.vim")
    neovim.lua(configuration)
    return str(request.param)


def menu_is_open(neovim: Neovim) -> bool:
    return bool(neovim.lua("return _G.menu_is_open()"))


@pytest.mark.usefixtures("menu")
def test_ghost_text_makes_room_and_comes_back(neovim: Neovim, shown_by: str):
    start(neovim, ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("l")
    neovim.until(lambda: menu_is_open(neovim))
    neovim.until_ghost("")
    assert not neovim.lua("return require('tersely').accept()")
    neovim.type("<C-e>")
    neovim.until(lambda: not menu_is_open(neovim))
    neovim.until_ghost(GHOST[1:])
    neovim.type("<Tab>")
    assert neovim.line == f"    return {GHOST}"
    check_screens(neovim)
    check_quiet(neovim)


@pytest.mark.usefixtures("menu")
def test_both_beside_each_other(neovim: Neovim, shown_by: str):
    start(neovim, ghost=shown_by, menu="beside")
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("l")
    neovim.until(lambda: menu_is_open(neovim))
    neovim.until_ghost(GHOST[1:])
    neovim.type("<Tab>")
    neovim.until(lambda: neovim.line == f"    return {GHOST}")
    check_screens(neovim)
    check_quiet(neovim)


@pytest.mark.usefixtures("menu")
def test_what_the_menu_takes_stands_alone(neovim: Neovim, shown_by: str):
    start(neovim, ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("l")
    neovim.until(lambda: menu_is_open(neovim))
    neovim.type("<C-y>")
    neovim.until(lambda: neovim.line == "    return lemon")
    check_screens(neovim)
    check_quiet(neovim)
