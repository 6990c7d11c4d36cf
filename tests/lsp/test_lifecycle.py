"""Beginning and end of the server's process, spoken to in bare JSON-RPC: what no well-behaved client would send."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

import lsp.main
from lsp.main import run_socket
from model.errors import UsageError
from tests.lsp.client import ROOT, SERVER

INITIALIZE = {"processId": None, "rootUri": None, "capabilities": {}}


class Wire:
    """A server's process and the two ends of the connection to it. Everything ends after 30 seconds at the latest."""

    def __init__(self, process: subprocess.Popen[bytes], reader: BinaryIO, writer: BinaryIO) -> None:
        self.process, self._reader, self._writer = process, reader, writer
        self._alarm = threading.Timer(30, process.kill)
        self._alarm.start()

    def send(self, method: str, params: object = None, *, request_id: int | None = None) -> None:
        message = {"method": method, "params": params}
        self._send(message if request_id is None else {**message, "id": request_id})

    def answer(self, request_id: object, result: object) -> None:
        self._send({"id": request_id, "result": result})

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._writer.flush()

    def receive(self) -> dict[str, Any]:
        length = 0
        while (line := self._reader.readline()).strip():
            if found := re.match(rb"Content-Length: (\d+)", line):
                length = int(found[1])
        assert length, "the server closed the connection"
        return dict(json.loads(self._reader.read(length)))

    def request(self, method: str, params: object = None) -> dict[str, Any]:
        """Send a request, and return its answer; notifications before it are passed over."""
        request_id = time.monotonic_ns()
        self.send(method, params, request_id=request_id)
        while (message := self.receive()).get("id") != request_id:
            pass
        return message

    def start(self, **params: object) -> None:
        assert "result" in self.request("initialize", {**INITIALIZE, **params})
        self.send("initialized", {})

    def hang_up(self) -> None:
        self._writer.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._alarm.cancel()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


Spawn = Callable[..., Wire]


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    wires: list[Wire] = []

    def make(*command: str) -> Wire:
        process = subprocess.Popen(
            command or SERVER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert process.stdin
        assert process.stdout
        wires.append(Wire(process, process.stdout, process.stdin))
        return wires[-1]

    yield make
    for wire in wires:
        wire.close()


def test_exit_after_shutdown_is_0(spawn: Spawn):
    wire = spawn()
    wire.start()
    assert wire.request("shutdown")["result"] is None
    wire.send("exit")
    assert wire.process.wait(10) == 0


def test_exit_without_shutdown_is_1(spawn: Spawn):
    wire = spawn()
    wire.start()
    wire.send("exit")
    assert wire.process.wait(10) == 1


def test_hanging_up_is_1(spawn: Spawn):
    wire = spawn()
    wire.start()
    wire.hang_up()
    assert wire.process.wait(10) == 1


def test_hanging_up_before_anything_was_said_is_1(spawn: Spawn):
    wire = spawn()
    wire.hang_up()
    assert wire.process.wait(10) == 1


def test_requests_after_shutdown_are_refused(spawn: Spawn):
    wire = spawn()
    wire.start()
    wire.request("shutdown")
    assert wire.request("test/state", {})["error"]["code"] == -32600
    wire.send("exit")
    assert wire.process.wait(10) == 0


def test_the_editors_death_ends_the_server(spawn: Spawn):
    wire = spawn()
    editor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    wire.start(processId=editor.pid)
    time.sleep(1.5)  # Long enough to be seen alive: an editor that was never seen is taken for one out of sight.
    editor.communicate(b"\n")
    assert wire.process.wait(20) == 1


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("textDocument/inlineCompletion", {"position": "here"}),
        ("textDocument/inlineCompletion", None),
        ("textDocument/completion", {"textDocument": {"uri": 7}}),
        ("workspace/executeCommand", {"command": "rm"}),
        ("initialize", {"capabilities": 1}),
    ],
)
def test_requests_that_cannot_be_read_get_an_error_and_no_pop_up(spawn: Spawn, method: str, params: object):
    wire = spawn()
    wire.start()
    wire.send(method, params, request_id=1)
    wire.send("textDocument/didChange", {"textDocument": None})
    wire.send("textDocument/didChange", {"textDocument": {"uri": "u", "version": 1}, "contentChanges": [{"text": ""}]})
    wire.send("test/unknown", {}, request_id=2)
    answers: dict[int, dict[str, Any]] = {}
    while len(answers) < 2:
        message = wire.receive()
        assert message.get("method") != "window/showMessage"
        if "id" in message:
            answers[message["id"]] = message
    assert {"error" in answer for answer in answers.values()} == {True}


def test_the_root_of_older_editors_counts(spawn: Spawn, tmp_path: Path):
    for where in ({"rootUri": tmp_path.as_uri()}, {"rootPath": str(tmp_path)}):
        wire = spawn()
        wire.start(**where)
        uri = (tmp_path / "src" / "a.py").as_uri()
        item = {"uri": uri, "languageId": "python", "version": 1, "text": "x = "}
        wire.send("textDocument/didOpen", {"textDocument": item})
        while wire.receive().get("params", {}).get("message") != "fake is ready":
            pass
        context = {"triggerKind": 2}
        question = {"textDocument": {"uri": uri}, "position": {"line": 0, "character": 4}, "context": context}
        assert len(wire.request("textDocument/inlineCompletion", question)["result"]["items"]) == 1
        assert wire.request("test/state", {})["result"]["paths"] == ["src/a.py"]


def test_an_editor_that_never_answers_about_its_settings_is_served_and_may_answer_after_all(spawn: Spawn):
    """Until then what it said at the beginning holds: a workspace that it does not trust is not read."""
    wire = spawn()
    options = {"tersely": {"trusted": False}}
    wire.start(capabilities={"workspace": {"configuration": True}}, initializationOptions=options)
    while (asked := wire.receive()).get("method") != "workspace/configuration":
        pass
    item = {"uri": "untitled:a", "languageId": "python", "version": 1, "text": "x = "}
    wire.send("textDocument/didOpen", {"textDocument": item})
    while wire.receive().get("params", {}).get("message") != "fake is ready":
        pass
    before = wire.request("test/state", {})["result"]
    assert (before["level"], before["trusted"][-1]) == ("balanced", False)
    wire.answer(asked["id"], [{"level": "eager", "trusted": True}])
    after = wire.request("test/state", {})["result"]
    assert (after["level"], after["trusted"][-1]) == ("eager", True)


def listening(*arguments: str) -> tuple[subprocess.Popen[bytes], str]:
    process = subprocess.Popen(
        [*SERVER, *arguments], stderr=subprocess.PIPE, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert process.stderr
    return process, process.stderr.readline().decode().strip().removeprefix("tersely lsp listens on ")


def converse(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    stream = connection.makefile("rwb")
    wire = Wire(process, stream, stream)  # type: ignore[arg-type]
    try:
        wire.start()
        assert wire.request("shutdown")["result"] is None
        wire.send("exit")
        assert process.wait(10) == 0
    finally:
        stream.close()
        connection.close()
        wire.close()


def test_over_a_loopback_port():
    process, where = listening("--socket")
    host, _, port = where.rpartition(":")
    converse(process, socket.create_connection((host, int(port))))


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")
def test_over_a_unix_socket_that_others_cannot_open(tmp_path: Path):
    path = tmp_path / "s"
    process, where = listening("--pipe", str(path))
    assert where == str(path)
    assert path.stat().st_mode & 0o077 == 0
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(str(path))
    converse(process, connection)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ({}, "a port or a path"),
        ({"port": 0, "path": "x"}, "a port or a path"),
        ({"host": "0.0.0.0", "port": 0}, "does not listen on 0.0.0.0"),
        ({"host": "example.org", "port": 0}, "does not listen on example.org"),
        ({"path": "/nowhere/at/all/s"}, "Cannot listen there"),
    ],
)
def test_addresses_that_are_refused(address: dict[str, Any], said: str):
    with pytest.raises(UsageError, match=said) as caught:
        run_socket(**address)
    assert caught.value.hint


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="Cannot listen there"):
        run_socket(port=taken.getsockname()[1])


def test_a_system_without_unix_sockets_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(lsp.main.asyncio, "start_unix_server", raising=False)
    with pytest.raises(UsageError, match="no Unix sockets"):
        run_socket(path="x")
