"""The parts of a fill-in-the-middle prompt, for servers that lay it out themselves. Knows no HTTP.

A hosted engine names the family `parts`. Its prompts have a segment for each part, so the parts can be read back:
`read_hole` is the inverse of `model.fim.render` for that family.
"""

from __future__ import annotations

from dataclasses import dataclass

from model import fim
from model.api import Prompt
from model.errors import RequestError

FAMILY = "parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A file with a hole at the cursor, and pieces of other files."""

    prefix: str
    suffix: str = ""
    path: str = ""
    snippets: tuple[fim.Snippet, ...] = ()


def read_hole(prompt: Prompt) -> Hole:
    """The parts of a prompt of the family `parts`; any other text is a prefix alone.

    Raises `RequestError` for token ids, and for control tokens of another family.
    """
    if isinstance(prompt, str):
        return Hole(prefix=prompt)
    row = fim.FORMATS[FAMILY]
    found: dict[str, str] = {}
    files: list[str] = []
    part = ""
    for segment in prompt:
        if isinstance(segment, int):
            raise RequestError("A hosted model takes no token ids.", hint="Send text or segments.")
        if segment.special:
            part = segment.text
            if part not in row.control_tokens:
                raise RequestError(
                    f"A hosted model has no control token {part!r}.", hint=f"Use the prompt format {FAMILY!r}."
                )
        elif part == row.file_separator:
            files.append(segment.text)
        else:
            found[part] = found.get(part, "") + segment.text
    if row.prefix not in found:
        return Hole(prefix=found.get("", ""), suffix=found.get(row.suffix, ""), snippets=_snippets(files))
    path, _, prefix = found[row.prefix].partition("\n")
    return Hole(prefix=prefix, suffix=found.get(row.suffix, ""), path=path, snippets=_snippets(files))


def _snippets(files: list[str]) -> tuple[fim.Snippet, ...]:
    parted = (file.partition("\n") for file in files)
    return tuple(fim.Snippet(path=path, text=text.removesuffix("\n")) for path, _, text in parted)


def with_files(hole: Hole, header: str) -> str:
    """The prefix behind the snippets, each file under its `header` (with `{path}`); the bare prefix without any."""
    return fim.behind_files(hole.prefix, path=hole.path, snippets=hole.snippets, header=header)
