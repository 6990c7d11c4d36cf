"""Ways to reach the server: standard input and output, or a socket. Nothing heavy is imported before it answers."""

from __future__ import annotations

import asyncio
import importlib
import ipaddress
import logging
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

from pygls.io_ import StdinAsyncReader, StdoutWriter, run_async

from lsp.handlers import build
from lsp.host import Connect
from lsp.server import Server
from model.errors import UsageError

if TYPE_CHECKING:
    from completion.api import Completer
    from completion.settings import CompletionSettings

logger = logging.getLogger(__name__)


async def connect_engine(settings: CompletionSettings) -> Completer:
    """The real completer. Its modules are imported on a thread, so that the editor gets answers meanwhile."""
    connect = await asyncio.to_thread(importlib.import_module, "completion.connect")
    completer: Completer = connect.connect(settings)
    return completer


def run_stdio(connect: Connect = connect_engine) -> int:
    """Serve the editor that started this process. Returns the exit code: 0 after `shutdown`, 1 otherwise."""
    _log_to_stderr()
    stdin, stdout = _take_stdio()
    reader = StdinAsyncReader(stdin, ThreadPoolExecutor(1, "stdin"))
    server = build(connect)
    try:
        code = asyncio.run(_serve(server, reader, StdoutWriter(stdout)))
    except KeyboardInterrupt:
        code = 130
    if not server.protocol.ended.is_set():
        # A thread may still wait for input that never comes, and Python would wait for the thread.
        logging.shutdown()
        os._exit(code)
    return code


def run_socket(
    *, host: str = "127.0.0.1", port: int | None = None, path: str | None = None, connect: Connect = connect_engine
) -> int:
    """Listen on a loopback port (0: any free one) or a Unix socket, and serve the first editor that comes.

    Prints where it listens to standard error. Raises `UsageError` for an address beyond this machine, since whoever
    connects is not asked who they are. Returns the exit code: 0 after `shutdown`, 1 otherwise.
    """
    if (port is None) == (path is None):
        raise UsageError("A socket is a port or a path.", hint="Give --socket HOST:PORT or --socket PATH.")
    if path is not None and not hasattr(asyncio, "start_unix_server"):
        raise UsageError("This system has no Unix sockets.", hint="Give --socket 127.0.0.1:PORT.")
    if port is not None and not _is_loopback(host):
        raise UsageError(
            f"The language server does not listen on {host}, where others could reach it.",
            hint="Listen on 127.0.0.1, and reach it through `ssh -L`.",
        )
    _log_to_stderr()
    try:
        return asyncio.run(_serve_first(build(connect), host=host, port=port, path=path))
    except OSError as error:
        raise UsageError(f"Cannot listen there: {error}.", hint="Choose another port or path.") from error
    except KeyboardInterrupt:
        return 130


async def _serve(server: Server, reader: Any, writer: Any) -> int:
    """Handle messages until the editor says `exit`, hangs up or dies."""
    server.protocol.set_writer(writer)
    reading = asyncio.ensure_future(
        run_async(
            stop_event=server.protocol.ended,
            reader=reader,
            protocol=server.protocol,
            error_handler=server.report_server_error,
        )
    )
    server.on_orphaned = lambda: _cancel(reading)
    await asyncio.wait({reading})
    if not reading.cancelled() and (error := reading.exception()) is not None:
        logger.warning("The connection broke: %s", error)
    await server.aclose()
    return server.protocol.exit_code


async def _serve_first(server: Server, *, host: str, port: int | None, path: str | None) -> int:
    code: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    taken = False

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        if not taken:
            taken = True
            code.set_result(await _serve(server, reader, writer))
        writer.close()

    if path is not None:
        before = os.umask(0o177)
        try:
            listening = await asyncio.start_unix_server(accept, path)
        finally:
            os.umask(before)
        where = path
    else:
        listening = await asyncio.start_server(accept, host, port)
        where = "{}:{}".format(*listening.sockets[0].getsockname()[:2])
    print(f"tersely lsp listens on {where}", file=sys.stderr, flush=True)
    async with listening:
        return await code


def _cancel(task: asyncio.Future[Any]) -> None:
    task.cancel()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _take_stdio() -> tuple[BinaryIO, BinaryIO]:
    """Take standard input and output for the protocol alone.

    Whatever else reads or prints, in this process or one that it starts, gets nothing and goes to standard error.
    """
    sys.stdout.flush()
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return stdin, stdout


def _log_to_stderr() -> None:
    """Editors keep a server's standard error. pygls even warns of cancelling what was done already."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("pygls").setLevel(logging.ERROR)
