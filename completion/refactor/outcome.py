"""What carrying out a call came to: plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Extra:
    """A change that may belong to the call, but that nobody can be sure of: made only after somebody looked.

    Offsets count code points of the file as the call left it.
    """

    path: str
    line: int
    start: int
    end: int
    new: str
    shown: str
    """The line, as it stands."""
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`refused` says why nothing was changed; "" where the call was carried out."""

    changed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    extras: tuple[Extra, ...] = ()
    refused: str = ""

    @property
    def done(self) -> bool:
        """Whether the call was carried out."""
        return not self.refused
