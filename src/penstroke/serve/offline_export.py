"""The drawing page as a folder of static files that recognise in the browser, without a service."""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from penstroke.errors import MissingToolError, StorageError
from penstroke.files import explained, write_atomically
from penstroke.inference.recognizer import Recognizer
from penstroke.serve.page_files import page_files

RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_SHA512 = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)
"""Of its package, in base64, as the index of npm publishes it."""
_RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")

_PAGE_ONLY = {"runs.css", "runs.html", "runs.js", "runs_list.js", "chart.js", "compare.js"}
"""Of the other page, which lists runs."""


def export_web(model: Path, folder: Path, runtime: Path | None = None) -> int:
    """Write page, model and ONNX Runtime Web into `folder`; return their size in bytes.

    `model` is a model.onnx, or a run directory that holds one; `runtime` the package of ONNX
    Runtime Web as npm packs it (.tgz), which `npm` fetches if it is None.

    Raises:
        ModelFileError: the model cannot be used.
        MissingToolError: there is no `npm`, or it cannot fetch.
        StorageError: the package is another than the pinned one, or nothing can be written.
    """
    recognizer = Recognizer.load(model)
    path = model / "model.onnx" if model.is_dir() else model
    about = {"name": recognizer.metadata.get("run", model.stem), "metadata": recognizer.metadata}
    files = {
        **_page_files(),
        **_runtime_files(runtime),
        "model.onnx": path.read_bytes(),
        "model.json": json.dumps(about, ensure_ascii=False).encode(),
    }
    with explained(f"write {folder}", StorageError):
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / name, content)
    return sum(map(len, files.values()))


def _page_files() -> dict[str, bytes]:
    """Return the page of the service, with the offline files in the place of what asks it."""
    files = {
        f"static/{name}": content
        for name, content in page_files("static", "offline").items()
        if name not in _PAGE_ONLY
    }
    page, head = files.pop("static/index.html"), files.pop("static/head.html")
    files["index.html"] = page.replace(b"</head>", head + b"</head>", 1)
    files["README.txt"] = files.pop("static/README.txt")
    return files


def _runtime_files(package: Path | None) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        package = package or _fetched(Path(folder))
        with explained(f"read {package}", StorageError):
            content = package.read_bytes()
        digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
        if digest != RUNTIME_SHA512:
            raise StorageError(f"{package} is not {RUNTIME}: its SHA-512 is another")
        with tarfile.open(package) as archive:
            files = {}
            for name in _RUNTIME_FILES:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None  # the checksum says so
                files[f"static/{name}"] = member.read()
            return files


def _fetched(folder: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise MissingToolError(
            f"npm is not installed: it fetches {RUNTIME}, which recognises in the browser. Install "
            f"Node.js, or fetch that package elsewhere and name the file with --runtime"
        )
    command = [npm, "pack", RUNTIME, "--silent", "--pack-destination", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise MissingToolError(f"npm cannot fetch {RUNTIME}: {done.stderr.strip()[-300:]}")
    return next(folder.glob("*.tgz"))
