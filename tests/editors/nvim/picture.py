"""What stands on a Neovim's screen, cell by cell with its colours, as a picture for the documents."""

from __future__ import annotations

import io
import re
from itertools import groupby
from pathlib import Path

from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.editors.nvim.neovim import Neovim

CELLS = """
local columns, lines = ...
-- The first look makes all cells' attributes anew, and only what is drawn after it has them.
vim.api.nvim__inspect_cell(1, 0, 0)
vim.cmd("redraw!")
local rows = {}
for row = 1, lines do
  rows[row] = {}
  for col = 1, columns do
    local cell = vim.api.nvim__inspect_cell(1, row - 1, col - 1)
    local look = cell[2]
    rows[row][col] = {
      cell[1], look.foreground or -1, look.background or -1, look.bold or false, look.italic or false,
      look.reverse or false,
    }
  end
end
local normal = vim.api.nvim_get_hl(0, { name = "Normal" })
return { rows, { normal.fg, normal.bg }, { vim.fn.screenrow() - 1, vim.fn.screencol() - 1 } }
"""
CELL = (12.2, 24.4)
"""Width and height of a cell in Rich's pictures."""
FILL = 'fill="#e0e2ea"'


def draw(neovim: Neovim, path: Path, *, columns: int, lines: int) -> None:
    """Make the screen that large, and draw what is on it as an SVG, with a thin cursor as it is while one types."""
    neovim.nvim.ui_try_resize(columns, lines)
    neovim.until(lambda: neovim.lua("return { vim.o.columns, vim.o.lines }") == [columns, lines])
    rows, normal, (cursor_row, cursor_col) = neovim.lua(CELLS, columns, lines)
    text = Text()
    for row in rows:
        for look, cells in groupby(row, key=lambda cell: tuple(cell[1:])):
            text.append("".join(cell[0] or " " for cell in cells), _style(*look))
        text.append("\n")
    console = Console(record=True, file=io.StringIO(), width=columns, color_system="truecolor", force_terminal=True)
    console.print(text, end="")
    foreground, background = (_parts(one) for one in normal)
    theme = TerminalTheme(background, foreground, [background] * 8)
    picture = console.export_svg(title="Neovim", theme=theme, unique_id="nvim")
    cursor = f'<rect x="{cursor_col * CELL[0]}" y="{cursor_row * CELL[1] + 1.5}" width="2" height="{CELL[1]}" {FILL}/>'
    picture = picture.replace('<g class="nvim-matrix">', f'{cursor}\n<g class="nvim-matrix">')
    # No font is fetched from elsewhere.
    path.write_text(re.sub(r"@font-face\s*\{.*?\}\s*", "", picture, flags=re.DOTALL), encoding="utf-8")


def _style(foreground: int, background: int, bold: bool, italic: bool, reverse: bool) -> Style:
    return Style(color=_color(foreground), bgcolor=_color(background), bold=bold, italic=italic, reverse=reverse)


def _color(value: int) -> Color | None:
    return None if value < 0 else Color.from_rgb(*_parts(value))


def _parts(value: int) -> tuple[int, int, int]:
    return value >> 16, value >> 8 & 255, value & 255
