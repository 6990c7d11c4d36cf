"""What all tests share: a home of their own, so that no test touches the user's files, and the embedded model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from model import hub
from model.paths import models_dir

_USERS_HOME = os.environ.get("TERSELY_HOME")


@pytest.fixture(scope="session", autouse=True)
def _home_of_their_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    os.environ["TERSELY_HOME"] = str(tmp_path_factory.mktemp("home"))
    yield
    _set_home(_USERS_HOME)


@pytest.fixture(scope="session")
def embedded_model(_home_of_their_own: None) -> Path:
    """The embedded model's file, fetched once into the user's cache and linked into the tests' own home."""
    tests_home = os.environ["TERSELY_HOME"]
    _set_home(_USERS_HOME)
    try:
        fetched = hub.pull(hub.DEFAULT_MODEL)
    finally:
        _set_home(tests_home)
    linked = models_dir() / fetched.name
    linked.parent.mkdir(parents=True, exist_ok=True)
    if not linked.exists():
        linked.symlink_to(fetched)
    return linked


def _set_home(home: str | None) -> None:
    if home is None:
        os.environ.pop("TERSELY_HOME", None)
    else:
        os.environ["TERSELY_HOME"] = home
