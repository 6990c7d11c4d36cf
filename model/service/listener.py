"""Open the socket that an engine listens on: private by default, TCP with a token where it must be. Serves nothing."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from model.errors import UsageError
from model.service.address import is_loopback, private_dir
from model.service.auth import read_token, write_token
from model.service.options import EngineOptions

_BACKLOG = 2048
_MAX_SOCKET_PATH_BYTES = 100
"""sockaddr_un holds 108 bytes on Linux and 104 on macOS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A listening socket, and what clients must know of it."""

    socket: socket.socket
    socket_path: Path | None = None
    host: str | None = None
    port: int | None = None
    token_file: Path | None = None
    token: str | None = None

    def close(self) -> None:
        """Stop listening; leave nothing behind."""
        self.socket.close()
        if self.socket_path is not None:
            self.socket_path.unlink(missing_ok=True)


def open_listener(options: EngineOptions) -> Listener:
    """Listen as `options` say. The engine's lock must be held: what a dead engine left is removed.

    Without a port: a Unix socket (0600) in the private folder; where there are none, or the path is too long for one,
    loopback TCP with a fresh token in a file (0600) there. Raises `UsageError` when the address cannot be had.
    """
    if options.port is not None:
        return _open_tcp(options.host or "127.0.0.1", options.port, options.token_file)
    path = private_dir() / f"engine-{options.key}.sock"
    path.unlink(missing_ok=True)
    if hasattr(socket, "AF_UNIX") and os.name == "posix" and len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        return Listener(socket=_open_unix(path), socket_path=path)
    token_file = path.with_suffix(".token")
    write_token(token_file)
    return _open_tcp("127.0.0.1", 0, token_file)


def _open_unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode must hold from the first moment, so the mask is set before the file is there.
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _open_tcp(host: str, port: int, token_file: Path | None) -> Listener:
    token = None if token_file is None else read_token(token_file)
    if token is None and not is_loopback(host):
        raise UsageError(
            f"Other machines can reach {host}, so the engine must ask for a token.", hint="Give --token-file."
        )
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise UsageError(
            f"The engine cannot listen on {host}:{port}: {error.strerror or error}.",
            hint="Choose another --port, or stop what uses it.",
        ) from error
    return Listener(socket=listener, host=host, port=listener.getsockname()[1], token_file=token_file, token=token)
