"""The configurations in the how-to pages, checked by the programs that read them."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from helpers import drawn_digit, start, wait_until
from serving import png, service, write_model
from transcripts import ROOT, fences

PAGES = sorted((ROOT / "docs/howto").glob("*.md"))


def blocks(language: str) -> Iterator[str]:
    for page in PAGES:
        yield from (text for found, text in fences(page.read_text()) if found == language)


def tool(name: str) -> str:
    if (path := shutil.which(name)) is None:
        pytest.skip(f"no {name} here")
    return path


def test_units_of_systemd(tmp_path: Path) -> None:
    program = tool("systemd-analyze")
    units = {}
    for text in blocks("ini"):
        name = re.match(r"# /etc/systemd/system/(\S+)\n", text)
        assert name, "its first line says where it is kept"
        path = units[name[1]] = tmp_path / name[1]
        # What it starts is not installed here, nor is its user.
        text = re.sub(r"/opt/penstroke/bin/penstroke", "/bin/true", text)
        path.write_text(re.sub(r"^User=.*$", "User=root", text, flags=re.MULTILINE))
    assert len(units) == 3
    found = subprocess.run([program, "verify", *units.values()], capture_output=True, text=True)
    about_ours = [line for line in found.stderr.splitlines() if "penstroke" in line]
    assert about_ours == []
    assert found.returncode == 0, found.stderr


def test_prometheus(tmp_path: Path) -> None:
    program = tool("promtool")
    (text,) = blocks("yaml")
    token, path = tmp_path / "token", tmp_path / "prometheus.yml"
    token.write_text("a-good-token")
    path.write_text(text.replace("/etc/prometheus/penstroke.token", str(token)))
    found = subprocess.run([program, "check", "config", path], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_metrics_are_in_prometheus_format(tmp_path: Path) -> None:
    program = tool("promtool")
    with service(write_model(tmp_path / "model.onnx")) as running:
        text = running.get("/metrics").text
    found = subprocess.run([program, "check", "metrics"], input=text, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr


@contextmanager
def proxied(folder: Path, backend: str) -> Iterator[str]:
    """Run nginx with the page's server block; yield the address that it listens on."""
    (text,) = blocks("nginx")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    certificate, key = folder / "ink.pem", folder / "ink.key"
    subprocess.run(
        [tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=ink.example", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    for known, ours in (
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"), ("http://127.0.0.1:8000", backend),
        ("/etc/ssl/ink.example.pem", str(certificate)), ("/etc/ssl/ink.example.key", str(key)),
    ):  # fmt: skip
        assert known in text
        text = text.replace(known, ours)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    path = folder / "nginx.conf"
    path.write_text(
        f"daemon off; master_process off; user root; pid {folder}/nginx.pid; error_log {folder}/error.log;\nevents {{}}\n"
        f"http {{ access_log off;\n{paths}{text} }}\n"
    )
    words = [tool("nginx"), "-p", folder, "-e", folder / "error.log", "-c", path]
    tested = subprocess.run([*map(str, words), "-t"], capture_output=True, text=True)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr
    process = start(words, stderr=subprocess.DEVNULL)
    yield f"https://127.0.0.1:{port}"
    process.terminate()
    process.wait(timeout=60)


def test_behind_nginx(tmp_path: Path) -> None:
    """As a browser uses it: the page's own origin, a large body, events as they come, the token."""
    tool("nginx")
    model = write_model(tmp_path / "model.onnx")
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    token = {"authorization": "Bearer a-good-token", "host": "ink.example"}
    with (
        service(model, allow_hosts=["ink.example"], token="a-good-token") as running,
        proxied(tmp_path, running.url) as url,
        httpx2.Client(base_url=url, verify=unchecked, timeout=60) as client,
    ):
        wait_until(lambda: _is_listening(int(url.rpartition(":")[2])))
        page = client.get("/", headers={"host": "ink.example"})
        assert page.status_code == 200
        own = {**token, "origin": "https://ink.example", "content-type": "image/png"}
        for origin, status in (("https://ink.example", 200), ("https://evil.example", 403)):
            answer = client.post(
                "/v1/recognize", content=png(drawn_digit()), headers={**own, "origin": origin}
            )
            assert answer.status_code == status, answer.text
        assert client.get("/v1/models", headers={"host": "ink.example"}).status_code == 401
        assert client.get("/v1/models", headers={**token, "host": "other.example"}).status_code == 421
        for size, status in ((7_900_000, 422), (8_500_000, 413)):  # not an image; too large
            answer = client.post("/v1/recognize", content=b"\0" * size, headers=own)
            assert answer.status_code == status, answer.text
        with client.stream("GET", "/v1/runs/events", headers=token) as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            assert next(events.iter_bytes())


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
