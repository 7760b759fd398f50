"""Nonsense in every form: no answer 5xx but 503, and the service goes on."""

from __future__ import annotations

import random
import re
from typing import Any

import httpx2
import numpy as np
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi import checks

from helpers import drawn_digit
from penstroke.serve.uploads import IMAGES
from serving import Running, ask, exchange, png

_REQUESTS = 150
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")


def sound(body: bytes, path: str = "/v1/recognize", kind: str = "image/png") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


SOUND = [
    sound(png(drawn_digit(60))),
    sound(png(drawn_digit(60), "JPEG"), kind="image/jpeg"),
    sound(b'{"strokes": [[[1, 2], [30, 40]]], "width": 50, "height": 50}', kind="application/json"),
    sound(b'{"label": "7"}', "/v1/corrections", "application/json"),
    sound(png(drawn_digit(60)), "/v1/recognize/line"),
    b"GET /v1/runs/some%20run?x=%ff HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    b"DELETE /v1/corrections/0 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
]


def spoilt(request: bytes, dice: random.Random) -> bytes:
    """Return `request` with bytes changed, dropped, repeated or cut."""
    found = bytearray(request)
    for _ in range(dice.randint(1, 8)):
        place = dice.randrange(len(found))
        length = dice.randint(1, 20)
        match dice.randrange(5):
            case 0:
                found[place] = dice.randrange(256)
            case 1:
                del found[place : place + length]
            case 2:
                found[place:place] = found[place : place + length] * dice.randint(1, 30)
            case 3:
                found[place:place] = dice.choice([b"\r\n", b"\0", b"\xff\xfe", b"%00", b"{}", b":"])
            case _:
                del found[max(1, place) :]
        if not found:
            found = bytearray(b"\r\n")
    return bytes(found)


def test_raw_bytes(running: Running) -> None:
    dice = random.Random(7)
    statuses: set[int] = set()
    for _ in range(_REQUESTS):
        request = spoilt(dice.choice(SOUND), dice)
        found = exchange(running, request, timeout=0.05)
        statuses |= {int(status) for status in _STATUS.findall(found)}
    assert {status for status in statuses if status >= 500} <= {503}
    assert 400 in statuses
    assert ask(running, png(drawn_digit())).status_code == 200


def test_spoilt_images(running: Running) -> None:
    dice = random.Random(3)
    images = [png(drawn_digit(60)), png(drawn_digit(60), "JPEG")]
    with httpx2.Client(base_url=running.url, timeout=120) as client:
        for _ in range(150):
            body = spoilt(dice.choice(images), dice)
            headers = {"content-type": dice.choice(["image/png", "image/jpeg"])}
            found = client.post("/v1/recognize", content=body, headers=headers)
            assert found.status_code in (200, 422), found.text


@st.composite
def _images(draw: st.DrawFn) -> bytes:
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    seed = draw(st.integers(0, 100))
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    return png(pixels, draw(st.sampled_from(["PNG", "JPEG"])))


for _kind in IMAGES:
    schemathesis.openapi.media_type(_kind, st.one_of(_images(), st.binary(max_size=200)))


# Not promised: that what fits the schema is taken. An image of random bytes fits.
_PROMISED = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


_REJECTED = [400, 404, 413, 415, 422]
_CONFIG = SchemathesisConfig.from_dict(
    {"checks": {"negative_data_rejection": {"expected-statuses": _REJECTED}}}
)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_the_openapi_document_holds(running: Running, mode: GenerationMode) -> None:
    schema = httpx2.get(f"{running.url}/openapi.json", timeout=120).json()
    document = schemathesis.openapi.from_dict(schema, config=_CONFIG)
    session = requests.Session()
    tried = []
    for result in document.exclude(path="/v1/runs/events").get_all_operations():  # has no end
        operation: Any = result.ok()  # type: ignore[union-attr]
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query):
            continue  # takes nothing that could be wrong

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=15, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def answered_as_promised(case: schemathesis.Case[Any]) -> None:
            answer = case.call(running.url, session, timeout=60)
            is_too_large = answer.status_code == 413  # refused before it is looked at
            case.validate_response(answer, checks=_PROMISED[:-1] if is_too_large else _PROMISED)

        answered_as_promised()
        tried.append(operation.label)
    session.close()
    assert len(tried) >= (11 if mode is GenerationMode.POSITIVE else 3), tried


def test_the_document_names_everything(running: Running) -> None:
    document = httpx2.get(f"{running.url}/openapi.json", timeout=120).json()
    for path in ("/v1/recognize", "/v1/recognize/line", "/v1/corrections"):
        assert {"413", "415", "422"} <= set(document["paths"][path]["post"]["responses"])
    content = document["paths"]["/v1/recognize"]["post"]["requestBody"]["content"]
    assert set(content) == {*IMAGES, "multipart/form-data", "application/json"}
    assert "$defs" not in str(document)
