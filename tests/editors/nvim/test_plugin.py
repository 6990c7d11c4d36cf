"""The plugin around the ghost text, in real Neovims: options, commands, health, restarts, and its pure parts."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.editors.nvim.neovim import PLUGIN, Neovim

pytestmark = pytest.mark.nvim

MODEL = "fake:left - right\n"
GHOST = "left - right"


def start(neovim: Neovim, **options: Any) -> None:
    assert neovim.setup(settings={"model": MODEL}, **options)
    neovim.open("def f(left, right):\n    return‸\n")
    neovim.until_ready()


@pytest.mark.parametrize(
    ("text", "kind", "taken"),
    [
        ("left - right", "all", "left - right"),
        ("left - right", "word", "left"),
        (" - right", "word", " -"),
        (" right", "word", " right"),
        ("().x", "word", "()."),
        ("größe + 1", "word", "größe"),
        ("\n    return x", "word", "\n    return"),
        ("   ", "word", "   "),
        ("a\nb\nc", "line", "a"),
        ("\nb\nc", "line", "\nb"),
        ("\n\n", "line", "\n\n"),
        ("last", "line", "last"),
    ],
)
def test_parts(neovim: Neovim, text: str, kind: str, taken: str):
    assert neovim.lua("return require('tersely.part').take(...)", text, kind) == taken


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_columns_in_each_encoding(neovim: Neovim, encoding: str):
    line = "a𝕏äe\u0301z"
    units = {"utf-8": 1, "utf-16": 2, "utf-32": 4}[encoding]
    name = encoding if encoding == "utf-8" else f"{encoding}-le"
    for index in range(len(line) + 1):
        col = len(line[:index].encode())
        character = len(line[:index].encode(name)) // units
        assert neovim.lua("return require('tersely.position').to_character(...)", line, col, encoding) == character
        assert neovim.lua("return require('tersely.position').to_col(...)", line, character, encoding) == col
    assert neovim.lua("return require('tersely.position').to_col(...)", line, 99, encoding) == len(line.encode())


def test_a_server_that_dies_again_and_again_is_given_up(neovim: Neovim):
    waits = neovim.lua(
        """
        local backoff, waits = require("tersely.backoff").new(), {}
        for _, lived_s in ipairs({ 1, 1, 1, 1, 1, 1, 200, 1 }) do
          waits[#waits + 1] = backoff:ended(lived_s) or -1
        end
        return waits
        """
    )
    assert waits == [1, 2, 4, 8, 16, -1, 1, 2]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"colour": "red"}, 'there is no option "colour"'),
        ({"menu": "beneath"}, "one of hide, beside"),
        ({"debounce_ms": "soon"}, "must be a number"),
        ({"cmd": []}, "must name a command"),
    ],
)
def test_bad_options_are_told(neovim: Neovim, options: dict[str, object], complaint: str):
    assert not neovim.lua("return require('tersely').setup(...)", options)
    [told] = neovim.notified()
    assert complaint in told


def test_an_older_neovim_is_told_what_it_needs(neovim: Neovim):
    neovim.lua("vim.fn.has = function() return 0 end")
    assert not neovim.setup()
    [told] = neovim.notified()
    assert "needs Neovim 0.10 or newer" in told
    assert not neovim.lua("return require('tersely').visible()")


def test_nothing_is_taken_or_mapped_unasked(neovim: Neovim):
    before = neovim.nvim.command_output("imap")
    assert neovim.setup()
    assert neovim.nvim.command_output("imap") == before
    assert "<Plug>(tersely-accept)" in before


def test_status_level_model_and_toggle(neovim: Neovim):
    start(neovim)
    assert neovim.lua("return require('tersely').statusline()") == "tersely ✓"
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    assert re.fullmatch(r"tersely ✓ \d+ ms", neovim.lua("return require('tersely').statusline()"))
    neovim.nvim.command("Tersely status")
    [told] = neovim.notified()
    assert "fake is ready" in told
    assert "last answer" in told
    neovim.nvim.command("Tersely toggle")
    neovim.until(lambda: neovim.lua("return require('tersely').statusline()") == "tersely off")
    neovim.nvim.command("Tersely toggle")
    neovim.until(lambda: "✓" in neovim.lua("return require('tersely').statusline()"))
    neovim.nvim.command("Tersely level quiet")
    neovim.nvim.command("Tersely model fake:other")

    def other() -> bool:
        """Typing asks the new engine, once it is there."""
        neovim.type("<BS>")
        neovim.type(" ")
        time.sleep(0.3)
        return neovim.ghost() == "other"

    neovim.until(other)
    neovim.nvim.command("Tersely level loud")
    neovim.nvim.command("Tersely dance")
    assert "quiet, balanced or eager" in neovim.notified()[-2]
    assert ":Tersely dance" in neovim.notified()[-1]


def test_words_of_the_command_are_completed(neovim: Neovim):
    assert neovim.nvim.funcs.getcompletion("Tersely e", "cmdline") == ["explain"]
    assert neovim.nvim.funcs.getcompletion("Tersely level ", "cmdline") == ["balanced", "eager", "quiet"]


def test_an_explanation_is_a_page(neovim: Neovim):
    start(neovim)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<Esc>")
    neovim.nvim.command("Tersely explain")
    neovim.until(lambda: neovim.nvim.current.buffer.options["filetype"] == "markdown")
    assert neovim.text.startswith(f"# The suggestion\n\n```\n{GHOST}\n```\n")
    assert "- model: fake" in neovim.text
    assert "def f(left, right):\n    return" in neovim.text
    neovim.type("q")
    assert neovim.line == "    return "


def test_the_engines_page_is_opened(neovim: Neovim):
    neovim.lua("vim.ui.open = function(address) _G.opened = address end")
    start(neovim)
    neovim.nvim.command("Tersely page")
    address, _, token = str(neovim.until(lambda: neovim.lua("return _G.opened"))).partition("#")
    stats = httpx.get(f"{address}stats", headers={"Authorization": f"Bearer {token}"}, timeout=30).json()
    assert stats["engine"]["model_name"] == "fake"
    assert neovim.notified() == []


def test_no_page_without_an_engine(neovim: Neovim, tmp_path: Path):
    neovim.lua("vim.env.TERSELY_HOME = ...", str(tmp_path / "other"))
    assert neovim.setup()
    neovim.nvim.command("Tersely page")
    [told] = neovim.until(neovim.notified)
    assert told.startswith("tersely: No engine is running.")


def test_health(neovim: Neovim):
    start(neovim, keys={"accept": "<Tab>"})
    neovim.nvim.command("checkhealth tersely")
    for line in ("a key takes the suggestion", "serves 1 buffers", "suggestions are shown by", "torch"):
        assert line in neovim.text
    # The scripted model is no file that the doctor could look at.
    assert all("model" in error for error in re.findall(r"ERROR (.*)", neovim.text))


def test_health_says_what_to_do_where_there_is_no_server(neovim: Neovim):
    neovim.setup(cmd=["tersely-that-is-not-there", "lsp"])
    neovim.nvim.command("checkhealth tersely")
    assert "tersely-that-is-not-there cannot be run" in neovim.text
    assert "Install tersely" in neovim.text


def test_a_server_that_dies_is_started_again(neovim: Neovim):
    start(neovim)
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    pid = neovim.lua("return vim.fn.getpid()")
    assert neovim.lua("return #vim.lsp.get_clients()") == 1
    for child in psutil.Process(pid).children():
        child.kill()
    neovim.until(lambda: neovim.lua("return require('tersely').statusline()") == "")
    neovim.until_ready()
    neovim.type("<BS> ")
    neovim.until_ghost(GHOST)


def test_servers_are_started_by_file_type_where_neovim_has_no_way_of_its_own(neovim: Neovim):
    """As on Neovim 0.10, which has no `vim.lsp.config`."""
    neovim.lua("rawset(vim.lsp, 'config', nil)")
    start(neovim, ghost="own", filetypes=["python"])
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<Esc>")
    neovim.open("‸\n", name="notes.txt")
    assert neovim.lua("return #vim.lsp.get_clients({ bufnr = 0 })") == 0


def test_lines_that_end_as_on_windows(neovim: Neovim):
    assert neovim.setup(settings={"model": MODEL}, keys={"accept": "<Tab>"})
    neovim.open("def f(left, right):\r\n    return‸\r\n")
    neovim.until_ready()
    assert neovim.nvim.current.buffer.options["fileformat"] == "dos"
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<Tab>")
    assert neovim.text == f"def f(left, right):\n    return {GHOST}"


def test_alternatives(neovim: Neovim):
    """The engine has one answer only, so the one suggestion stays, and nothing breaks."""
    start(neovim, keys={"next": "<M-]>"})
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<M-]>")
    counted = neovim.lua("return vim.lsp.inline_completion == nil")  # Neovim's own shows no number
    neovim.until_ghost(f"{GHOST} (1/1)" if counted else GHOST)
    assert neovim.messages() == ""


def test_several_alternatives_are_shown_in_turn(neovim: Neovim):
    """Over the server with a scripted completer, which has three when it is asked."""
    assert neovim.setup(cmd=[sys.executable, "-m", "tests.lsp.fake_server"], keys={"next": "<M-]>", "accept": "<Tab>"})
    neovim.open("many = ‸\n")
    neovim.until_ready()
    neovim.type("<Esc>a")
    neovim.until_ghost("one()")
    neovim.type("<M-]>")
    neovim.until(lambda: neovim.ghost().startswith("two()"))
    neovim.type("<M-]>")
    neovim.until(lambda: neovim.ghost().startswith("three()"))
    neovim.type("<Tab>")
    assert neovim.line == "many = three()"


def test_the_plain_set_up_of_the_readme(neovim: Neovim):
    """Neovim 0.12 needs no plugin."""
    if neovim.lua("return vim.lsp.inline_completion == nil"):
        pytest.skip("this Neovim has no inline completion of its own")
    readme = (PLUGIN / "README.md").read_text(encoding="utf-8")
    [snippet] = re.findall(r"<!-- plain -->\n```lua\n(.*?)```", readme, re.DOTALL)
    snippet = snippet.replace('{ "tersely", "lsp" }', f'{{ "{sys.executable}", "-m", "tersely", "lsp" }}')
    neovim.lua(snippet)
    neovim.lua("vim.lsp.config('tersely', { settings = { tersely = { model = ... } } })", MODEL)
    neovim.lua(
        """vim.lsp.config("tersely", { handlers = { ["tersely/didChangeStatus"] = function(_, result)
             _G.status = result.message end } })"""
    )
    neovim.open("def f(left, right):\n    return‸\n")
    neovim.until(lambda: "is ready" in (neovim.lua("return _G.status") or ""))
    neovim.type(" ")
    neovim.until_ghost(GHOST)
    neovim.type("<Tab>")
    neovim.until(lambda: neovim.line == f"    return {GHOST}")


def test_help_has_its_tags(neovim: Neovim):
    neovim.nvim.command(f"helptags {PLUGIN / 'doc'}")
    for tag in ("tersely", "tersely-options", "tersely-maps", ":Tersely", "tersely-menu", "tersely-statusline"):
        neovim.nvim.command(f"help {tag}")
        assert neovim.nvim.current.buffer.name.endswith("tersely.txt")
