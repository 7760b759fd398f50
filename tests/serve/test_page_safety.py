"""Names from outside are text on the pages: none of fifty attempts to be more runs in a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, FilePayload, Page, expect

from helpers import SMALL_CNN
from penstroke.inference.recognizer import model_metadata
from penstroke.models.build import build_network
from penstroke.models.onnx_export import export_onnx
from penstroke.preprocessing.ink import DEFAULT_INK
from serve.strokes import DIGITS
from serve.visiting import draw, served, visit, write_run

pytestmark = pytest.mark.browser

_LINES = """
<script>HIT</script>
<img src=x onerror=HIT>
<svg onload=HIT>
"><script>HIT</script>
'><img src=x onerror=HIT>
</td><svg/onload=HIT>
</script><script>HIT</script>
</title><svg onload=HIT>
</style><svg onload=HIT>
</textarea><svg onload=HIT>
</option></select><svg onload=HIT>
javascript:HIT
JaVaScRiPt:HIT
data:text/html,<script>HIT</script>
" onmouseover="HIT
' onfocus='HIT' autofocus='
" style="background:url(javascript:HIT)
<iframe src=javascript:HIT>
<iframe srcdoc='<script>parent.HIT</script>'>
<a href=javascript:HIT>a</a>
<body onload=HIT>
<input autofocus onfocus=HIT>
<details open ontoggle=HIT>
<video><source onerror=HIT></video>
<audio src=x onerror=HIT>
<object data=javascript:HIT>
<embed src=javascript:HIT>
<math><mtext><img src=x onerror=HIT>
<style>*{x:expression(HIT)}</style>
<link rel=stylesheet href=javascript:HIT>
<meta http-equiv=refresh content=0;javascript:HIT>
<base href=javascript:HIT//>
<form action=javascript:HIT><button autofocus>
<marquee onstart=HIT>
<template><script>HIT</script></template>
<noscript><img src=x onerror=HIT></noscript>
<!--><img src=x onerror=HIT>-->
<![CDATA[<img src=x onerror=HIT>]]>
<img src=`x`onerror=HIT>
<img/src/onerror=HIT>
<IMG SRC=x ONERROR=HIT>
&lt;script&gt;HIT&lt;/script&gt;
&#60;img src=x onerror=HIT&#62;
${HIT}
{{constructor.constructor('HIT')()}}
';HIT;'
";HIT;"
"""
ATTACKS = [
    attack.replace("HIT", "window.hit=1")
    for attack in (
        *_LINES.strip().split("\n"),
        "java\tscript:HIT",
        "\\u003cimg src=x onerror=HIT\\u003e",
        "\u2028HIT\u2029<img src=x onerror=HIT>",
    )
]


def test_there_are_fifty() -> None:
    assert len(set(ATTACKS)) == 50


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for day, attack in enumerate(ATTACKS):
        write_run(folder, file_name(attack), [0.9, 0.5], day=1 + day % 28, test=0.9)
    return folder


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[str]:
    """A model whose classes, data set and name are all attacks."""
    network = build_network(SMALL_CNN, num_classes=len(ATTACKS), mean=0.1, std=0.3, seed=1)
    metadata = model_metadata(ATTACKS, DEFAULT_INK, dataset=ATTACKS[0])
    models = [folder / f"{file_name(attack)}.onnx" for attack in ATTACKS[:3]]
    for path in models:
        path.write_bytes(export_onnx(network, metadata))
    with served(*models, runs=folder) as url:
        yield url


def test_markup_would_be_noticed(browser: Browser, service: str) -> None:
    expected = ("Content Security Policy", "Failed to load resource")
    with visit(browser, service, expected=expected) as page:
        page.evaluate("markup => document.body.insertAdjacentHTML('beforeend', markup)", ATTACKS[1])
        with pytest.raises(AssertionError):
            unhurt(page)


def test_class_names_model_names_and_data_sets_stay_text(browser: Browser, service: str) -> None:
    with visit(browser, service) as page:
        assert page.locator("#model option").all_text_contents() == [
            file_name(a) for a in ATTACKS[:3]
        ]
        assert ATTACKS[0] in page.locator("#about-model").inner_text()
        draw(page, DIGITS["7"])
        expect(page.locator(".bar.best")).to_be_enabled()
        # Every class is answered once, is shown in large and in its bar, and is kept as a label.
        seen = page.evaluate("document.getElementById('input-image').toDataURL()")
        for attack in ATTACKS:
            answer = {
                "model": "m", "status": "ok", "label": attack, "probability": 0.9,
                "probabilities": {attack: 0.9, ATTACKS[0]: 0.05}, "input_image": seen,
                "occlusion_map": None,
            }  # fmt: skip
            answer_with(page, answer)
            page.keyboard.press("]")
            page.keyboard.press("[")
            expect(page.locator("#answer")).to_have_text(attack)
        unhurt(page)


def test_labels_of_the_collection_stay_text(browser: Browser, service: str) -> None:
    shares = dict.fromkeys(ATTACKS, 1)
    collection = {"images": 50, "by_label": shares, "path": ATTACKS[1], "corrections": []}

    def answer(page: Page) -> None:
        page.route("**/v1/corrections?*", lambda route: route.fulfill(json=collection))

    with visit(browser, service, before=answer) as page:
        expect(page.locator("#tally b")).to_have_count(50)
        assert page.locator("#tally b").all_text_contents() == ATTACKS
        unhurt(page)


def test_file_names_stay_text(browser: Browser, service: str, image_of_seven: bytes) -> None:
    with visit(browser, service) as page:
        for attack in ATTACKS:
            file = FilePayload(name=attack, mimeType="image/png", buffer=image_of_seven)
            page.set_input_files("#chooser", file)
            expect(page.locator("#source")).to_contain_text("200 × 200")
            page.set_input_files("#chooser", FilePayload({**file, "buffer": b""}))
            expect(page.locator("#notice")).to_contain_text("is not an image")
        unhurt(page)


def test_messages_of_the_server_stay_text(browser: Browser, service: str) -> None:
    with visit(browser, service, expected=("Failed to load resource",)) as page:
        for attack in ATTACKS:
            error = {"error": {"code": "c", "message": attack}}
            answer_with(page, error, status=422)
            page.keyboard.press("Delete")
            draw(page, [[(50, 50)]])
            shown = re.sub("`([^`]+)`", r"\1", attack)  # what stands between backticks is code
            expect(page.locator("#notice p")).to_have_text(shown)
        unhurt(page)


def test_run_names_stay_text(browser: Browser, service: str, folder: Path) -> None:
    with visit(browser, f"{service}runs") as page:
        expect(page.locator("#rows tr")).to_have_count(50)
        shown = page.locator("#rows .run-name").all_text_contents()
        assert sorted(shown) == sorted(file_name(attack) for attack in ATTACKS)
        unhurt(page)
    for some in (shown[:8], shown[8:16]):
        names = urlencode([("run", name) for name in some])
        with visit(browser, f"{service}runs?{names}") as page:
            expect(page.locator("#figures tr")).to_have_count(8)
            unhurt(page)


def answer_with(page: Page, body: dict[str, Any], status: int = 200) -> None:
    page.unroute("**/v1/recognize?*")
    page.route("**/v1/recognize?*", lambda route: route.fulfill(status=status, json=body))


def file_name(attack: str) -> str:
    """Return the attack as a file may be called."""
    return attack.replace("/", "∕")[:80]


def unhurt(page: Page) -> None:
    """Assert that nothing ran, and that nothing was added to the page but text."""
    assert page.evaluate("window.hit") is None
    added = "img, iframe, object, embed, video, audio, base, form, [onerror], [onload], [autofocus]"
    assert page.locator(f"script:not([src^='static/']), {added}").count() == 0
    hrefs = page.locator("[href]").evaluate_all("all => all.map((one) => one.protocol ?? '')")
    assert not [one for one in hrefs if one not in ("http:", "")]
