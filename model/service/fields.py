"""Read the fields of a JSON object by type, and collect every complaint with the field's name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from model.errors import RequestError

_T = TypeVar("_T")


class BadFieldError(RequestError):
    """A request whose fields do not do. `param` is the first of them."""

    def __init__(self, complaints: Mapping[str, str]) -> None:
        super().__init__(
            "; ".join(f"`{name}` {what}" for name, what in complaints.items()) + ".",
            hint="Correct the fields named here.",
        )
        self.param = next(iter(complaints))


class Fields:
    """A JSON object under inspection. A field that is absent or null has its default; `check` raises what was found.

    Fields that nobody asks for are ignored, as other servers of this protocol do.
    """

    def __init__(self, body: object) -> None:
        if not isinstance(body, dict):
            raise RequestError("The body is not a JSON object.", hint="Send an object with a `prompt`.")
        self._body: dict[str, object] = body
        self._complaints: dict[str, str] = {}

    def complain(self, name: str, what: str) -> None:
        """Note that `name` is wrong; `what` follows the name in the message."""
        self._complaints.setdefault(name, what)

    def check(self) -> None:
        """Raise `BadFieldError` when anything was wrong."""
        if self._complaints:
            raise BadFieldError(self._complaints)

    def raw(self, name: str) -> object:
        """The value as it came; None when absent."""
        return self._body.get(name)

    def parsed(self, name: str, read: Callable[[object], _T], *, default: _T) -> _T:
        """The value as `read` sees it, which raises ValueError with what is wrong."""
        value = self._body.get(name)
        if value is None:
            return default
        try:
            return read(value)
        except ValueError as error:
            self.complain(name, str(error))
            return default

    def integer(self, name: str, default: int, *, least: int, most: int | None = None) -> int:
        """A whole number within bounds."""
        return self.parsed(name, lambda value: read_integer(value, least=least, most=most), default=default)

    def number(self, name: str, default: float, *, least: float, most: float) -> float:
        """A finite number within bounds."""

        def read(value: object) -> float:
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"must be a number from {least:g} to {most:g}")
            return float(value)

        return self.parsed(name, read, default=default)

    def flag(self, name: str) -> bool:
        """true or false; false when absent."""

        def read(value: object) -> bool:
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value

        return self.parsed(name, read, default=False)

    def text(self, name: str) -> str | None:
        """A string, or None when absent."""

        def read(value: object) -> str | None:
            if not isinstance(value, str):
                raise ValueError("must be a string")
            return value

        return self.parsed(name, read, default=None)


def read_integer(value: object, *, least: int, most: int | None = None) -> int:
    """A whole number within bounds, or ValueError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        raise ValueError(f"must be a whole number, at least {least}" + ("" if most is None else f" and at most {most}"))
    return value
