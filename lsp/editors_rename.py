"""`tersely/rename`: what the editor's own language server would rename, where the editor says that it can be asked.

Announced as `experimental.tersely.rename` among the client's capabilities. Asked with `textDocument`, `position` and
`newName`; the answer is null, or `positionEncoding` and `changes`: a list of `uri` and `edits` (`TextEdit`). The editor
changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from pygls.exceptions import JsonRpcException
from pygls.uris import from_fs_path

from lsp.documents import Document
from lsp.positions import Encoding, units
from lsp.server import Server

RENAME = "tersely/rename"
_WAIT_S = 20.0

logger = logging.getLogger(__name__)


def can_be_asked(server: Server) -> bool:
    """Whether the editor announced it."""
    value: Any = server.client_capabilities.experimental
    for name in ("tersely", "rename"):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value is True


async def rename_by_editor(server: Server, document: Document, question: Mapping[str, Any]) -> dict[str, Any] | None:
    """Pass a `completion.refactor.renamer.Question` on; None where there is no answer, or none that can be read."""
    uri = next(
        (one.uri for one in server.host.documents if one.root == document.root and one.path == question["path"]),
        from_fs_path(f"{document.root}/{question['path']}"),
    )
    column = units(question["before"], server.host.documents.encoding)
    params = {
        "textDocument": {"uri": uri},
        "position": {"line": question["line"], "character": column},
        "newName": question["new_name"],
    }
    try:
        async with asyncio.timeout(_WAIT_S):
            answer = await server.protocol.send_request_async(RENAME, params)
        return None if answer is None else _read(server, document, answer)
    except (JsonRpcException, TimeoutError, LookupError, TypeError, ValueError) as error:
        logger.info("The editor does not rename: %r", error)
        return None


def _read(server: Server, document: Document, answer: Any) -> dict[str, Any]:
    """The answer for `completion.refactor.renamer`. Raises what comes of one that is shaped otherwise."""
    edits = []
    for change in answer["changes"]:
        path, root = server.host.documents.locate(str(change["uri"]))
        for edit in change["edits"]:
            start, end = ([int(edit["range"][side][key]) for key in ("line", "character")] for side in ("start", "end"))
            inside = path if root == document.root else ""
            edits.append({"path": inside, "start": start, "end": end, "text": str(edit["newText"])})
    encoding = Encoding(answer.get("positionEncoding", Encoding.UTF16))
    return {"encoding": encoding.value, "edits": edits}
