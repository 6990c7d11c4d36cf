"""Keys of hosted models: from the environment or the system's keyring, shown to nobody but their own host.

Stores no key and writes none anywhere. A key goes to the host that it was set for: a provider's variable counts for
that provider's own hosts alone, whatever address a setting names.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping

from model.errors import EngineAuthError
from model.hosted.address import HostedModel

SERVICE = "tersely"
"""The service that keys are filed under in the keyring; the user name is the host."""

logger = logging.getLogger(__name__)

Keyring = Callable[[str], str | None]
"""The key of a host, as the keyring has it."""


class Key:
    """A secret: neither `repr` nor `str` shows it, and it cannot be pickled or copied by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The key itself, for the request's header and nothing else."""
        return self._text

    def hide_in(self, text: str) -> str:
        """`text` without the key, for messages that a server wrote."""
        return text.replace(self._text, "***")

    def __repr__(self) -> str:
        return "Key(***)"

    def __reduce__(self) -> str:
        raise TypeError("a key is not to be written anywhere")


def host_variable(host: str) -> str:
    """The environment variable for one host's key: `TERSELY_KEY_LLM_EXAMPLE_COM`."""
    return "TERSELY_KEY_" + re.sub(r"[^A-Z0-9]", "_", host.upper())


def key_names(model: HostedModel) -> tuple[str, ...]:
    """The environment variables that may hold the key, in the order in which they are looked at."""
    own = (model.provider.key_variable,) if model.provider.owns(model.host) else ()
    return (host_variable(model.host), *own)


def find_key(
    model: HostedModel, *, environment: Mapping[str, str] | None = None, keyring: Keyring | None = None
) -> Key | None:
    """The key for the model's host. None where there is none and the host may do without (not a provider's own).

    Raises `EngineAuthError` when a provider's key is missing, or is no text that a header can carry.
    """
    environment = os.environ if environment is None else environment
    for name in key_names(model):
        if environment.get(name, "").strip():
            return _checked(environment[name].strip(), source=name)
    found = (keyring or _from_keyring)(model.host)
    if found and found.strip():
        return _checked(found.strip(), source="the keyring")
    if model.provider.owns(model.host):
        raise EngineAuthError(
            f"There is no key for {model.host}.",
            hint=f"Set {key_names(model)[-1]}, or run `keyring set {SERVICE} {model.host}`; then `tersely stop`.",
        )
    return None


def _checked(text: str, *, source: str) -> Key:
    if not re.fullmatch(r"[!-~]+", text):
        raise EngineAuthError(f"The key in {source} is not one word of ASCII.", hint="Copy the key again, whole.")
    return Key(text)


def _from_keyring(host: str) -> str | None:
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:  # the extra `hosted` is not installed: then keys are in the environment
        return None
    try:
        found: str | None = keyring.get_password(SERVICE, host)
    except KeyringError as error:
        logger.warning("the keyring cannot be read: %s", type(error).__name__)
        return None
    return found
