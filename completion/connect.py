"""From settings to a completer that is ready to be asked: over an engine of our own, or over a given server."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from completion.context.workspace import Workspace
from completion.service import EngineCompleter
from completion.settings import CompletionSettings
from model import hub
from model.errors import ModelMissingError
from model.registry import DEFAULT_MODEL
from model.service.auth import read_token
from model.service.managed import ManagedEngine
from model.service.options import EngineOptions


def connect(settings: CompletionSettings) -> EngineCompleter:
    """Make the completer; nothing is started or connected before it is asked or warmed up.

    Raises `UsageError` for a bad URL or token file, `UnknownModelError` for a model that is neither a name nor a file.
    """
    if settings.engine_url is not None:
        token = (
            None if settings.engine_token_file is None else read_token(Path(settings.engine_token_file).expanduser())
        )
        model = None if settings.model == DEFAULT_MODEL else settings.model
        engine = ManagedEngine(url=settings.engine_url, token=token, model=model)
        return EngineCompleter(engine, settings, _context(settings))
    options = EngineOptions(
        model=settings.model,
        adapter=None if settings.adapter is None else Path(settings.adapter),
        threads=settings.threads,
        dtype=settings.dtype,
        quantize=settings.quantize,
        idle_unload_s=settings.idle_unload_s or None,
    )
    options.check()
    if options.fake is None and not options.is_url:
        with suppress(ModelMissingError):  # the engine pulls it, and tells how far it is
            hub.resolve(options.model)
    return EngineCompleter(ManagedEngine(options), settings, _context(settings))


def _context(settings: CompletionSettings) -> Workspace | None:
    if not settings.context:
        return None
    embedder = None
    if settings.embeddings_url is not None:
        from completion.context.embedding import HttpEmbedder

        file = settings.embeddings_token_file
        token = None if file is None else read_token(Path(file).expanduser())
        embedder = HttpEmbedder(settings.embeddings_url, model=settings.embeddings_model, token=token)
    return Workspace(index=settings.trusted, embedder=embedder)
