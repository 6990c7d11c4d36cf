from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model.service import launcher

pytest.importorskip("pynvim", reason="the tests in Neovim are driven through pynvim")

from tests.editors.nvim.neovim import NATIVE, NEOVIMS, Neovim

MakeNeovim = Callable[[], Neovim]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each Neovim; where a test asks who shows suggestions, also both ways of those that have two."""
    if "shown_by" in metafunc.fixturenames:
        ways = [(name, way) for name in NEOVIMS for way in (("auto", "own") if name in NATIVE else ("auto",))]
        metafunc.parametrize(("installed", "shown_by"), ways, indirect=["installed"], scope="session")
    elif "installed" in metafunc.fixturenames:
        metafunc.parametrize("installed", NEOVIMS, indirect=True, scope="session")


@pytest.fixture(scope="session")
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
