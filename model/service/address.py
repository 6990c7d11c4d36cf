"""Where engines listen and how others find them: addresses, and one small state file for each engine.

Light enough for any process; opens no connection but to look whether somebody is there.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import re
import socket
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model.errors import EngineUnavailableError, UsageError
from model.paths import runtime_dir

if TYPE_CHECKING:
    from http.client import HTTPConnection

_PROBE_TIMEOUT_S = 5.0


def is_loopback(host: str) -> bool:
    """Whether a host name or address stays on this machine."""
    if host.lower() == "localhost" or host.lower().endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """An address for people and logs: without the name and password that it may hold."""
    return re.sub(r"(?<=//)[^/?#]*@", "", url)


def private_dir() -> Path:
    """`runtime_dir()`, once it is sure that no other user can put anything there. Raises `UsageError`."""
    folder = runtime_dir()
    if os.name == "posix":
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise UsageError(
                f"{folder} is not a folder of yours alone.",
                hint="Remove it or run `chmod 700` on it, or set TERSELY_HOME to a folder of your own.",
            )
    return folder


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningEngine:
    """What the state file says of an engine. Either `socket_path` or `host` and `port` are set."""

    key: str
    model: str
    pid: int
    version: str
    socket_path: str | None = None
    host: str | None = None
    port: int | None = None
    token_file: str | None = None

    @property
    def address(self) -> str:
        """For people: a socket's path or a URL."""
        return self.socket_path if self.socket_path is not None else self.url

    @property
    def url(self) -> str:
        """Base for HTTP; over a Unix socket the host is only a name."""
        if self.host is None:
            return "http://localhost"
        # What listens everywhere is reached here by loopback.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def token(self) -> str | None:
        """What to show the engine. Raises `EngineUnavailableError` when the file is gone."""
        if self.token_file is None:
            return None
        try:
            return Path(self.token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise EngineUnavailableError(
                f"The token of the engine at {self.address} cannot be read: {error}.", hint="Run `tersely stop`."
            ) from error

    def answers(self) -> bool:
        """Whether this engine listens at its address now."""
        if self.socket_path is not None:
            # Whoever listens on this path is the engine: it holds the lock, and the folder is private.
            return _connects(self.socket_path)
        # Another program may have taken the port since.
        return self.told_pid() == self.pid

    def told_pid(self) -> int | None:
        """The process id that `/health` tells; None when no engine answers there in time."""
        import http.client  # brings the e-mail parser along: not for a start that an editor waits for

        connection = self._connection()
        try:
            token = self.token()
            connection.request("GET", "/health", headers={} if token is None else {"Authorization": f"Bearer {token}"})
            body = json.loads(connection.getresponse().read())
            return body.get("pid") if isinstance(body, dict) else None
        except (OSError, http.client.HTTPException, ValueError, EngineUnavailableError):
            return None
        finally:
            connection.close()

    def _connection(self) -> HTTPConnection:
        import http.client

        host, port = self.url.removeprefix("http://"), self.port
        if self.socket_path is None:
            return http.client.HTTPConnection(host.rsplit(":", 1)[0].strip("[]"), port, timeout=_PROBE_TIMEOUT_S)
        connection = http.client.HTTPConnection(host, timeout=_PROBE_TIMEOUT_S)
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.settimeout(_PROBE_TIMEOUT_S)
        with contextlib.suppress(OSError):  # then the request fails, and says so
            connection.sock.connect(self.socket_path)
        return connection


def _connects(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT_S)
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def state_path(key: str) -> Path:
    """The state file of an engine."""
    return private_dir() / f"engine-{key}.json"


def lock_path(key: str) -> Path:
    """The lock that an engine holds while it lives."""
    return private_dir() / f"engine-{key}.lock"


def write_state(engine: RunningEngine) -> None:
    """Publish an engine, at once and whole."""
    path = state_path(engine.key)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(engine)), encoding="utf-8")
    partial.replace(path)


def read_state(key: str) -> RunningEngine | None:
    """What was published under `key`; the engine may be dead."""
    return _parse(state_path(key))


def read_all_states() -> Iterator[RunningEngine]:
    """Everything that was published; the engines may be dead."""
    for path in sorted(private_dir().glob("engine-*.json")):
        engine = _parse(path)
        if engine is not None:
            yield engine


def _parse(path: Path) -> RunningEngine | None:
    try:
        return RunningEngine(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):  # none, or one of another version
        return None
