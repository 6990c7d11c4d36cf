"""Names of large GGUF models that come in several files. Knows nothing of what is in them; imports no torch.

Source: llama.cpp's `llama_split_path`.
"""

from __future__ import annotations

import re

_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")


def parts_of(name: str) -> list[str]:
    """The names of all parts of the model that a file, or a path with slashes, belongs to, the first one first.

    A file that is not numbered is the only one.
    """
    match = _NUMBERED.fullmatch(name)
    if match is None or not 1 <= int(match["number"]) <= int(match["count"]):
        return [name]
    count = int(match["count"])
    return [f"{match['stem']}-{number:05d}-of-{count:05d}.gguf" for number in range(1, count + 1)]
