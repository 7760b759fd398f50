"""What the OpenAPI document says of the routes: their bodies, their answers, and every refusal."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from penstroke.serve.corrections import Correction
from penstroke.serve.responses import ErrorAnswer
from penstroke.serve.strokes import Drawing
from penstroke.serve.uploads import FORM, IMAGES, JSON

_REFUSALS = {
    400: "No HTTP, JSON or form that can be read.",
    401: "The token is missing or wrong.",
    403: "Asked by another page.",
    404: "There is no such model, run or image.",
    408: "The body did not come in time.",
    413: "The body is larger than a megabyte.",
    415: "The body is of a type that is not read here.",
    421: "The Host header names another service.",
    422: "A field or the image is not what it should be; the message names it.",
    429: "Too much is waiting; Retry-After says when to ask again.",
    503: "Too many requests are under way, or the service is stopping.",
}
_ALWAYS = (400, 401, 403, 421, 503)
_OF_BODIES = (*_ALWAYS, 408, 413, 415, 422, 429)
_BINARY = {"type": "string", "format": "binary"}


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class CharacterAnswer(_Answer):
    """One character."""

    model: str
    status: Literal["ok", "rejected", "empty"]
    label: str | None = Field(description="null where there is no ink, or no certainty")
    probability: float
    probabilities: dict[str, float] = Field(description="by class")
    input_image: str = Field(description="the 28×28 that the network read: a data: URL of a PNG")
    attention: str | None = Field(description="where it looked: a data: URL of a PNG, 28×28")
    elapsed_milliseconds: float


class PageAnswer(_Answer):
    """Lines of characters."""

    model: str
    text: str
    lines: list[dict[str, Any]] = Field(description="each with text, box and characters")


class ModelFacts(_Answer):
    """A model that is served."""

    name: str
    classes: list[str]
    dataset: str | None
    is_default: bool
    sha256: str = Field(description="of its file")
    metadata: dict[str, Any]


class ModelsAnswer(_Answer):
    """The models that are served."""

    models: list[ModelFacts]


class KeptAnswer(_Answer):
    """An image that was kept."""

    id: str
    label: str
    images: int = Field(description="how many there are now")


class CollectionAnswer(_Answer):
    """What has been kept."""

    images: int
    by_label: dict[str, int]
    path: str


class RunFacts(_Answer):
    """A run."""

    name: str
    dataset: str
    status: Literal["finished", "unfinished"]
    epochs: int
    total_epochs: int
    val_accuracy: float | None
    test_accuracy: float | None
    created: str


class RunsAnswer(_Answer):
    """The runs."""

    runs: list[RunFacts]


class RunAnswer(RunFacts):
    """A run with its history."""

    history: list[dict[str, Any]] = Field(description="a line an epoch")
    verdict: str | None


class StateAnswer(_Answer):
    """How the service is."""

    status: str


def answers(model: type[BaseModel], *further: int, success: int = 200) -> dict[str, Any]:
    """Return what a route answers: `model`, or one of the refusals that meet every route."""
    return _route(success, {"model": model}, (*_ALWAYS, 422, 429, *further))


def recognition(query: type[BaseModel], answer: type[BaseModel]) -> dict[str, Any]:
    """Return parameters, body and answers of a route that reads images."""
    form = {"type": "object", "properties": {"image": _BINARY}, "required": ["image"]}
    content = {
        **{kind: {"schema": _BINARY} for kind in IMAGES},
        FORM: {"schema": form},
        JSON: {"schema": _inlined(Drawing)},
    }
    route = _route(200, {"model": answer}, (*_OF_BODIES, 404), content)
    route["openapi_extra"]["parameters"] = [
        {"name": name, "in": "query", "required": False, "description": field["description"],
         "schema": _without_null(field)}
        for name, field in query.model_json_schema()["properties"].items()
    ]  # fmt: skip
    return route


def correction() -> dict[str, Any]:
    """Return the body and the answers of the route that keeps an image."""
    content = {JSON: {"schema": _inlined(Correction)}}
    return _route(201, {"model": KeptAnswer}, _OF_BODIES, content)


def deletion() -> dict[str, Any]:
    """Return the answers of the route that takes an image back."""
    return _route(204, {"description": "It is gone."}, (*_ALWAYS, 404, 422, 429))


def events() -> dict[str, Any]:
    """Return the answers of the endless route."""
    return text("Events without end.", "text/event-stream")


def text(description: str, media_type: str = "text/plain") -> dict[str, Any]:
    """Return the answers of a route that answers with text."""
    success = {"description": description, "content": {media_type: {"schema": {"type": "string"}}}}
    return _route(200, success, _ALWAYS)


def _route(
    status: int,
    success: dict[str, Any],
    refusals: tuple[int, ...],
    content: dict[str, Any] | None = None,
) -> dict[str, Any]:
    responses: dict[int, dict[str, Any]] = {
        code: {"model": ErrorAnswer, "description": _REFUSALS[code]} for code in sorted(refusals)
    }
    body = {"requestBody": {"required": True, "content": content}} if content else {}
    return {
        "response_model": None,
        "responses": {status: success, **responses},
        "openapi_extra": body,
    }


def _without_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field that is left out, never null: a query has no word for it."""
    found = field.get("anyOf", [field])[0]
    return {key: value for key, value in found.items() if key not in ("title", "description")}


def _inlined(model: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of `model` with its parts in their places: a document has one root."""
    whole = model.model_json_schema()
    parts = whole.pop("$defs", {})

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(parts[node["$ref"].rpartition("/")[2]])
            return {key: resolve(value) for key, value in node.items()}
        return [resolve(item) for item in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(whole)
    return resolved
