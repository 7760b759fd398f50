"""The command: what it says, what it refuses, and what it does without."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx2
import pytest
import segno

from helpers import Outcome, drawn_digit, start
from penstroke.serve.service_settings import ServiceSettings
from serving import client, png, service, write_model
from transcripts import ROOT

Cli = Callable[..., Outcome]
_NO_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "sklearn", "matplotlib", "onnx", "optuna"):
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_terminal_shows_a_qr_code_for_a_phone(model: Path, host: str) -> None:
    """Where a phone can open the address; elsewhere, and where stdout is a file, there is none."""
    terminal, inside = pty.openpty()
    words = [sys.executable, "-m", "penstroke", "serve", model, "--port", 0, "--host", host]
    process = start(
        [*words, "--workers", 1, "--shutdown-grace", 0], stdout=inside, stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    text = ""
    end = "not encrypted" if host == "0.0.0.0" else "/docs"
    while end not in text:
        text += os.read(terminal, 65536).decode(errors="replace").replace("\r\n", "\n")
    page = re.search(r"^page +(\S+)$", text, re.MULTILINE)
    assert page
    code = io.StringIO()
    segno.make(page[1], error="l").terminal(code, compact=True)
    assert (code.getvalue() in text) == (host == "0.0.0.0")
    assert ("█" in text) == (host == "0.0.0.0")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0


@pytest.mark.parametrize("client", [[sys.executable, "client.py"], ["node", "client.mjs"]])
def test_examples_of_clients(model: Path, tmp_path: Path, client: list[str]) -> None:
    """One image, a batch with an image that is none, a wrong token, a full queue."""
    if shutil.which(client[0]) is None:
        pytest.skip(f"no {client[0]} here")
    good, bad = ROOT / "examples/seven.png", tmp_path / "bad.png"
    bad.write_bytes(b"no image")

    def call(url: str, *images: Path, token: str = "a-good-token") -> tuple[int, str, str]:
        words = [client[0], ROOT / "examples" / client[1], url, *images]
        done = subprocess.run(
            list(map(str, words)), capture_output=True, text=True, timeout=120,
            env={**os.environ, "PENSTROKE_TOKEN": token},
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    with service(model, token="a-good-token") as running:
        code, out, err = call(running.url, good)
        assert (code, err) == (0, "")
        answer = out.removeprefix(f"{good}: ")
        code, out, _ = call(running.url, good, bad, good)
        lines = out.splitlines(keepends=True)
        assert (code, lines[0], lines[2]) == (1, f"{good}: {answer}", f"{good}: {answer}")
        assert lines[1].startswith(f"{bad}: image is not an image")
        code, out, err = call(running.url, good, token="another-token")
        assert (code, out) == (1, "")
        assert err.startswith("error: 401 no_token: send the token")
        assert call(running.url, bad)[2].startswith("error: 422 bad_image")


def test_a_client_waits_where_the_service_is_busy(tmp_path: Path) -> None:
    """As Retry-After says; whoever is refused five times is told so."""

    class Busy(BaseHTTPRequestHandler):
        refusals = [429, 503]  # noqa: RUF012 - of the test

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status = self.refusals.pop(0) if self.refusals else 200
            error = {"error": {"code": "busy", "message": "busy"}}
            answer = {"label": "7", "status": "ok", "probability": 0.5}
            content = json.dumps(answer if status == 200 else error).encode()
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    image = ROOT / "examples/seven.png"
    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        for words in ([sys.executable, "client.py"], ["node", "client.mjs"]):
            if shutil.which(words[0]):
                for refusals, code in (([429, 503], 0), ([503] * 5, 1)):
                    Busy.refusals = refusals
                    command = [words[0], ROOT / "examples" / words[1], url, image]
                    done = subprocess.run(
                        list(map(str, command)), capture_output=True, text=True, timeout=120,
                        env={k: v for k, v in os.environ.items() if k != "PENSTROKE_TOKEN"},
                    )  # fmt: skip
                    assert done.returncode == code, done.stderr
                    assert ("7 0.5000" if code == 0 else "503 busy") in done.stdout + done.stderr
        server.shutdown()


@pytest.mark.parametrize("blocked", [True, False])
def test_serves_and_predicts_without_torch(model: Path, tmp_path: Path, blocked: bool) -> None:
    environment = dict(os.environ)
    if blocked:  # in the workers too: it goes with the environment
        (tmp_path / "sitecustomize.py").write_text(_NO_TORCH)
        paths = [str(tmp_path), environment.get("PYTHONPATH", "")]
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    command = [sys.executable, "-m", "penstroke", "serve", str(model), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--workers", "1", "--shutdown-grace", "0"],
        stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        assert told["models"] == ["small"]
        assert told["token"] is None
        url, kind = f"{told['url']}/v1/recognize", {"content-type": "image/png"}
        for query in ("", "/line", "?occlusion=1"):
            answer = httpx2.post(url + query, content=png(drawn_digit()), headers=kind, timeout=120)
            assert answer.status_code == 200, answer.text
        assert httpx2.get(f"{told['url']}/", timeout=120).status_code == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0
        process.stdout.close()  # type: ignore[union-attr]


_NO_WORKERS = """
from penstroke.serve import worker_pool

def start_process():
    raise OSError("no memory")

worker_pool.start_process, worker_pool._START_SECONDS = start_process, 1
from penstroke.cli.main import main
main()
"""


def test_a_service_without_workers_ends_with_a_line(model: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _NO_WORKERS, "serve", str(model), "--port", "0"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "the worker processes did not start within 1 s" in done.stderr
    assert "Traceback" not in done.stderr
    assert "http://" not in done.stdout


def test_what_is_refused(penstroke: Cli, model: Path, tmp_path: Path) -> None:
    assert "no run" in penstroke("serve", "nothing").err
    assert "cannot read the model" in penstroke("serve", tmp_path / "no.onnx").err
    other = write_model(tmp_path / "small" / "model.onnx")
    assert 'two of the models are called "small"' in penstroke("serve", model, other).err
    assert "token" in penstroke("serve", model, "--token", "short").err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = penstroke("serve", model, "--port", port)
    assert refused.exit_code == 2
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in refused.err


def test_beyond_this_machine_a_token_is_made_up(model: Path) -> None:
    command = [sys.executable, "-m", "penstroke", "serve", str(model), "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--host", "0.0.0.0", "--workers", "1", "--shutdown-grace", "0"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        url = told["url"]
        assert "0.0.0.0" not in url, "a phone cannot open it"
        assert len(told["token"]) >= 32
        assert told["page"].endswith(f"/#token={told['token']}")
        assert httpx2.get(f"{url}/v1/models", timeout=120).status_code == 401
        with_token = {"authorization": f"Bearer {told['token']}"}
        assert httpx2.get(f"{url}/v1/models", headers=with_token, timeout=120).status_code == 200
        assert httpx2.get(f"{url}/healthz", timeout=120).status_code == 200
    finally:
        process.terminate()
        assert process.wait(timeout=120) == 0
        process.stdout.close()  # type: ignore[union-attr]


def test_each_request_is_logged_without_its_query(
    model: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO", logger="penstroke.access")
    # Libraries that other tests of this process load configure logging for everybody.
    monkeypatch.setattr(logging.root.manager, "disable", logging.NOTSET)
    for name, value in {"disabled": False, "propagate": True}.items():
        monkeypatch.setattr(logging.getLogger("penstroke.access"), name, value)
    with client(model) as served:
        served.get("/healthz?name=secret", headers={"authorization": "Bearer secret"})
        served.get("/a%0Ab")
    first, second = caplog.messages
    assert " GET /healthz 200 " in first
    assert first.endswith(" ms")
    assert " GET /a%0Ab 404 " in second
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("127.9.9.9", True),
     ("0.0.0.0", False), ("::", False), ("192.168.0.2", False), ("my-laptop.local", False)],
)  # fmt: skip
def test_what_is_local(host: str, local: bool) -> None:
    assert ServiceSettings(host=host).is_local is local
