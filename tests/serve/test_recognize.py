from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import serving
from helpers import drawn_digit
from line_models import ALPHABET, write_line_model
from penstroke.inference.line_reader import LineReader
from penstroke.inference.recognizer import Recognizer
from serving import Running, ask, exchange, png

SEVEN = {"strokes": [[[60, 50], [140, 50, 0.5], [90, 160]]], "width": 200, "height": 200}


def test_the_answer_is_the_recognizers(client: TestClient, recognizer: Recognizer) -> None:
    image = png(drawn_digit())
    told = ask(client, image).json()
    expected = recognizer.recognize(image)
    assert (told["label"], told["status"]) == (expected.label, expected.status)
    assert told["probabilities"] == pytest.approx(dict(expected.probabilities), abs=1e-6)
    assert told["model"] == "small"
    assert told["model_sha256"] == client.get("/v1/models").json()["models"][0]["sha256"]
    assert told["occlusion_map"] is None
    assert told["elapsed_milliseconds"] > 0
    head, _, content = told["input_image"].partition(",")
    assert head == "data:image/png;base64"
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
    assert np.array_equal(seen, expected.input_image)


@pytest.mark.parametrize(("threshold", "reason"), [(0.0, None), (1.0, "ambiguous")])
def test_the_confidence_threshold_is_that_of_the_service(
    model: Path, threshold: float, reason: str | None
) -> None:
    with serving.client(model, confidence_threshold=threshold) as strict:
        told = ask(strict, png(drawn_digit())).json()
    assert told["rejection_reason"] == reason
    assert (told["label"] is None) == (told["status"] == "rejected") == (reason is not None)


def test_kinds_of_bodies_agree(client: TestClient) -> None:
    url = "/v1/recognize"
    image = png(drawn_digit())
    by_body = client.post(url, content=image, headers={"content-type": "image/png"}).json()
    by_form = client.post(url, files={"image": ("seven.png", image, "image/png")}).json()
    assert by_form["probabilities"] == by_body["probabilities"]
    jpeg = client.post(
        url, content=png(drawn_digit(), "JPEG"), headers={"content-type": "image/jpeg; q=1"}
    ).json()
    assert jpeg["probabilities"] == pytest.approx(by_body["probabilities"], abs=0.1)
    strokes = client.post(url, json=SEVEN).json()
    assert strokes["status"] in ("ok", "rejected")


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "RGB"), ("WEBP", "RGB"), *(("PNG", m) for m in ("L", "RGB", "RGBA", "I;16", "P"))],
)
def test_large_photos_are_scaled_down(client: TestClient, kind: str, mode: str) -> None:
    """What they show is recognised as in the small image."""
    small = Image.fromarray(drawn_digit(600))
    large = small.resize((2700, 2700), Image.Resampling.BICUBIC)
    if mode == "I;16":
        large = Image.fromarray(np.asarray(large).astype(np.uint16) * 257)
    stream = io.BytesIO()
    (large if mode == "I;16" else large.convert(mode)).save(stream, kind, quality=90)
    headers = {"content-type": f"image/{kind.lower()}"}
    told = client.post("/v1/recognize", content=stream.getvalue(), headers=headers).json()
    expected = ask(client, png(np.asarray(small))).json()
    assert told["probabilities"] == pytest.approx(expected["probabilities"], abs=0.1)


def test_a_large_photo_is_turned_upright(client: TestClient) -> None:
    image, tags = Image.fromarray(drawn_digit(2700)), Image.Exif()
    tags[0x0112] = 6  # the camera was turned by 90 degrees
    stream = io.BytesIO()
    image.rotate(90).save(stream, "JPEG", exif=tags)
    headers = {"content-type": "image/jpeg"}
    told = client.post("/v1/recognize", content=stream.getvalue(), headers=headers).json()
    expected = ask(client, png(np.asarray(image))).json()
    assert told["probabilities"] == pytest.approx(expected["probabilities"], abs=0.1)


def test_batches(client: TestClient) -> None:
    image = png(drawn_digit())
    files = [("image", image), ("image", b"no image"), ("other", image), ("image", image)]
    told = client.post("/v1/recognize/batch?top=2", files=files).json()
    alone = ask(client, image, top=2).json()
    first, damaged, last = told["results"]
    assert first == last
    assert damaged["error"]["code"] == "bad_image"
    assert first == {name: alone[name] for name in first}
    assert told["model_sha256"] == alone["model_sha256"]
    for count, status in ((0, 422), (64, 200), (65, 422)):
        found = client.post("/v1/recognize/batch", files=[("image", image)] * count or None,
            headers={} if count else {"content-type": "multipart/form-data; boundary=x"},
        )  # fmt: skip
        assert found.status_code == status, found.text


def test_the_document_names_the_token(client: TestClient, model: Path) -> None:
    """It requires the token of a service that has one."""
    with serving.client(model, token="a-good-token") as guarded:
        document = guarded.get("/openapi.json").json()
    for path, operations in document["paths"].items():
        needs_token = path.startswith("/v1/") or path == "/metrics"
        assert all(bool(one.get("security")) is needs_token for one in operations.values()), path
    free = client.get("/openapi.json").json()
    for schema in (document, free):
        (scheme,) = schema["components"]["securitySchemes"].values()
        assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert "'security'" not in str(free)
    assert "Authorization: Bearer TOKEN" in client.get("/docs").text


def test_other_model_top_and_occlusion_map(client: TestClient) -> None:
    told = ask(client, png(drawn_digit()), model="letters", top=2, occlusion=1).json()
    assert told["model"] == "letters"
    assert len(told["probabilities"]) == 2
    assert set(told["probabilities"]) < set("abc")
    image = Image.open(io.BytesIO(base64.b64decode(told["occlusion_map"].partition(",")[2])))
    assert image.size == (28, 28)


def test_blank_paper(client: TestClient) -> None:
    told = ask(client, png(np.full((50, 50), 255, np.uint8)), occlusion=1).json()
    assert (told["status"], told["label"], told["probabilities"]) == ("empty", None, {})
    nothing = client.post("/v1/recognize", json={**SEVEN, "strokes": []}).json()
    assert nothing["status"] == "empty"


def test_lines(client: TestClient) -> None:
    page = np.hstack([drawn_digit(100), drawn_digit(100)])
    told = client.post("/v1/recognize/line", content=png(page),
        headers={"content-type": "image/png"},
    ).json()  # fmt: skip
    assert told["model"] == "small"
    assert len(told["lines"]) == 1
    drawn = client.post("/v1/recognize/line", json=SEVEN).json()
    assert "text" in drawn


@pytest.fixture(scope="module")
def with_lines(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with a model of characters, and one of lines that has learned nothing."""
    lines = write_line_model(tmp_path_factory.mktemp("lines") / "numbers.onnx")
    with serving.client(model, lines) as found:
        yield found


def test_lines_read_as_a_whole(with_lines: TestClient, tmp_path: Path) -> None:
    models = with_lines.get("/v1/models").json()["models"]
    kinds = {model["name"]: model["kind"] for model in models}
    assert kinds == {"small": "characters", "numbers": "lines"}
    assert models[1]["classes"] == list(ALPHABET)
    image, kind = png(np.hstack([drawn_digit(100)] * 3)), {"content-type": "image/png"}
    told = with_lines.post("/v1/read?top=3&one_line=1", content=image, headers=kind).json()
    assert told["model"] == "numbers"
    expected = LineReader.load(write_line_model(tmp_path / "same.onnx")).read_line(image, count=3)
    assert told["text"] == expected.text
    others = [one["text"] for one in told["lines"][0]["alternatives"]]
    assert others == [one.text for one in expected.lines[0].alternatives]
    assert len(others) == 2
    assert (told["width"], told["height"]) == (300, 100)
    page = with_lines.post("/v1/read", content=image, headers=kind)
    assert page.status_code == 200, page.text


def test_a_format_and_a_check_digit(with_lines: TestClient) -> None:
    image, kind = png(np.hstack([drawn_digit(100)] * 3)), {"content-type": "image/png"}
    query = {"format": r"\d{4}", "check_digit": "luhn", "one_line": "1"}
    told = with_lines.post("/v1/read", params=query, content=image, headers=kind).json()
    (line,) = told["lines"]
    assert line["text"].isdigit()
    assert len(line["text"]) == 4
    assert line["status"] == "rejected"  # it fits, but is not there
    for wrong in ({"format": "["}, {"format": "[a-z]"}, {"check_digit": "sum"}, {"top": "0"}):
        refused = with_lines.post("/v1/read", params=wrong, content=image, headers=kind)
        assert refused.status_code == 422, refused.text


def test_each_route_takes_its_kind_of_model(with_lines: TestClient) -> None:
    image, kind = png(drawn_digit(100)), {"content-type": "image/png"}
    for path in ("/v1/recognize", "/v1/recognize/line"):
        refused = with_lines.post(f"{path}?model=numbers", content=image, headers=kind)
        assert refused.status_code == 422
        assert "reads whole lines: send it to /v1/read" in refused.json()["error"]["message"]
        assert with_lines.post(path, content=image, headers=kind).json()["model"] == "small"
    told = with_lines.post("/v1/read?model=small", content=image, headers=kind).json()
    assert told["model"] == "small"
    refused = with_lines.post("/v1/read?model=small&format=1", content=image, headers=kind)
    assert "need a model that reads whole lines" in refused.json()["error"]["message"]


def test_boxes_of_a_scaled_photo(client: TestClient) -> None:
    """They are in pixels of the `width` and `height` of the answer, whatever was sent."""
    drawn = Image.fromarray(np.hstack([drawn_digit(600), drawn_digit(600)]))
    boxes = []
    for image in (drawn, drawn.resize((6000, 3000), Image.Resampling.BICUBIC)):
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=95)
        headers = {"content-type": "image/jpeg"}
        told = client.post("/v1/recognize/line", content=stream.getvalue(), headers=headers).json()
        size = np.array([told["width"], told["height"]] * 2)
        assert size[0] * size[1] <= 4_000_000
        assert size[0] == pytest.approx(2 * size[1], abs=2)
        (line,) = told["lines"]
        boxes.append([np.array(one["box"]) / size for one in (*line["characters"], line)])
    assert (told["width"], told["height"]) != drawn.size
    assert np.array(boxes[1]) == pytest.approx(np.array(boxes[0]), abs=0.01)
    assert len(boxes[0]) == 3


def test_models_and_states(client: TestClient) -> None:
    models = client.get("/v1/models").json()["models"]
    assert [(m["name"], m["is_default"]) for m in models] == [("small", True), ("letters", False)]
    assert models[1]["classes"] == ["a", "b", "c"]
    assert models[0]["dataset"] == "d"
    for path in ("healthz", "readyz"):
        assert client.get(f"/{path}").status_code == 200


def test_metrics(client: TestClient) -> None:
    ask(client, png(drawn_digit()))
    text = client.get("/metrics").text
    assert 'penstroke_requests_total{route="/v1/recognize",status="200"}' in text
    assert 'penstroke_request_seconds_bucket{le="0.05",route="/v1/recognize"}' in text
    assert "penstroke_batch_images_count" in text
    assert "penstroke_queue_characters 0.0" in text
    assert 'penstroke_model_info{classes="10",name="small"' in text
    client.get("/nothing-like-it")
    assert "nothing-like-it" not in client.get("/metrics").text


def test_every_answer_is_strict(client: TestClient) -> None:
    for path in ("/", "/docs", "/nothing", "/v1/models", "/healthz"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_docs_are_a_page_of_our_own(client: TestClient) -> None:
    page = client.get("/docs").text
    assert '<span class="method">POST</span>/v1/recognize' in page
    assert "<script" not in page
    assert "http" not in page
    assert client.get("/static/docs.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("name", ["..%2fapp.py", "%2fetc%2fpasswd", "..", "../app.py", "", "a%00"])
def test_files_that_are_none_of_the_pages(running: Running, name: str) -> None:
    request = f"GET /static/{name} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    assert exchange(running, request.encode()).startswith(b"HTTP/1.1 404 ")


BAD = [
    ("image/png", b"", 422, "bad_image"),
    ("image/png", b"no image", 422, "bad_image"),
    ("image/png", png(drawn_digit())[:-200], 422, "bad_image"),
    ("image/png", png(np.zeros((5001, 5000), np.uint8)), 422, "megapixels"),
    ("image/png", png(drawn_digit(), "GIF"), 422, "not an image that can be read"),
    ("text/plain", b"7", 415, "text/plain"),
    ("", b"7", 415, "(none)"),
    ("application/json", b"{", 400, "bad_json"),
    ("application/json", b"[" * 100_000, 400, "bad_json"),
    ("application/json", b'{"strokes": NaN}', 400, "bad_json"),
    ("application/json", b"[" + 500_001 * b"1," + b"1]", 413, "1,000,000 bytes"),
    ("application/json", b"[]", 422, "valid dictionary"),
    ("application/json", b"{}", 422, "strokes"),
    ("application/json", b'{"strokes": [[[1, "a"]]], "width": 9, "height": 9}', 422, "strokes.0.0"),
    ("application/json", b'{"strokes": [[[1, 1e999]]], "width": 9, "height": 9}', 422, "strokes"),
    ("application/json", b'{"strokes": [], "width": 0, "height": 9}', 422, "width"),
    ("application/json", b'{"strokes": [], "width": 9, "height": 5000}', 422, "height"),
    ("application/json", b'{"strokes": [], "width": 9, "height": 9, "x": 1}', 422, "x: unknown"),
    (
        "application/json",
        b'{"width": 9, "height": 9, "strokes": [[' + b",".join([b"[1,2]"] * 10_001) + b"]]}",
        422,
        "strokes",
    ),
    ("multipart/form-data; boundary=x", b"--x--\r\n", 422, "image: the form has 0"),
    ("multipart/form-data; boundary=x", b"nonsense", 400, "bad_form"),
    ("multipart/form-data", b"--x", 400, "bad_form"),
]


@pytest.mark.parametrize(("kind", "body", "status", "said"), BAD)
def test_what_is_refused(
    client: TestClient, kind: str, body: bytes, status: int, said: str
) -> None:
    found = client.post("/v1/recognize", content=body, headers={"content-type": kind})
    assert found.status_code == status, found.text
    assert set(found.json()["error"]) == {"code", "message"}
    assert said in found.text


def test_unknown_names_are_told_what_there_is(client: TestClient) -> None:
    found = ask(client, b"", model="smal")
    assert found.status_code == 404
    assert 'did you mean "small"' in found.json()["error"]["message"]
    assert ask(client, b"", top=0).status_code == 422
    assert client.get("/v1/recognize").status_code == 405
    assert client.get("/nothing").json()["error"]["code"] == "not_found"
