"""A wish and ghost text from the embedded model in real Neovims: engine, adapters and tools as they ship."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.editors.keeping import keep
from tests.editors.nvim.neovim import Neovim
from tests.editors.nvim.picture import draw
from tests.editors.nvim.test_ghost import check_quiet

pytestmark = [pytest.mark.nvim, pytest.mark.model, pytest.mark.slow, pytest.mark.usefixtures("embedded_model")]

CART = '''"""A shop's cart."""


def load_cart(path):
    with open(path) as file:
        return [line.split(",") for line in file]


def cart_total(items):
    """What all items cost."""
    total = 0
    for name, price in items:
        total += price
    return total


print(cart_total([("tea", 3)]))  # cart_total is in cents
'''
WISH = "rename cart_total to total_price"
GRANTED = CART.replace("def cart_total", "def total_price").replace("print(cart_total", "print(total_price")
ACCOUNT = '''class Account:
    """Somebody's money."""

    def __init__(self, owner, balance):
        self.owner = owner
        self.balance = balance

    def deposit(self, amount):
        self.balance += amount

    def withdraw(self, amount):
        self‸
'''
PLAIN = """
vim.o.cmdheight, vim.o.laststatus, vim.o.number, vim.o.ruler, vim.o.showmode = 1, 2, true, false, false
vim.o.statusline = " %t%= %{v:lua.require'tersely'.statusline()} "
"""


def start(neovim: Neovim, source: str, name: str) -> None:
    (neovim.folder / "pyproject.toml").touch()
    assert neovim.setup(settings={"level": "eager", "engine": {"threads": 1}}, keys={"accept": "<Tab>"})
    neovim.nvim.command(f"cd {neovim.folder}")
    neovim.open(source, name)
    neovim.until_ready()


def test_a_wish_is_understood_granted_and_taken_back(neovim: Neovim):
    start(neovim, f"‸{CART}", "cart.py")
    neovim.type("<Esc>")
    neovim.nvim.command(f"Tersely refactor {WISH}")
    neovim.until(lambda: len(neovim.notified()) == 2, within_s=150)
    assert neovim.notified()[1] == (
        "tersely: changed cart.py; not written yet\nplaces left for you to look at, in the quickfix list: 1"
    )
    assert f"{neovim.text}\n" == GRANTED
    neovim.nvim.command("normal! u")
    assert f"{neovim.text}\n" == CART
    assert (neovim.folder / "cart.py").read_text() == CART


def test_ghost_text_is_seen_with_the_state_of_the_engine(neovim: Neovim, tmp_path: Path):
    start(neovim, ACCOUNT, "account.py")
    neovim.lua(PLAIN)
    neovim.type(".")
    ghost = neovim.until(neovim.ghost)
    neovim.until(lambda: " ms" in neovim.lua("return require('tersely').statusline()"))
    picture = tmp_path / "nvim.svg"
    draw(neovim, picture, columns=66, lines=16)
    assert f">{ghost.replace(' ', '&#160;')}" in picture.read_text(encoding="utf-8")
    keep(picture)
    neovim.type("<Tab>")
    assert neovim.text.endswith(f"        self.{ghost}")
    check_quiet(neovim)
