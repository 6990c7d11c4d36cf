"""What every handler of the engine's HTTP face shares: the body as JSON, and errors as answers. Knows no routes."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from model.errors import RequestError, TerselyError
from model.service.connection import BodyTooLargeError, ClientGoneError, read_body
from model.service.reply import defect, error_json

Handler = Callable[[Request], Awaitable[Response]]

logger = logging.getLogger(__name__)


def answering(handler: Handler) -> Handler:
    """A handler whose errors become answers in OpenAI's shape."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (ClientGoneError, ClientDisconnect):
            return Response(status_code=499)  # nobody reads it; nginx's number for a client that closed
        except TerselyError as error:
            status, body = error_json(error)
            return JSONResponse(body, status_code=413 if isinstance(error, BodyTooLargeError) else status)
        except Exception:
            logger.exception("%s failed", request.url.path)
            status, body = error_json(defect())
            return JSONResponse(body, status_code=status)

    return answer


async def json_body(request: Request) -> object:
    """The body. Raises `RequestError` for what is no JSON, or no text."""
    raw = await read_body(request)
    try:
        body: object = json.loads(raw)
        if b"\\ud" in raw.lower():
            json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The body is not JSON: {error}.", hint="Send a JSON object in UTF-8.") from error
    return body
