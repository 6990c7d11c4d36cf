"""What `tersely doctor` looks at: is everything in place to serve a model here, and what to do where it is not."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from model import hub
from model.errors import TerselyError, UsageError
from model.hosted.accounting import ledger_path, prices_path, read_prices, read_totals
from model.hosted.address import is_hosted, parse_hosted
from model.hosted.keys import find_key
from model.paths import cache_dir, log_dir, runtime_dir
from model.service.address import shown_url


class Verdict(StrEnum):
    """`WARNING`: works, but less well than it could. `FAILURE`: does not work until it is put right."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, in words; `hint` says what to do."""

    subject: str
    verdict: Verdict
    detail: str
    hint: str = ""


def examine(model: str, *, url: str | None = None, embeddings_url: str | None = None) -> list[Finding]:
    """Look at everything; never raises. `url`: the server that is asked in place of an engine of our own;
    `embeddings_url`: the one that tells which code means alike."""
    findings = []
    hosted = is_hosted(model)
    about_model = (lambda: _hosted(model)) if hosted else (lambda: _model(model))
    for look in (_python, _torch, _gpu, _xformers, about_model, _offline, _folders, _engines):
        findings.extend(_safely(look))
    findings.extend(_where_text_goes(url or (_address(model) if hosted else None), embeddings_url))
    return findings


def _safely(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except TerselyError as error:
        return [Finding(subject="model", verdict=Verdict.FAILURE, detail=error.message, hint=error.hint)]
    except OSError as error:
        return [
            Finding(
                subject="files",
                verdict=Verdict.FAILURE,
                detail=f"{error.filename or 'a file'}: {error.strerror or error}",
                hint="Check its permissions, or set TERSELY_HOME to a folder of your own.",
            )
        ]


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding(
        subject="python",
        verdict=Verdict.OK if good else Verdict.FAILURE,
        detail=f"{version} at {sys.executable}",
        hint="" if good else "Install Python 3.11 or newer.",
    )


def _torch() -> Iterator[Finding]:
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            subject="torch",
            verdict=Verdict.FAILURE,
            detail="not installed",
            hint="Install tersely again, or torch by hand: `pip install torch`.",
        )
        return
    yield Finding(subject="torch", verdict=Verdict.OK, detail=version)


def _gpu() -> Iterator[Finding]:
    if importlib.util.find_spec("torch") is None:
        return
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        yield Finding(
            subject="gpu",
            verdict=Verdict.OK,
            detail=f"{torch.cuda.get_device_name()}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
        )
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        yield Finding(
            subject="gpu",
            verdict=Verdict.OK,
            detail=f"none that torch can use; the engine runs on {cores} processor cores",
        )


def _xformers() -> Iterator[Finding]:
    try:
        version = importlib.metadata.version("xformers")
    except importlib.metadata.PackageNotFoundError:
        detail = "not installed; there is no wheel for this platform" if sys.platform == "darwin" else "not installed"
        yield Finding(subject="xformers", verdict=Verdict.OK, detail=f"{detail}; only a GPU needs it")
        return
    yield Finding(subject="xformers", verdict=Verdict.OK, detail=version)


def _model(model: str) -> Iterator[Finding]:
    details = hub.show(model)
    yield Finding(
        subject="model",
        verdict=Verdict.OK,
        detail=(
            f"{details.name}: {details.architecture}, {details.parameters / 1e6:.0f} M parameters, "
            f"{details.size_bytes / 1e6:.0f} MB at {details.path}"
        ),
    )


def _hosted(model: str) -> Iterator[Finding]:
    hosted = parse_hosted(model)
    key = find_key(hosted)
    told = "no key, and none is asked for" if key is None else "a key for it is there"
    yield Finding(subject="model", verdict=Verdict.OK, detail=f"{hosted.name} ({hosted.kind}) at {hosted.host}; {told}")
    priced = hosted.name in read_prices(prices_path())
    yield Finding(
        subject="usage",
        verdict=Verdict.OK if priced else Verdict.WARNING,
        detail=f"{read_totals(ledger_path())} so far, by {ledger_path()}",
        hint="" if priced else f"For costs, give the price of {hosted.name} in {prices_path()}; see docs/hosted.md.",
    )


def _offline() -> Iterator[Finding]:
    if hub.offline():
        yield Finding(subject="network", verdict=Verdict.OK, detail="TERSELY_OFFLINE is set: nothing is ever fetched")


def _folders() -> Iterator[Finding]:
    free = shutil.disk_usage(_existing(cache_dir())).free
    roomy = free > 1 << 30
    yield Finding(
        subject="cache",
        verdict=Verdict.OK if roomy else Verdict.WARNING,
        detail=f"{cache_dir()}, {free / 2**30:.1f} GiB free",
        hint="" if roomy else "Free some space, or set TERSELY_HOME to a folder on another disk.",
    )
    yield Finding(subject="runtime", verdict=Verdict.OK, detail=str(runtime_dir()))
    yield Finding(subject="log", verdict=Verdict.OK, detail=str(log_dir()))


def _engines() -> Iterator[Finding]:
    from model.service.launcher import list_engines

    running = list_engines()
    if not running:
        yield Finding(subject="engine", verdict=Verdict.OK, detail="none is running; one starts when it is asked for")
    for engine in running:
        yield Finding(
            subject="engine", verdict=Verdict.OK, detail=f"{engine.model} at {engine.address}, process {engine.pid}"
        )


def _where_text_goes(url: str | None, embeddings_url: str | None) -> Iterator[Finding]:
    if url is not None:
        around = f"text around the cursor is sent to {shown_url(url)}"
    elif embeddings_url is not None:
        around = "text around the cursor goes to the engine on this machine"
    else:
        around = "text goes to the engine on this machine only"
    yield Finding(subject="privacy", verdict=Verdict.OK, detail=around)
    if embeddings_url is not None:
        pieces = f"pieces of the workspace's files are sent to {shown_url(embeddings_url)}"
        yield Finding(subject="privacy", verdict=Verdict.OK, detail=pieces)


def _address(model: str) -> str:
    """Where a hosted model's text goes; as it was written where that makes no sense, which another finding says."""
    try:
        return parse_hosted(model).url
    except UsageError:
        return model


def _existing(path: Path) -> Path:
    """The nearest folder above that is there already."""
    return next(folder for folder in (path, *path.parents) if folder.exists())
