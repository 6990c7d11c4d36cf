"""Ghost text in real Neovims, from the key to the engine's process and back."""

from __future__ import annotations

import json

import pytest

from model.paths import state_dir
from tests.editors.nvim.neovim import Neovim

pytestmark = pytest.mark.nvim

SAMPLE = '''def add(a, b):
    """Add two numbers."""
    return a + b


def subtract(a, b):
    """Subtract one number from another."""
    return‸
'''
GHOST = "left - right"
MODEL = f"fake:{GHOST}\n"
SLOW = f"fake@0.1:{GHOST}\n"
KEYS = {
    "accept": "<Tab>",
    "accept_word": "<C-Right>",
    "accept_line": "<C-Down>",
    "next": "<M-]>",
    "dismiss": "<C-]>",
}


def start(neovim: Neovim, source: str = SAMPLE, *, model: str = MODEL, **options: object) -> None:
    """Set the plugin up as a user would, with keys, and open a file; the engine is ready then."""
    settings = {"model": model, **options.pop("settings", {})}  # type: ignore[dict-item]
    assert neovim.setup(settings=settings, keys=KEYS, **options)
    neovim.open(source)
    neovim.until_ready()


def check_screens(neovim: Neovim) -> None:
    """No redraw showed a suggestion anywhere but at the cursor, or one that does not belong there."""
    screens = neovim.screens()
    assert screens
    for screen in screens:
        before = screen.line.encode()[: screen.col].decode()
        belongs = any(screen.ghost == GHOST[count:] and before.endswith(GHOST[:count]) for count in range(len(GHOST)))
        assert not screen.ghost or (screen.at_cursor and belongs), screen


def check_quiet(neovim: Neovim) -> None:
    """Nothing went wrong, and nobody was bothered."""
    assert neovim.messages() == ""
    assert neovim.notified() == []
    assert neovim.nvim.vvars["errmsg"] == ""


def outcomes() -> list[str]:
    """What the server noted of suggestions so far."""
    log = state_dir() / "acceptance.jsonl"
    return [json.loads(line)["outcome"] for line in log.read_text().splitlines()] if log.exists() else []


def test_appears_advances_and_is_taken(neovim: Neovim, shown_by: str):
    start(neovim, ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("l")
    assert neovim.ghost() == GHOST[1:]
    neovim.type("ef")
    assert neovim.ghost() == GHOST[3:]
    neovim.type("<Tab>")
    assert neovim.line == f"    return {GHOST}"
    neovim.until(lambda: neovim.ghost() == "")
    neovim.until(lambda: outcomes()[-1:] == ["accepted"])
    check_screens(neovim)
    check_quiet(neovim)
    neovim.type("<Esc>u")
    assert neovim.line == "    return lef"


def test_words_and_lines_are_taken(neovim: Neovim, shown_by: str):
    start(neovim, ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<C-Right>")
    assert neovim.line == "    return left"
    neovim.until_ghost(" - right")
    neovim.type("<C-Right>")
    assert neovim.line == "    return left -"
    neovim.until(lambda: outcomes()[-1:] == ["partial"])
    neovim.until_ghost(" right")
    neovim.type("<C-Down>")
    assert neovim.line == f"    return {GHOST}"
    neovim.until(lambda: outcomes()[-1:] == ["accepted"])
    check_screens(neovim)
    check_quiet(neovim)
    neovim.type("<Esc>u")
    assert neovim.line == "    return left -"


def test_what_no_longer_belongs_is_never_on_screen(neovim: Neovim, shown_by: str):
    start(neovim, ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("x")
    neovim.until_ghost(GHOST)
    neovim.type("<Esc>")
    assert neovim.ghost() == ""
    neovim.type("kA ")
    neovim.type("<Up>")
    check_screens(neovim)
    check_quiet(neovim)


def test_rapid_typing_over_a_slow_engine(neovim: Neovim, shown_by: str):
    start(neovim, model=SLOW, ghost=shown_by)
    for key in ["<CR>for", "name", "in", "names:<CR>print(name,", "end='')<BS><BS><Esc>oif", "not", "names:<CR>return"]:
        neovim.type(f"{key} ")
    neovim.until_ghost(GHOST)
    check_screens(neovim)
    check_quiet(neovim)


def test_several_lines(neovim: Neovim, shown_by: str):
    block = "if left:\n        return right"
    start(
        neovim,
        "def first(left, right):\n    ‸\n",
        model=f"fake:{block}\n\n\ndef second():\n",
        ghost=shown_by,
        settings={"level": "eager"},
    )
    neovim.type("<Esc>a")
    neovim.until(lambda: "\n" in neovim.ghost())
    neovim.type("<C-Down>")
    assert neovim.line.strip() == "if left:"
    neovim.until_ghost("\n        return right")
    neovim.type("<C-Down>")
    assert neovim.text == f"def first(left, right):\n    {block}"
    check_quiet(neovim)


def test_put_away_until_the_text_changes(neovim: Neovim, shown_by: str):
    start(neovim, ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<C-]>")
    assert neovim.ghost() == ""
    assert not neovim.lua("return require('tersely').visible()")
    neovim.type("x")
    neovim.until_ghost(GHOST)
    check_quiet(neovim)


def test_a_key_does_its_own_work_when_there_is_nothing_to_take(neovim: Neovim, shown_by: str):
    assert neovim.setup(settings={"model": MODEL, "enabled": False}, keys=KEYS, ghost=shown_by)
    neovim.open("‸\n", name="notes.txt")
    neovim.type("a<Tab>b")
    assert neovim.line == "a\tb"


@pytest.mark.parametrize("menu", ["hide", "beside"])
def test_a_completion_menu(neovim: Neovim, shown_by: str, menu: str):
    start(neovim, ghost=shown_by, menu=menu)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<C-x><C-n>")
    neovim.until(lambda: neovim.nvim.funcs.pumvisible())
    if menu == "hide":
        neovim.until_ghost("")
        assert not neovim.lua("return require('tersely').visible()")
        neovim.type("<C-e>")
    neovim.until_ghost(GHOST)
    check_quiet(neovim)


STAND_INS = {
    "blink.cmp": """
        package.loaded["blink.cmp"] = { is_menu_visible = function() return _G.menu_open end }
        function _G.set_menu(open)
          _G.menu_open = open
          local pattern = open and "BlinkCmpMenuOpen" or "BlinkCmpMenuClose"
          vim.api.nvim_exec_autocmds("User", { pattern = pattern })
        end""",
    "nvim-cmp": """
        local told = {}
        package.loaded.cmp = {
          visible = function() return _G.menu_open end,
          event = { on = function(_, name, call) told[name] = call end },
        }
        function _G.set_menu(open)
          _G.menu_open = open
          told[open and "menu_opened" or "menu_closed"]()
        end""",
}


@pytest.mark.parametrize("menu", STAND_INS)
def test_menus_of_other_plugins(neovim: Neovim, shown_by: str, menu: str):
    """Stand-ins with the functions and events that the plugins have."""
    neovim.lua(STAND_INS[menu])
    start(neovim, ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.lua("_G.set_menu(true)")
    neovim.until_ghost("")
    assert not neovim.lua("return require('tersely').accept()")
    neovim.lua("_G.set_menu(false)")
    neovim.until_ghost(GHOST)
    check_quiet(neovim)


def test_wide_characters_before_the_cursor(neovim: Neovim, shown_by: str):
    start(neovim, "names = ['𝕏', 'ä', 'ö']; total =‸\n", ghost=shown_by)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<Tab>")
    assert neovim.line == f"names = ['𝕏', 'ä', 'ö']; total = {GHOST}"
    check_screens(neovim)
    check_quiet(neovim)
