"""Who hosts models, as data: addresses, paths, the names of fields and keys. Opens no connection and reads no key.

Sources: the API references of OpenAI ("Create completion", "Create chat completion"), Azure OpenAI (data plane,
2024-10-21), Mistral ("FIM completion", "Chat completion") and DeepSeek ("FIM completion (beta)").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What is asked of a server: to continue text (with the text behind, where there is a hole), or to converse."""

    COMPLETIONS = "completions"
    CHAT = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """One provider's habits. `{model}` in a path is the model's (Azure: the deployment's) name."""

    name: str
    base_url: str | None
    """None: there is no common one, so it must be given."""
    hosts: tuple[str, ...]
    """Where its key may go. One that begins with a dot stands for every host that ends so."""
    key_variable: str
    paths: Mapping[Kind, str]
    default: Kind
    key_header: str = "Authorization"
    key_scheme: str = "Bearer "
    version: str | None = None
    """Value of `api-version` in the address, where there is one."""
    limit_field: str = "max_tokens"
    """How chat calls the largest number of tokens to generate."""
    most_tokens: int | None = None
    """The server refuses to be asked for more in completions."""
    most_stops: int | None = None
    seed_field: str = "seed"
    required_tool: str = "required"
    usage_on_request: bool = True
    """The counts of a stream come only with `stream_options.include_usage`."""
    logprobs: bool = False
    """Completions tell log-probabilities."""
    file_header: str = "#{path}"
    """The line before each file of a prompt of several."""

    def owns(self, host: str) -> bool:
        """Whether the provider's key may go to `host`."""
        return any(host == one or (one.startswith(".") and host.endswith(one)) for one in self.hosts)


_OPENAI_PATHS = MappingProxyType({Kind.COMPLETIONS: "/v1/completions", Kind.CHAT: "/v1/chat/completions"})
_MISTRAL_PATHS = MappingProxyType({Kind.COMPLETIONS: "/v1/fim/completions", Kind.CHAT: "/v1/chat/completions"})

PROVIDERS: Mapping[str, Provider] = MappingProxyType(
    {
        row.name: row
        for row in (
            Provider(
                name="openai",
                base_url="https://api.openai.com",
                hosts=("api.openai.com",),
                key_variable="OPENAI_API_KEY",
                paths=_OPENAI_PATHS,
                default=Kind.CHAT,
                limit_field="max_completion_tokens",
                most_stops=4,
                logprobs=True,
            ),
            # Any other server that speaks OpenAI's protocol: older field names, and no key of OpenAI's.
            Provider(
                name="compatible",
                base_url=None,
                hosts=(),
                key_variable="",
                paths=_OPENAI_PATHS,
                default=Kind.CHAT,
                most_stops=4,
                logprobs=True,
            ),
            Provider(
                name="azure",
                base_url=None,
                hosts=(".openai.azure.com", ".cognitiveservices.azure.com"),
                key_variable="AZURE_OPENAI_API_KEY",
                paths=MappingProxyType(
                    {
                        Kind.COMPLETIONS: "/openai/deployments/{model}/completions",
                        Kind.CHAT: "/openai/deployments/{model}/chat/completions",
                    }
                ),
                default=Kind.CHAT,
                key_header="api-key",
                key_scheme="",
                version="2024-10-21",
                limit_field="max_completion_tokens",
                most_stops=4,
                logprobs=True,
            ),
            Provider(
                name="mistral",
                base_url="https://api.mistral.ai",
                hosts=("api.mistral.ai",),
                key_variable="MISTRAL_API_KEY",
                paths=_MISTRAL_PATHS,
                default=Kind.COMPLETIONS,
                seed_field="random_seed",
                required_tool="any",
                usage_on_request=False,
                file_header="+++++ {path}",
            ),
            # The same models for editors, with keys of their own.
            Provider(
                name="codestral",
                base_url="https://codestral.mistral.ai",
                hosts=("codestral.mistral.ai",),
                key_variable="CODESTRAL_API_KEY",
                paths=_MISTRAL_PATHS,
                default=Kind.COMPLETIONS,
                seed_field="random_seed",
                required_tool="any",
                usage_on_request=False,
                file_header="+++++ {path}",
            ),
            Provider(
                name="deepseek",
                base_url="https://api.deepseek.com",
                hosts=("api.deepseek.com",),
                key_variable="DEEPSEEK_API_KEY",
                paths=MappingProxyType({Kind.COMPLETIONS: "/beta/completions", Kind.CHAT: "/chat/completions"}),
                default=Kind.COMPLETIONS,
                most_tokens=4096,
                most_stops=16,
                logprobs=True,
            ),
        )
    }
)
