from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.service import launcher

pytest.importorskip("pynvim", reason="the tests in Neovim are driven through pynvim")

from tests.editors.nvim.neovim import NEOVIMS, Neovim

MakeNeovim = Callable[[], Neovim]


@pytest.fixture(scope="session", params=NEOVIMS)
def installed(request: pytest.FixtureRequest) -> tuple[list[str], dict[str, str]]:
    """Each Neovim that can be had here."""
    return NEOVIMS[request.param]()


@pytest.fixture(autouse=True, scope="module")
def _no_engine_left_behind() -> Iterator[None]:
    yield
    launcher.stop()


@pytest.fixture
def neovim(installed: tuple[list[str], dict[str, str]], tmp_path: Path) -> Iterator[Neovim]:
    """A Neovim with the plugin on its runtime path, not yet set up."""
    command, environment = installed
    made = Neovim(command, environment, tmp_path)
    made.start()
    yield made
    made.stop()
