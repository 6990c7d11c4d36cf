"""Looking only into files that can have a name finds what looking into all of them finds."""

from __future__ import annotations

from pathlib import Path

import pytest
from rope.refactor.rename import Rename as RopeRename

from completion.refactor.overlay import Overlay
from completion.refactor.tools.occurrences import occurrences
from completion.refactor.tools.rename import find
from completion.refactor.tools.rope_project import mirror
from completion.refactor.tools.within import bearing, of_constructor, of_local
from tests.completion.refactor.casefile import write_files

FILES = {
    "shop/__init__.py": "from shop.base import Base as Root, total\n",
    "shop/base.py": (
        "class Base(object):\n    def __init__(self, name, size=0):\n        self.name = name\n\n"
        "    def run(self, size):\n        return size\n\n\n"
        "def total(items, start=0):\n    return start + len(items)\n"
    ),
    "shop/heirs.py": (
        "import shop\nfrom shop import base\n\n\n"
        "class First(base.Base):\n    def __init__(self):\n        super().__init__('first', size=1)\n\n"
        "    def run(self, size):\n        return super().run(size + 1)\n\n\n"
        "class Plain(shop.Root):\n    pass\n\n\n"
        "class Deep(Plain):\n    def __init__(self, day):\n        super().__init__(day)\n"
    ),
    "shop/strangers.py": (
        "class Base:\n    def __init__(self, name):\n        self.name = name\n\n\n"
        "class Other(Base):\n    def __init__(self):\n        super().__init__('x')\n"
    ),
    "shop/uses.py": (
        "from shop import total as summed\nfrom shop.base import *\nfrom shop.heirs import Plain\n\n"
        "one = Base('a')\nPlain('b', 2).run(size=3)\none.__init__('c')\n"
        "print(total([], start\\\n = 1), summed([1], start=2), f'{total([2])}')\n"
    ),
    "shop/silent.py": "def other(x):\n    return x.__init__\n",
    "shop/latin.py": "total = 'é'\n",
}


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    write_files(tmp_path, FILES)
    (tmp_path / "shop" / "latin.py").write_bytes(b"# coding: latin-1\ntotal = '\xe9'\n")
    return Overlay(tmp_path)


SYMBOLS = ["shop/base.py::Base.__init__", "shop/base.py::Base.run", "shop/base.py::Base", "shop/base.py::total",
           "shop/strangers.py::Base.__init__", "shop/heirs.py::Plain", "shop/base.py::Base.name"]  # fmt: skip


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_occurrences_are_the_same(overlay: Overlay, symbol: str) -> None:
    place, _ = find(overlay, symbol)
    found = occurrences(overlay, place)
    assert found == occurrences(overlay, place, everywhere=True)
    assert place.symbol.path in found


LOCALS = ["shop/base.py::total.start", "shop/base.py::total.items", "shop/base.py::Base.__init__.size"]


@pytest.mark.parametrize("symbol", [*SYMBOLS[1:4], *SYMBOLS[5:], *LOCALS])
def test_renaming_is_the_same(overlay: Overlay, symbol: str) -> None:
    place, local = find(overlay, symbol)
    assert local == (symbol in LOCALS)
    old = overlay.read(place.symbol.path)[place.start : place.end]
    within = of_local(overlay, place.symbol.path, old) if local else bearing(overlay, old)
    with mirror(overlay) as made:
        renamer = RopeRename(made.project, made.file(place.symbol.path), place.start)
        few, all_ = (
            {one.resource.path: one.new_contents for one in renamer.get_changes(
                "renamed", in_hierarchy=True, resources=files).changes}
            for files in (made.files(within), None)
        )  # fmt: skip
    assert few == all_
    assert few


def test_files_are_left_out(overlay: Overlay) -> None:
    """The lists are short, or nothing would be gained."""
    assert "shop/heirs.py" not in bearing(overlay, "total")
    assert of_local(overlay, "shop/base.py", "start") == {"shop/base.py", "shop/uses.py"}
    assert of_constructor(overlay, "Base") == {"shop/base.py", "shop/heirs.py", "shop/strangers.py", "shop/uses.py",
                                               "shop/silent.py"}  # fmt: skip
    assert of_constructor(overlay, "Nobody") == {"shop/uses.py", "shop/silent.py"}
