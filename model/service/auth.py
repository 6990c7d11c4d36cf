"""Bearer tokens and the files that hold them. Knows no HTTP."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from model.errors import UsageError


def read_token(path: Path) -> str:
    """The token in a file. Raises `UsageError` when it cannot be read, is too short, or is open to other users."""
    try:
        mode = path.stat().st_mode
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"The token file {path} cannot be read: {error}.", hint="Write a long random line into it, for you alone."
        ) from error
    if len(token) < 16 or not token.isascii() or any(character.isspace() for character in token):
        raise UsageError(
            f"The token in {path} is not one word of 16 ASCII characters or more.",
            hint=f"Make one: `python -c 'import secrets; print(secrets.token_urlsafe(32))' > {path}`.",
        )
    if os.name == "posix" and mode & 0o077:
        raise UsageError(f"The token file {path} can be read by other users.", hint=f"Run `chmod 600 {path}`.")
    return token


def write_token(path: Path) -> str:
    """Put a new token into a file that only this user can read; return it."""
    token = secrets.token_urlsafe(32)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(token + "\n")
    return token
