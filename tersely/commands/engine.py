"""`tersely engine`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from model.service.options import DTYPES, QUANTIZATIONS, EngineOptions
from model.service.process import run_engine


def command(
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME|PATH|URL", help="What to serve; with a URL, a gateway to that server."),
    ] = EngineOptions.model,
    host: Annotated[str | None, typer.Option("--host", help="Listen on TCP; beyond loopback with a token.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Listen on this TCP port; 0 takes a free one.")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with the bearer token that clients must show.")
    ] = None,
    idle_unload: Annotated[
        float | None, typer.Option("--idle-unload", metavar="SECONDS", help="Unload after this long without a request.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="Default: as many as there are free cores.")] = None,
    dtype: Annotated[str, typer.Option("--dtype", help=" | ".join(DTYPES))] = "auto",
    quantize: Annotated[str, typer.Option("--quantize", help=" | ".join(QUANTIZATIONS))] = "auto",
    adapter: Annotated[Path | None, typer.Option("--adapter", help="LoRA weights, merged at load.")] = None,
    upstream_token_file: Annotated[
        Path | None, typer.Option("--upstream-token-file", help="Bearer token for the server at --model URL.")
    ] = None,
    context: Annotated[int | None, typer.Option("--context", help="Longest context, in tokens.")] = None,
    device: Annotated[str, typer.Option("--device", help="auto | cpu | cuda | cuda:N")] = "auto",
    processes: Annotated[
        int,
        typer.Option("--tensor-parallel-size", metavar="N", help="Processes that share the model; on GPUs one each."),
    ] = 1,
) -> None:
    """Serve a model in the foreground: on a Unix socket of this user, or with --port on TCP.

    Clients start an engine by themselves when there is none; run one by hand to choose where and how.
    """
    run_engine(
        EngineOptions(
            model=model,
            host=host,
            port=port,
            token_file=token_file,
            idle_unload_s=idle_unload,
            threads=threads,
            dtype=dtype,
            quantize=quantize,
            adapter=adapter,
            context_tokens=context,
            device=device,
            processes=processes,
            upstream_token_file=upstream_token_file,
        )
    )
