"""Listening sockets, their privacy, and the state files by which engines are found."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from model.errors import EngineUnavailableError, UsageError
from model.remote import HttpEngine
from model.service import address
from model.service.address import RunningEngine
from model.service.auth import write_token
from model.service.listener import open_listener
from model.service.options import EngineOptions

posix = pytest.mark.skipif(os.name != "posix", reason="Unix sockets and file modes are POSIX's")
OPTIONS = EngineOptions(model="fake:x")
ENGINE = RunningEngine(key="k", model="m", pid=1, version="1", host="127.0.0.1", port=9)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:word@host:8000/v1", "http://host:8000/v1"),
        ("https://me:w@rd@host", "https://host"),
        ("http://[::1]:8000/a@b?c@d", "http://[::1]:8000/a@b?c@d"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert address.shown_url(url) == shown


def test_what_is_no_address_is_told_without_a_password() -> None:
    with pytest.raises(UsageError, match="ftp://host") as caught:
        HttpEngine("ftp://me:word@host")
    assert "word" not in str(caught.value)


def test_an_engine_before_a_server_is_not_named_by_a_password() -> None:
    assert EngineOptions(model="http://me:word@host:8000/v1").model_name == "host:8000"
    assert HttpEngine("http://me:word@host:8000/v1").where == "http://host:8000"


@posix
def test_a_socket_is_for_its_user_alone(home: Path) -> None:
    listener = open_listener(OPTIONS)
    assert listener.socket_path is not None
    assert listener.socket_path.stat().st_mode & 0o777 == 0o600
    assert listener.socket_path.parent.stat().st_mode & 0o777 == 0o700
    assert listener.token is None
    listener.close()
    assert not listener.socket_path.exists()


@posix
def test_a_dead_engines_socket_is_replaced(home: Path) -> None:
    first = open_listener(OPTIONS)
    first.socket.close()  # as a killed process does: the file stays
    assert first.socket_path is not None
    engine = replace(ENGINE, host=None, port=None, socket_path=str(first.socket_path))
    assert not engine.answers()
    second = open_listener(OPTIONS)
    assert engine.answers()
    second.close()


def test_a_path_too_long_for_a_socket_becomes_loopback_with_a_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERSELY_HOME", str(tmp_path / ("long" * 25)))
    listener = open_listener(OPTIONS)
    assert listener.socket_path is None
    assert listener.host == "127.0.0.1"
    assert listener.port
    assert listener.token_file is not None
    assert listener.token_file.read_text().strip() == listener.token
    listener.close()


def test_without_unix_sockets_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(socket, "AF_UNIX", raising=False)
    listener = open_listener(OPTIONS)
    assert listener.host == "127.0.0.1"
    assert listener.token
    listener.close()


def test_a_chosen_port(home: Path) -> None:
    listener = open_listener(replace(OPTIONS, port=0))
    assert listener.token is None
    with pytest.raises(UsageError, match="cannot listen on") as caught:
        open_listener(replace(OPTIONS, port=listener.port))
    assert "--port" in caught.value.hint
    listener.close()
    with pytest.raises(UsageError, match="ask for a token"):
        open_listener(replace(OPTIONS, host="0.0.0.0", port=0))
    token_file = home / "token"
    token = write_token(token_file)
    everywhere = open_listener(replace(OPTIONS, host="0.0.0.0", port=0, token_file=token_file))
    assert everywhere.token == token
    everywhere.close()


@posix
@pytest.mark.parametrize("mode", [0o755, 0o770])
def test_a_folder_that_others_can_enter_is_refused(home: Path, mode: int) -> None:
    folder = address.private_dir()
    folder.chmod(mode)
    with pytest.raises(UsageError, match="not a folder of yours alone") as caught:
        address.private_dir()
    assert "chmod 700" in caught.value.hint
    folder.chmod(0o700)


@posix
def test_a_link_in_the_folders_place_is_refused(home: Path) -> None:
    (home / "elsewhere").mkdir(mode=0o700)
    (home / "run").symlink_to(home / "elsewhere")
    with pytest.raises(UsageError, match="not a folder of yours alone"):
        address.private_dir()
    (home / "run").unlink()


def test_state_files(home: Path) -> None:
    assert address.read_state("k") is None
    address.write_state(ENGINE)
    assert address.read_state("k") == ENGINE
    for name, content in (("old", '{"pid": 5}'), ("cut", '{"pid'), ("odd", "[]")):
        address.state_path(name).write_text(content)
        assert address.read_state(name) is None
    assert list(address.read_all_states()) == [ENGINE]
    assert not list(address.private_dir().glob("*.partial"))


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:9"),
        ("0.0.0.0", "http://127.0.0.1:9"),
        ("::1", "http://[::1]:9"),
        ("::", "http://[::1]:9"),
        (None, "http://localhost"),
    ],
)
def test_urls(host: str | None, url: str) -> None:
    assert replace(ENGINE, host=host).url == url


def test_another_program_on_the_port_is_no_engine(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(5)
        engine = replace(ENGINE, port=other.getsockname()[1])
        assert not replace(engine, port=1).answers()


def test_a_token_that_is_gone(home: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="cannot be read") as caught:
        replace(ENGINE, token_file=str(home / "none")).token()
    assert "tersely stop" in caught.value.hint
