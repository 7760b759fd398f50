"""Answers in JSON: errors in one shape, with the status that HTTP has for them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from penstroke.errors import ConfigError, ImageError, PenstrokeError

RETRY_SECONDS = 1
_LONGEST = 500


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: str = Field(description="a word for programs")
    message: str = Field(description="what is wrong, where, and what to do: for people")


class ErrorAnswer(BaseModel):
    """The body of every answer that is no success."""

    error: ErrorDetail


class ApiError(Exception):
    """Ends a request with `status` and a message that says what to do."""

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return it as an answer."""
        body = {"error": {"code": self.code, "message": str(self)}}
        return json_response(body, self.status, self.headers)


def busy(status: int, message: str) -> ApiError:
    """Return 429 or 503: it could not be taken on now, and may be asked again soon."""
    return ApiError(status, "busy", message, {"retry-after": str(RETRY_SECONDS)})


def json_response(
    value: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `value` as JSON, as small as it gets."""
    content = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(content, status, headers, media_type="application/json")


def of_exception(error: Exception) -> ApiError:
    """Return what a caller is told of `error`; of faults of our own, only that there was one."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, HTTPException):
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        return ApiError(error.status_code, code, str(error.detail), error.headers)
    if isinstance(error, RequestValidationError):
        return ApiError(422, "invalid", "; ".join(map(_explain, error.errors())))
    if isinstance(error, ImageError):
        return ApiError(422, "bad_image", str(error))
    if isinstance(error, ConfigError):  # repeats what it was given, which may be long
        return ApiError(422, "invalid", shorten(str(error)))
    if isinstance(error, PenstrokeError):
        return ApiError(503, "unavailable", str(error))
    return ApiError(500, "internal", "a fault of the service's own: its log says more")


def shorten(text: str) -> str:
    """Return the beginning of `text`, as much as a person reads."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


async def answer_error(_: Request, error: Exception) -> Response:
    """Answer with `error`; registered for every kind of it."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=400)  # nobody is there to read it
    return of_exception(error).response()


def _explain(detail: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in detail["loc"][1:]) or detail["loc"][0]
    return f"{where}: {detail['msg']}"
