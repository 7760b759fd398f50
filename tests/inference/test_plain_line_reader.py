"""Reading lines without Penstroke, as the documentation says it: in Python and in JavaScript."""

from __future__ import annotations

import base64
import importlib.util
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

from helpers import drawn_digit
from line_models import ALPHABET, write_line_model
from penstroke.inference.line_decoding import greedy
from penstroke.inference.line_reader import LineReader
from penstroke.preprocessing.strips import line_strip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def plain() -> Any:
    spec = importlib.util.spec_from_file_location("plain", ROOT / "examples/plain_line_reader.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.hstack([drawn_digit(100)] * 3))


def test_in_python(plain: Any, image: Image.Image, tmp_path: Path) -> None:
    path = write_line_model(tmp_path / "model.onnx")
    for one in (image, image.resize((61, 30)), Image.fromarray(255 - np.asarray(image))):
        strip = line_strip(one)
        assert int(np.abs(plain.strip_of(one).astype(int) - strip).max()) <= 1
        (log_probs,) = LineReader.load(path).log_probabilities([strip])
        assert plain.PlainLineReader(str(path)).read(one)[0] == greedy(log_probs, ALPHABET)


@pytest.mark.browser
def test_in_javascript(browser: Browser, image: Image.Image) -> None:
    text = (ROOT / "docs/howto/model-elsewhere.md").read_text("utf-8")
    code = re.search(r"## Lines.*?```javascript\n(.*?)```", text, re.DOTALL)
    assert code is not None
    stream = io.BytesIO()
    image.save(stream, "PNG")
    log_probs = np.random.default_rng(1).normal(size=(75 // 4 + 6, 1 + len(ALPHABET)))
    page = browser.new_page()
    told = page.evaluate(
        f"""async ([png, logProbs, alphabet]) => {{
          {code[1]}
          const bytes = Uint8Array.from(atob(png), (c) => c.charCodeAt(0));
          const bitmap = await createImageBitmap(new Blob([bytes]));
          let asked;
          globalThis.ort = {{ Tensor: class {{ constructor(...given) {{ asked = given; }} }} }};
          const session = {{ run: async () => ({{ log_probs: {{ data: logProbs }} }}) }};
          const text = await read(session, bitmap, alphabet);
          return {{ text, kind: asked[0], strip: [...asked[1]], shape: asked[2] }};
        }}""",
        [base64.b64encode(stream.getvalue()).decode(), log_probs.ravel().tolist(), ALPHABET],
    )
    page.close()
    strip = line_strip(image)
    assert (told["kind"], told["shape"]) == ("uint8", [1, 32, 96])
    padded = np.reshape(told["strip"], (32, 96))
    assert (padded[:, strip.shape[1] :] == 64).all()
    assert np.abs(padded[:, : strip.shape[1]] - strip).mean() < 3
    assert told["text"] == greedy(log_probs, ALPHABET)
