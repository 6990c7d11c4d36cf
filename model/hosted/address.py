"""From what people write, such as `mistral:codestral-latest`, to a hosted model's address. Opens no connection."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from model.errors import UsageError
from model.hosted.provider import PROVIDERS, Kind, Provider
from model.service.address import is_loopback

_SPELLING = re.compile(
    rf"(?P<provider>{'|'.join(PROVIDERS)})(?:/(?P<kind>\w+))?:(?P<model>[^@]*)(?:@(?P<base>.*))?", re.DOTALL
)
_HOW = "Write PROVIDER:MODEL, PROVIDER/chat:MODEL or PROVIDER:MODEL@https://HOST; see docs/hosted.md."


@dataclass(frozen=True, slots=True, kw_only=True)
class HostedModel:
    """A model at a provider. `base_url` has no trailing slash."""

    provider: Provider
    kind: Kind
    model: str
    base_url: str
    version: str | None

    @property
    def name(self) -> str:
        """For people and for price tables: `mistral:codestral-latest`."""
        return f"{self.provider.name}:{self.model}"

    @property
    def host(self) -> str:
        """Where text goes."""
        return urlsplit(self.base_url).hostname or ""

    @property
    def url(self) -> str:
        """What is posted to."""
        path = self.provider.paths[self.kind].format(model=quote(self.model, safe=""))
        return self.base_url + path + (f"?api-version={quote(self.version)}" if self.version else "")


def is_hosted(text: str) -> bool:
    """Whether `text` names a hosted model, rightly or wrongly spelled."""
    return _SPELLING.fullmatch(text) is not None


def parse_hosted(text: str) -> HostedModel:
    """Read `PROVIDER[/KIND]:MODEL[@BASE_URL]`. Raises `UsageError`.

    A base URL that is not on this machine must be https: keys and code do not go over the wire in the clear.
    """
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} names no hosted model.", hint=_HOW)
    provider = PROVIDERS[match["provider"]]
    kinds = [kind.value for kind in provider.paths]
    if match["kind"] is not None and match["kind"] not in kinds:
        raise UsageError(f"{provider.name} has no {match['kind']!r}.", hint=f"It has {' and '.join(kinds)}.")
    if not match["model"].strip():
        raise UsageError(f"{text!r} names no model.", hint=_HOW)
    base = match["base"] or provider.base_url
    if base is None:
        raise UsageError(f"{provider.name} needs the address of its server.", hint=_HOW)
    base_url, version = _checked(base, provider)
    return HostedModel(
        provider=provider,
        kind=provider.default if match["kind"] is None else Kind(match["kind"]),
        model=match["model"].strip(),
        base_url=base_url,
        version=version,
    )


def _checked(base: str, provider: Provider) -> tuple[str, str | None]:
    try:
        parts = urlsplit(base)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname)
        safe = sound and (parts.scheme == "https" or is_loopback(parts.hostname or ""))
        clean = parts.username is None and not parts.fragment and parts.port != 0
    except ValueError:
        sound = safe = clean = False
    if not sound or not clean:
        raise UsageError(f"{provider.name} cannot be reached at such an address.", hint=_HOW)
    if not safe:
        raise UsageError(f"{parts.hostname} would get your code and key in the clear.", hint="Use https.")
    version = parse_qs(parts.query).get("api-version", [None])[0] or provider.version
    path = parts.path.rstrip("/").removesuffix("/v1")
    return f"{parts.scheme}://{parts.netloc}{path}", version
