"""What an engine process is asked to be. Plain data: starts and opens nothing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

from model.errors import UsageError
from model.hosted.address import is_hosted, parse_hosted
from model.registry import DEFAULT_MODEL, MODELS
from model.service.address import is_loopback, shown_url

DTYPES = ("auto", "float32", "bfloat16")
QUANTIZATIONS = ("auto", "none", "int8", "int4", "fp8", "fp8-block")
EXIT_AFTER_UNLOADS = 3
"""An engine that was started on demand exits after this many times its `idle_unload_s` without a request."""

_DEVICE = re.compile(r"auto|cpu|cuda(:[0-9]+)?")
_FAKE = re.compile(r"fake(?:@(?P<delay_s>[0-9.]+))?:(?P<text>.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """A model and how to serve it.

    `model` is a name from the registry, a path, or the URL of a server that speaks OpenAI's completions, or a hosted
    model such as `mistral:codestral-latest`: then this engine is a gateway to it, with our own socket, segments and
    metrics. For tests there is `fake:TEXT`, served by
    `model.fake.FakeEngine`, and `fake@SECONDS:TEXT` with that delay before each token. Without `port`, the engine
    listens where only this user can reach it. `idle_unload_s` None: the model stays loaded for ever.
    """

    model: str = DEFAULT_MODEL
    host: str | None = None
    port: int | None = None
    token_file: Path | None = None
    idle_unload_s: float | None = 900.0
    threads: int | None = None
    dtype: str = "auto"
    quantize: str = "auto"
    adapter: Path | None = None
    context_tokens: int | None = None
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    processes: int = 1
    """Each holds a part of the model, and has a GPU of its own where there are GPUs."""
    upstream_token_file: Path | None = None
    """File with the bearer token of the server that `model` is the URL of."""

    @cached_property
    def key(self) -> str:
        """Names the engine: options that give the same answers share one. A new version of tersely has new ones."""
        what = (
            self.resolved().model,
            self.threads,
            self.dtype,
            self.quantize,
            None if self.adapter is None else str(self.adapter.expanduser().absolute()),
            self.context_tokens,
            self.device,
            self.processes,
            None if self.upstream_token_file is None else str(self.upstream_token_file.expanduser().absolute()),
            tersely_version(),
        )
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]

    @property
    def fake(self) -> tuple[str, float] | None:
        """Text and delay in seconds of a fake model; None for a real one."""
        match = _FAKE.fullmatch(self.model)
        return None if match is None else (match["text"], float(match["delay_s"] or 0))

    @property
    def is_url(self) -> bool:
        """Whether the model is on somebody else's server: at a URL, or hosted."""
        return self.model.startswith(("http://", "https://")) or self.is_hosted

    @property
    def is_hosted(self) -> bool:
        """Whether the model is a provider's, reached with a key of the user's."""
        return is_hosted(self.model)

    @property
    def model_name(self) -> str:
        """The model for people and for `/v1/models`: its name, or its file's without the ending."""
        if self.fake is not None:
            return "fake"
        if self.is_hosted:
            return parse_hosted(self.model).name
        if self.is_url:
            return urlsplit(shown_url(self.model)).netloc
        return self.model if self.model in MODELS else Path(self.model).stem

    def resolved(self) -> EngineOptions:
        """The same with absolute paths, for a process that runs in another folder."""
        is_name = self.model in MODELS or self.fake is not None or self.is_url
        return replace(
            self,
            model=self.model if is_name else str(Path(self.model).expanduser().absolute()),
            token_file=None if self.token_file is None else self.token_file.expanduser().absolute(),
            adapter=None if self.adapter is None else self.adapter.expanduser().absolute(),
            upstream_token_file=(
                None if self.upstream_token_file is None else self.upstream_token_file.expanduser().absolute()
            ),
        )

    def check(self) -> None:
        """Raise `UsageError` for what cannot be."""
        if self.dtype not in DTYPES:
            raise UsageError(f"There is no dtype {self.dtype!r}.", hint=f"Use one of {', '.join(DTYPES)}.")
        if self.quantize not in QUANTIZATIONS:
            raise UsageError(f"There is no quantization {self.quantize!r}.", hint=f"Use {', '.join(QUANTIZATIONS)}.")
        if not _DEVICE.fullmatch(self.device):
            raise UsageError(f"There is no device {self.device!r}.", hint="Use auto, cpu, cuda or cuda:N.")
        if self.is_hosted:
            parse_hosted(self.model)
        if self.processes > 1 and (self.is_url or self.fake is not None):
            raise UsageError(
                "--tensor-parallel-size is for a model that this engine computes.",
                hint="Leave it out, or give it to the server that computes.",
            )
        whole = (("threads", self.threads), ("context", self.context_tokens), ("tensor-parallel-size", self.processes))
        for name, value in whole:
            if value is not None and value < 1:
                raise UsageError(f"--{name} must be 1 or more, not {value}.", hint="Leave it out for the default.")
        if self.idle_unload_s is not None and self.idle_unload_s <= 0:
            raise UsageError("--idle-unload must be more than 0 seconds.", hint="Leave it out, or give more.")
        if self.upstream_token_file is not None and (self.is_hosted or not self.is_url):
            raise UsageError(
                "--upstream-token-file is for a server.", hint="Give that server's URL as --model, or leave it out."
            )
        if self.host is not None and self.port is None:
            raise UsageError("--host needs --port.", hint="Give both, or neither for a socket of your own.")
        if self.port is not None and not 0 <= self.port < 65536:
            raise UsageError(f"There is no port {self.port}.", hint="Use one from 1 to 65535; 0 takes a free one.")
        if self.host is not None and not is_loopback(self.host) and self.token_file is None:
            raise UsageError(
                f"Other machines can reach {self.host}, so the engine must ask for a token.",
                hint="Give --token-file with a long random line in it, readable by you alone.",
            )

    def to_arguments(self) -> list[str]:
        """Command-line arguments that `from_arguments` reads back."""
        given = self.resolved()
        arguments = [f"--model={given.model}"]
        for flag, field in _FLAGS.items():
            value = getattr(given, field)
            if value is not None:
                arguments.append(f"{flag}={value}")
        return arguments

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> EngineOptions:
        """Read command-line arguments."""
        import argparse  # for the engine's process alone

        parser = argparse.ArgumentParser(prog="engine", allow_abbrev=False)
        parser.add_argument("--model", default=DEFAULT_MODEL)
        for flag, field in _FLAGS.items():
            parser.add_argument(flag, dest=field, type=_TYPES[field])
        found = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
        return cls(**{"idle_unload_s": None, **found})


_FLAGS = {
    "--host": "host",
    "--port": "port",
    "--token-file": "token_file",
    "--idle-unload": "idle_unload_s",
    "--threads": "threads",
    "--dtype": "dtype",
    "--quantize": "quantize",
    "--adapter": "adapter",
    "--context": "context_tokens",
    "--device": "device",
    "--tensor-parallel-size": "processes",
    "--upstream-token-file": "upstream_token_file",
}
_TYPES: dict[str, type] = {
    "host": str,
    "port": int,
    "token_file": Path,
    "idle_unload_s": float,
    "threads": int,
    "dtype": str,
    "quantize": str,
    "adapter": Path,
    "context_tokens": int,
    "device": str,
    "processes": int,
    "upstream_token_file": Path,
}


def tersely_version() -> str:
    """The installed version; "unknown" in a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("tersely")
    except PackageNotFoundError:
        return "unknown"
