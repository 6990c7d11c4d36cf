"""`tersely page`."""

from __future__ import annotations

import asyncio
import secrets
import socket
import webbrowser
from collections.abc import Sequence
from typing import Annotated

import typer
import uvicorn

from model.errors import EngineUnavailableError, UsageError
from model.registry import TOOLS_MODEL
from model.service import launcher
from model.service.address import RunningEngine
from model.service.relay import create_relay
from tersely.commands.output import print_json, stderr, stdout


def command(
    model: Annotated[str | None, typer.Option("--model", help="The engine that serves this model.")] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Listen on this port; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--open", help="Open a browser, too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Show in a browser how a running engine does: times, cache, tokens, memory. Ctrl-C ends it.

    The page is served on a loopback port with a token of its own, and can read the engine's figures, nothing else.
    """
    engine = choose(model, launcher.list_engines())
    token = secrets.token_urlsafe(24)
    with _listening(port) as listener:
        # Behind the `#`, the token is in no request and no log; the page takes it out of the address bar.
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/#{token}"
        if json:
            print_json({"model": engine.model, "pid": engine.pid, "url": url})
        else:
            stdout.print(url, soft_wrap=True)
            stderr.print(f"[dim]{engine.model}, process {engine.pid}. Ctrl-C ends the page; the engine goes on.[/dim]")
        if browser:
            webbrowser.open(url)
        config = uvicorn.Config(
            create_relay(engine, token=token), log_config=None, access_log=False, lifespan="off", ws="none"
        )
        config.timeout_graceful_shutdown = 1
        asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def choose(model: str | None, running: Sequence[RunningEngine]) -> RunningEngine:
    """The engine that serves `model`; with None, the one that completes, which has another beside it once a wish was
    granted. Raises `EngineUnavailableError` where there is none, and `UsageError` where there are several."""
    engines = [engine for engine in running if model in (None, engine.model)]
    if model is None:
        engines = [engine for engine in engines if engine.model != TOOLS_MODEL] or engines
    if not engines:
        what = "No engine is running." if model is None else f"No engine is running for {model}."
        raise EngineUnavailableError(what, hint="Open a file in your editor, or run `tersely engine`.")
    if len({engine.model for engine in engines}) > 1:
        names = ", ".join(sorted({engine.model for engine in engines}))
        raise UsageError(f"Several engines are running: {names}.", hint="Choose one with --model.")
    return engines[0]


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UsageError(
            f"Port {port} cannot be had: {error.strerror or error}.", hint="Leave --port out, for a free one."
        ) from error
