"""A checkpoint's configuration file, read key by key: every wrong or absent value is an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model.errors import CheckpointError

_MOST_LAYERS, _MOST_EXPERTS = 1000, 4096
_MOST = {
    "num_hidden_layers": _MOST_LAYERS,
    "n_layers": _MOST_LAYERS,
    "block_count": _MOST_LAYERS,
    "num_local_experts": _MOST_EXPERTS,
    "num_experts": _MOST_EXPERTS,
    "n_routed_experts": _MOST_EXPERTS,
    "expert_count": _MOST_EXPERTS,
}
"""Of what a table is made before any weight is looked for: a damaged number must not take all memory."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The keys of a JSON object. `source` says in errors which file it is."""

    values: Mapping[str, Any]
    source: str

    def integer(self, key: str, default: int | None = None) -> int:
        """A count. null counts as absent; without a default, absent is an error."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST.get(key, value):
            raise self.wrong(key)
        return value

    def optional_integer(self, key: str) -> int | None:
        return None if self.values.get(key) is None else self.integer(key)

    def number(self, key: str, default: float | None = None) -> float:
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.wrong(key)
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key)
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.wrong(key)
        return value

    def texts(self, key: str) -> tuple[str, ...] | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.wrong(key)
        return tuple(value)

    def integers(self, key: str) -> tuple[int, ...]:
        """A list of counts; none when the key is absent."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(type(item) is int for item in value):
            raise self.wrong(key)
        return tuple(value)

    def section(self, key: str) -> Settings | None:
        """An object within; None when there is none."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key)
        return Settings(value, f"{self.source}, {key},")

    def require(self, key: str, *allowed: object) -> None:
        """Raises `CheckpointError` for a value that none of the building blocks computes; absent is fine."""
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise CheckpointError(
                f"{self.source} has {key} {value!r}, which is not supported.",
                hint=f"Supported: {', '.join(map(repr, allowed))}. Use another checkpoint.",
            )

    def allow(self, *keys: str) -> None:
        """Raises `CheckpointError` for any other key that says something: what it would mean is not known."""
        for key, value in self.values.items():
            if value is not None and key not in keys:
                raise CheckpointError(
                    f"{self.source} has {key} {value!r}, which is not known.",
                    hint=f"Known: {', '.join(keys)}. Use another checkpoint.",
                )

    def wrong(self, key: str) -> CheckpointError:
        return CheckpointError(
            f"{self.source} says {self.values.get(key)!r} for {key}.",
            hint="The file is damaged or incomplete; fetch the model again.",
        )

    def _value(self, key: str, default: object) -> object:
        value = self.values.get(key)
        return default if value is None else value
