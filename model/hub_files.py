"""Files of one repository on a model hub, listed and fetched; what was broken off goes on where it stopped.

Everything goes through huggingface_hub's session, so that its login, endpoint and proxies hold. Knows no models.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from model.errors import PullError

PARTS = ".parts"
"""The folder beside the files that holds what has not arrived whole."""
_BLOCK_BYTES = 1 << 20
_ATTEMPTS, _PAUSE_S = 5, 1.0
"""So often in a row a broken connection may bring nothing."""
_PARTIAL = 206


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the library's own."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT") or constants.ENDPOINT


class HubFiles:
    """One repository as the hub lists it: `files` with their sizes, `digests` of the large ones, `commit`."""

    def __init__(self, identity: str, *, revision: str | None, folder: Path) -> None:
        from huggingface_hub import HfApi

        self._identity = identity
        self._folder = folder
        self._endpoint = endpoint()
        info = HfApi(endpoint=self._endpoint).model_info(identity, revision=revision, files_metadata=True)
        self.commit = str(info.sha)
        siblings = [one for one in info.siblings or [] if _stays_inside(one.rfilename)]
        self.files = {one.rfilename: int(one.size or 0) for one in siblings}
        self.digests = {one.rfilename: str(one.lfs.sha256) for one in siblings if one.lfs is not None}

    def download(self, name: str, progress: Callable[[int], None]) -> None:
        """Fetch one file, or the rest of it; `progress` gets the bytes that are there.

        The library throws away what it fetched of a file when it is stopped; weights are too large for that.
        """
        target, size_bytes = self._folder / name, self.files[name]
        if target.is_file() and target.stat().st_size == size_bytes:
            progress(size_bytes)
            return
        part = self._folder / PARTS / f"{self.commit[:16]}-{name.replace('/', '--')}"
        part.parent.mkdir(exist_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        left = _ATTEMPTS
        while (there := part.stat().st_size if part.exists() else 0) < size_bytes or not part.exists():
            try:
                self._stream(name, part, there, progress)
            except transport_error():
                left = _ATTEMPTS if part.exists() and part.stat().st_size > there else left - 1
                if left == 0:
                    raise
                time.sleep(_PAUSE_S)
        if part.stat().st_size > size_bytes:
            part.unlink()
            raise PullError(f"{name} arrived longer than it is published.", hint="Try again.")
        part.replace(target)

    def _stream(self, name: str, part: Path, there: int, progress: Callable[[int], None]) -> None:
        """Append what is behind the first `there` bytes."""
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, but not marked as exported
            build_hf_headers,
            get_session,
            hf_raise_for_status,
        )

        url = hf_hub_url(self._identity, name, revision=self.commit, endpoint=self._endpoint)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
        if there:
            headers["Range"] = f"bytes={there}-"
        timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout_s, follow_redirects=True) as answer:
            hf_raise_for_status(answer)
            if answer.status_code != _PARTIAL:
                there = 0
            with part.open("ab" if there else "wb") as file:
                progress(there)
                for block in answer.iter_bytes(_BLOCK_BYTES):
                    file.write(block)
                    progress(file.tell())
                    if file.tell() > self.files[name]:
                        return  # a mirror may go on for ever; `download` says what is wrong


def _stays_inside(name: str) -> bool:
    """Whether a name of a listing, which anybody's mirror may have made, lies in the folder of its repository."""
    parts = name.replace("\\", "/").split("/")
    return not {"", ".", ".."} & set(parts) and ":" not in name and "\0" not in name and parts[0] != PARTS


def transport_error() -> type[Exception]:
    """What the library's HTTP client raises: which client that is changed from version to version."""
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

    client = importlib.import_module(type(get_session()).__module__.partition(".")[0])
    error: type[Exception] = client.TransportError
    return error
