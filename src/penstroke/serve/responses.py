"""Errors as answers, in one shape and with the status that HTTP has for them; images as URLs."""

import base64
import io
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from penstroke.errors import ConfigError, ImageError, PenstrokeError, ReviewError
from penstroke.preprocessing.ink import Pixels

_LONGEST_MESSAGE = 500
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed"}


class ApiError(HTTPException):
    """Ends a request with a status, a code for programs and a message that says what to do."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.code = code

    @property
    def content(self) -> dict[str, dict[str, str]]:
        """The JSON that reports it."""
        return {"error": {"code": self.code, "message": self.detail}}

    def response(self) -> Response:
        """Return it as an answer."""
        return JSONResponse(self.content, self.status_code, self.headers)


def busy(status: int, message: str) -> ApiError:
    """Return 429 or 503 for what cannot be accepted now; the caller may try again soon."""
    return ApiError(status, "busy", message, {"retry-after": "1"})


def api_error(error: Exception) -> ApiError:
    """Return what a caller may know of `error`: of an internal fault, only that there was one."""
    match error:
        case ApiError():
            return error
        case HTTPException():
            code = _CODES.get(error.status_code, "refused")
            return ApiError(error.status_code, code, error.detail, error.headers)
        case RequestValidationError():
            is_json = all(detail["type"] != "json_invalid" for detail in error.errors())
            status, code = (422, "invalid") if is_json else (400, "bad_json")
            return ApiError(status, code, _shorten("; ".join(map(_explain, error.errors()))))
        case ImageError():
            return ApiError(422, "bad_image", str(error))
        case ReviewError():
            status = {"unknown": 404, "changed": 409}.get(error.problem, 422)
            return ApiError(status, error.problem, _shorten(str(error)))
        case ConfigError():  # repeats its input, which may be long
            return ApiError(422, "invalid", _shorten(str(error)))
        case PenstrokeError():
            return ApiError(503, "unavailable", str(error))
        case MemoryError():
            return busy(503, "the service is short of memory: try again soon")
    return ApiError(500, "internal", "internal error: the log of the service says more")


async def answer_error(_: Request, error: Exception) -> Response:
    """Answer with `error`: the application's handler for every kind."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody reads it
    return api_error(error).response()


def png(pixels: Pixels) -> bytes:
    """Return `pixels` (H, W) uint8 as a grey PNG."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def data_url(pixels: Pixels) -> str:
    """Return `pixels` (H, W) uint8 as a data: URL of a grey PNG."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def _explain(detail: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in detail["loc"][1:]) or detail["loc"][0]
    return f"{where}: {str(detail['msg']).removeprefix('Value error, ')}"


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}…"
