"""pygls' protocol with what an editor's peace needs: every request is answered, and the end is a value, not an exit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from cattrs import Converter
from lsprotocol import types
from pygls.exceptions import JsonRpcException, JsonRpcRequestCancelled
from pygls.protocol import (
    JsonRPCNotification,
    JsonRPCRequestMessage,
    JsonRPCResponseMessage,
    LanguageServerProtocol,
    default_converter,
    lsp_method,
)

T = TypeVar("T")

_OWN_DOCUMENTS = (
    types.TEXT_DOCUMENT_DID_OPEN,
    types.TEXT_DOCUMENT_DID_CHANGE,
    types.TEXT_DOCUMENT_DID_CLOSE,
    types.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS,
    types.NOTEBOOK_DOCUMENT_DID_OPEN,
    types.NOTEBOOK_DOCUMENT_DID_CHANGE,
    types.NOTEBOOK_DOCUMENT_DID_CLOSE,
)
"""Handled by this room alone: pygls would keep a second copy of each text, with other line ends."""


def converter() -> Converter:
    """pygls' converter, except that messages it does not know keep their parameters as plain JSON."""
    made: Converter = default_converter()  # type: ignore[no-untyped-call]

    def plain(data: dict[str, Any], _: type) -> JsonRPCNotification:
        return JsonRPCNotification(method=data["method"], params=data.get("params"), jsonrpc=data["jsonrpc"])

    def plain_request(data: dict[str, Any], _: type) -> JsonRPCRequestMessage:
        return JsonRPCRequestMessage(
            id=data["id"], method=data["method"], params=data.get("params"), jsonrpc=data["jsonrpc"]
        )

    def plain_response(data: dict[str, Any], _: type) -> JsonRPCResponseMessage:
        return JsonRPCResponseMessage(id=data["id"], result=data.get("result"), jsonrpc=data["jsonrpc"])

    made.register_structure_hook(JsonRPCNotification, plain)
    made.register_structure_hook(JsonRPCResponseMessage, plain_response)
    made.register_structure_hook(JsonRPCRequestMessage, plain_request)
    return made


class Protocol(LanguageServerProtocol):
    """One connection. `ended` is set by `exit`; `exit_code` is then what the protocol asks for."""

    menu_advertised = False
    """Whether `initialize` offers `textDocument/completion`."""

    def __init__(self, server: Any, converter: Converter) -> None:
        super().__init__(server, converter)
        self.ended = threading.Event()
        for method in _OWN_DOCUMENTS:
            self.fm.builtin_features.pop(method, None)

    @property
    def exit_code(self) -> int:
        """0 after `shutdown`, 1 otherwise."""
        return 0 if self._shutdown else 1

    @lsp_method(types.INITIALIZE)
    def lsp_initialize(self, params: types.InitializeParams) -> Generator[Any, Any, types.InitializeResult]:
        result: types.InitializeResult = yield from super().lsp_initialize(params)
        if not self.menu_advertised:
            result.capabilities.completion_provider = None
        return result

    @lsp_method(types.EXIT)
    def lsp_exit(self, *_: object) -> Generator[Any, Any, None]:
        self.ended.set()
        yield from ()

    async def run_cancellably(self, work: Coroutine[Any, Any, T]) -> T:
        """Do a command's work. pygls ends a cancelled command's request alone, and lets the work go on; and it gives no
        answer at all where the work is cancelled otherwise: by its progress.
        """
        task = asyncio.ensure_future(work)
        request = None if self.msg_id is None else self._request_futures.get(self.msg_id)
        if request is not None:
            request.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)
        try:
            return await task
        except asyncio.CancelledError:
            if request is None or request.cancelled():
                raise
            raise JsonRpcRequestCancelled("It was cancelled.") from None

    def structure_message(self, data: dict[str, Any]) -> Any:
        """As pygls, but a request that cannot be read gets an error for an answer, rather than none."""
        try:
            return super().structure_message(data)
        except JsonRpcException as error:
            if "id" in data and "method" in data:
                self._send_response(data["id"], None, error.to_response_error())
            raise

    def handle_message(self, message: Any) -> None:
        """As pygls, but a request after `shutdown` gets an error for an answer, rather than none."""
        late = self._shutdown and hasattr(message, "id") and hasattr(message, "method")
        if late:
            error = types.ResponseError(code=types.ErrorCodes.InvalidRequest.value, message="The server is shut down.")
            self._send_response(message.id, None, error)
            return
        super().handle_message(message)
