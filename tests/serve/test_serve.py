"""The command: what it says, what it refuses, and what it does without."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from helpers import Outcome, drawn_digit
from penstroke.serve.service_settings import ServiceSettings
from serving import client, png, write_model

Cli = Callable[..., Outcome]
_NO_TORCH = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "sklearn", "matplotlib", "onnx", "optuna"):
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)

sys.meta_path.insert(0, Refuse())
"""


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
    assert penstroke("serve").exit_code == 2
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


def test_without_its_packages(model: Path) -> None:
    script = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv[0] = 'penstroke'\n"
        "from penstroke.cli.main import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", str(model)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert 'pip install "penstroke[serve]"' in done.stderr


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
