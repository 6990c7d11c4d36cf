"""From settings to a planner that is ready to be asked. Nothing is started before it is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from completion.refactor.asking_chat import AskingModel
from completion.refactor.planner import Bounds, ModelPlanner
from completion.settings import CompletionSettings
from model.api import Priority
from model.registry import DEFAULT_MODEL, TOOLS_MODEL
from model.service.auth import read_token
from model.service.managed import ManagedEngine
from model.service.options import EngineOptions


@dataclass(frozen=True, slots=True)
class Connected:
    """A planner, and the engine that it asks: to be closed, and to be listened to while it starts."""

    planner: ModelPlanner
    engine: ManagedEngine


def connect_planner(
    settings: CompletionSettings, *, priority: Priority = Priority.INTERACTIVE, bounds: Bounds | None = None
) -> Connected:
    """Make the planner. The default model stands for the one that was taught the tools.

    Raises `UsageError` for a bad URL or token file, `UnknownModelError` for a model that is neither a name nor a file.
    """
    named = None if settings.model == DEFAULT_MODEL else settings.model
    if settings.engine_url is not None:
        file = settings.engine_token_file
        token = None if file is None else read_token(Path(file).expanduser())
        engine = ManagedEngine(url=settings.engine_url, token=token, model=named)  # none named: what is served there
    else:
        options = EngineOptions(
            model=named or TOOLS_MODEL,
            adapter=None if settings.adapter is None else Path(settings.adapter),
            threads=settings.threads,
            dtype=settings.dtype,
            quantize=settings.quantize,
            idle_unload_s=settings.idle_unload_s or None,
        )
        options.check()
        engine = ManagedEngine(options)
    return Connected(ModelPlanner(AskingModel(engine, priority=priority), bounds=bounds), engine)
