"""`:Tersely refactor` in real Neovims: over the real tools, with a scripted planner."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.editors.nvim.neovim import Neovim

pytestmark = pytest.mark.nvim

BEFORE = "def area(w, h):\n    return w * h\n\n\nprint(area(2, 3))  # an area"
AFTER = BEFORE.replace("def area", "def surface").replace("print(area", "print(surface")


def start(neovim: Neovim) -> None:
    """A project of two files, the first of which is open."""
    (neovim.folder / "pyproject.toml").touch()
    (neovim.folder / "user.py").write_text("from sample import area\n\narea(1, 1)\n")
    assert neovim.setup(cmd=[sys.executable, "-m", "tests.lsp.fake_server"])
    neovim.open(f"‸{BEFORE}\n")
    neovim.type("<Esc>")
    neovim.until_ready()


def test_a_wish_is_granted_in_one_undo_step(neovim: Neovim):
    start(neovim)
    neovim.type("Gox = 1<Esc>")
    neovim.nvim.command("Tersely refactor rename area to surface")
    neovim.until(lambda: neovim.text == f"{AFTER}\nx = 1")
    neovim.until(lambda: len(neovim.notified()) == 2)
    planning, told = neovim.notified()
    assert planning == "tersely: planning: rename area to surface"
    assert told == (
        "tersely: changed sample.py, user.py; not written yet\nplaces left for you to look at, in the quickfix list: 1"
    )
    # What the name may mean or not is left alone, and listed.
    [place] = neovim.nvim.funcs.getqflist()
    assert place["lnum"] == 5
    neovim.nvim.command(f"edit {neovim.folder / 'user.py'}")
    assert neovim.text == "from sample import surface\n\nsurface(1, 1)"
    neovim.nvim.command("normal! u")
    assert neovim.text == "from sample import area\n\narea(1, 1)"
    neovim.nvim.command("buffer sample.py")
    neovim.nvim.command("normal! u")
    assert neovim.text == f"{BEFORE}\nx = 1"
    neovim.nvim.command("normal! u")
    assert neovim.text == BEFORE
    assert (neovim.folder / "user.py").read_text().startswith("from sample import area")


def test_a_refusal_is_told_in_the_servers_words(neovim: Neovim):
    start(neovim)
    neovim.nvim.command("Tersely refactor make  it fast")
    told = neovim.until(lambda: neovim.notified()[1:])
    assert told == ["tersely: make  it fast? Nothing is known of it for the file."]
    assert neovim.text == BEFORE


def test_lines_are_a_selection(neovim: Neovim):
    start(neovim)
    for keys, lines in (("ggVj:", "[1, 2]"), (":2,4", "[2, 4]"), (":.", "[2, 2]")):
        before = len(neovim.notified())
        neovim.type(f"<Esc>{keys}Tersely refactor tidy up<CR>")
        told = neovim.until(lambda seen=before: neovim.notified()[seen + 1 :])
        assert told == [f"tersely: tidy up? Nothing is known of it for {lines}."]
        neovim.type("2G")
    neovim.nvim.command("2Tersely status")
    assert "is not for lines" in neovim.notified()[-1]


def test_the_wish_is_asked_for(neovim: Neovim):
    start(neovim)
    neovim.lua("vim.ui.input = function(options, done) _G.prompt = options.prompt; done(_G.given) end")
    for nothing in ("nil", "'  '"):
        neovim.lua(f"_G.given = {nothing}")
        neovim.nvim.command("Tersely refactor")
    assert neovim.notified() == []
    neovim.lua("_G.given = 'rename area to surface'")
    neovim.nvim.command("Tersely refactor")
    neovim.until(lambda: neovim.text == AFTER)
    assert neovim.lua("return _G.prompt") == "Refactor: "


def test_a_wish_can_be_cancelled(neovim: Neovim):
    start(neovim)
    neovim.nvim.command("Tersely cancel")
    neovim.nvim.command("Tersely refactor wait")
    neovim.nvim.command("Tersely refactor rename area to surface")
    neovim.nvim.command("Tersely cancel")
    assert [one.removeprefix("tersely: ") for one in neovim.notified()] == [
        "no refactoring is under way",
        "planning: wait",
        "a refactoring is under way; :Tersely cancel ends it",
        "cancelled",
    ]
    neovim.nvim.command("Tersely refactor rename area to surface")
    neovim.until(lambda: neovim.text == AFTER)


def test_a_file_that_comes_is_a_buffer(neovim: Neovim, tmp_path: Path):
    """The server makes files come and go only where the editor can do it, which every Neovim can."""
    start(neovim)
    made = neovim.lua(
        """
        local client = vim.lsp.get_clients({ name = "tersely" })[1]
        local call = { name = "move", source = "area", to_path = "shapes.py" }
        local argument = { uri = vim.uri_from_bufnr(0), call = call }
        local params = { command = "tersely.refactor", arguments = { argument } }
        local given = { "workspace/executeCommand", params, 60000, 0 }
        if vim.fn.has("nvim-0.11") == 0 then
          return client.request_sync(unpack(given))
        end
        return client:request_sync(unpack(given))
        """
    )
    assert made["result"]["applied"]
    assert neovim.text.startswith("from shapes import area")
    assert (tmp_path / "shapes.py").exists()


OTHER = """
_G.renamed = {}
local function other(dispatchers)
  return {
    request = function(method, params, callback)
      local result = nil
      if method == "initialize" then
        result = { capabilities = { renameProvider = true, positionEncoding = "utf-16" } }
      elseif method == "textDocument/rename" then
        table.insert(_G.renamed, params)
        local edits = {}
        for _, line in ipairs(_G.lines) do
          local start, stop = { line = line[1], character = line[2] }, { line = line[1], character = line[2] + 4 }
          table.insert(edits, { range = { start = start, ["end"] = stop }, newText = params.newName })
        end
        local document = { uri = params.textDocument.uri, version = vim.NIL }
        result = { documentChanges = { { textDocument = document, edits = edits } } }
      end
      vim.schedule(function() callback(nil, result) end)
      return true, 1
    end,
    notify = function() return true end,
    is_closing = function() return false end,
    terminate = function() end,
  }
end
vim.lsp.start({ name = "other", cmd = other, root_dir = vim.fn.getcwd() })
"""


def test_another_language_server_renames(neovim: Neovim):
    """It is asked in its own units, and its edits are the change."""
    start(neovim)
    neovim.open("‸é = '\U0001f600'; area = 1\nprint(area)\n", name="wide.py")
    neovim.type("<Esc>")
    neovim.lua("_G.lines = { { 0, 10 }, { 1, 6 } }")
    neovim.lua(OTHER)
    neovim.until(lambda: neovim.lua("return #vim.lsp.get_clients({ bufnr = 0 })") == 2)
    neovim.nvim.command("Tersely refactor rename area to size")
    neovim.until(lambda: neovim.text == "é = '\U0001f600'; size = 1\nprint(size)")
    told = neovim.until(lambda: neovim.notified()[1:])
    assert "Renamed by the editor's language server." in told[-1]
    [asked] = neovim.lua("return _G.renamed")
    assert asked["position"] == {"line": 0, "character": 10}
    assert asked["newName"] == "size"


def test_the_words_are_completed(neovim: Neovim):
    assert neovim.nvim.funcs.getcompletion("Tersely ref", "cmdline") == ["refactor"]
    assert neovim.nvim.funcs.getcompletion("'<,'>Tersely ref", "cmdline") == ["refactor"]
    assert neovim.nvim.funcs.getcompletion("Tersely refactor re", "cmdline") == []
