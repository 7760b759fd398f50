"""Makes the models that ship with Penstroke, in the package.

    python scripts/make_models.py [segmenter] [data] [MODEL ...] [OPTIONS]

`segmenter` trains the network that finds a character's ink in a photo
(`penstroke.preprocessing.segmentation`), on the characters of MNIST's and EMNIST's training images
on synthetic paper, within an hour on one core. `data` makes what the recognisers are trained on
(`bundled_data.py`), in minutes; their settings are in `scripts/bundled`. `digits`, `letters` and
`characters` take up to ten minutes each, `numbers`, which reads lines, half an hour. The images of
--external are evaluated for the model cards. The same command on the same machine writes the same
bytes; a training that was stopped resumes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from torch import Tensor, nn

from bundled_data import WORK, make_digits, make_letters
from penstroke import Run, load_dataset
from penstroke.files import write_atomically, write_text_atomically
from penstroke.inference.bundled import BUNDLED
from penstroke.inference.line_reader import load_model
from penstroke.inference.onnx_session import CHECKSUM
from penstroke.models.ink_segmenter import InkSegmenter
from penstroke.models.onnx_export import export_line_onnx, export_onnx, serialize_onnx
from penstroke.preprocessing.segmentation import SIDE
from penstroke.reports.model_card import write_card
from penstroke.runs.trained import load_network
from penstroke.training.checkpoint import MODEL_PREFIX, Checkpoint, compressed
from penstroke.training.synthetic_paper import Photos, photograph

_SEGMENTER = Path("src/penstroke/preprocessing/ink_segmenter.onnx")
_BATCH = 64
_LEARNING_RATE = 4e-3
_SAVED_EVERY = 100
MODELS = ("digits", "letters", "characters", "numbers")
_ALIKE = {"digits": "OIlSZBqgb", "letters": "0125689"}
"""Characters of other classes that cannot be told from those of the model."""
_LICENCE = """

## Licence

MIT, as Penstroke itself. Trained on MNIST (LeCun, Cortes and Burges; CC BY-SA 3.0; from NIST's
Special Databases 1 and 3), on EMNIST (Cohen, Afshar, Tapson and van Schaik 2017; from NIST's
Special Database 19, a work of the US government), and on digits drawn by a program; on nothing
else. MNIST's test images of which EMNIST holds a copy were left out of the training; other
characters by the writers of MNIST's test images are among EMNIST's.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", help=f"segmenter, data, {', '.join(MODELS)}; or all")
    parser.add_argument("--digits", default="emnist-digits", help="EMNIST Digits, or a part of it")
    parser.add_argument("--letters", default="emnist-letters", help="EMNIST Letters, or a part")
    parser.add_argument("--seeds", type=int, default=1, help="runs; that of seed 0 is bundled")
    parser.add_argument("--steps", type=int, default=9000, help="of the segmenter")
    parser.add_argument("--external", nargs="+", default=[], help="images for the model card")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the same sums everywhere
    WORK.mkdir(parents=True, exist_ok=True)
    chosen = options.models or ["segmenter", "data", *MODELS]
    if "segmenter" in chosen:
        make_segmenter(["mnist", options.letters], options.steps)
    if "data" in chosen:
        make_digits(options.digits)
        make_letters(options.letters)
    for name in MODELS:
        if name in chosen:
            make_model(name, options.external, options.seeds)


def make_segmenter(data: list[str], steps: int) -> None:
    glyphs = [torch.from_numpy(load_dataset(name).train.images) for name in data]
    segmenter = train(torch.cat(glyphs), steps)
    content = serialize_onnx(
        Probabilities(segmenter), torch.zeros(2, 1, SIDE, SIDE), ("photos", "ink"),
        {"data": data, "steps": steps}, compress=True,
    )  # fmt: skip
    write_atomically(_SEGMENTER, content)
    print(f"{_SEGMENTER}: {len(content) / 1000:.0f} kB")


def make_model(name: str, external: list[str], seeds: int) -> None:
    """Train the model `name` once for each seed, evaluate it, and bundle the run of the first."""
    for seed in range(seeds):
        run = f"bundled-{name}-seed{seed}"
        penstroke("train", f"scripts/bundled/{name}.toml", "--name", run, "--no-report",
                  "--set", f"train.seed={seed}")  # fmt: skip
        for source in external:
            alike = ["--except", _ALIKE[name]] if name in _ALIKE else []
            penstroke("evaluate", run, "--external", source, *alike)
    bundle(Run.open(WORK / f"runs/bundled-{name}-seed0"), name)


def penstroke(*words: str) -> None:
    environment = {**os.environ, "PENSTROKE_RUNS": str(WORK / "runs")}
    subprocess.run([sys.executable, "-m", "penstroke", *words], check=True, env=environment)


def bundle(run: Run, name: str) -> None:
    """Copy what recognition, fine-tuning and the model card need into the package."""
    folder = BUNDLED / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for file in ("run.toml", "history.jsonl", "summary.json"):
        shutil.copyfile(run.path / file, folder / file)
    model = run.model()
    small = {MODEL_PREFIX + key: array for key, array in compressed(model.weights).items()}
    write_atomically(folder / "model.safetensors", Checkpoint(small, model.facts).to_bytes())
    if (run.path / "external").exists():
        shutil.copytree(run.path / "external", folder / "external")
    metadata = {
        key: value for key, value in load_model(run.path).metadata.items() if key != CHECKSUM
    }
    export = export_line_onnx if run.record.config.reads_lines else export_onnx
    content = export(load_network(run), {**metadata, "run": name}, compress=True)
    write_atomically(folder / "model.onnx", content)
    write_text_atomically(folder / "card.md", write_card(Run.open(folder)) + _LICENCE)
    sizes = {file.name: file.stat().st_size for file in sorted(folder.glob("*.*"))}
    print(json.dumps({name: sizes}))


class Probabilities(nn.Module):
    """A segmenter with the sigmoid that makes its logits coverage in 0..1."""

    def __init__(self, segmenter: InkSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, photos: Tensor) -> Tensor:
        """Map photos (B, 1, S, S) to the ink in 0..1 of each pixel."""
        ink: Tensor = self.segmenter(photos).sigmoid()
        return ink


def train(glyphs: Tensor, steps: int) -> InkSegmenter:
    """Return a segmenter trained on photos of `glyphs` (N, 28, 28) uint8 by AdamW, in one cycle."""
    checkpoint = WORK / "ink_segmenter.pt"
    torch.manual_seed(0)
    segmenter = InkSegmenter()
    segmenter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(segmenter.parameters(), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, _LEARNING_RATE, total_steps=steps, pct_start=0.1
    )
    parts: dict[str, Any] = {"segmenter": segmenter, "optimizer": optimizer, "schedule": schedule}
    done, mean_loss = 0, 0.0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        if saved["steps"] == steps:
            for name, part in parts.items():
                part.load_state_dict(saved[name])
            torch.set_rng_state(saved["random"])
            done, mean_loss = saved["done"], saved["loss"]
    for step in range(done + 1, steps + 1):
        chosen = torch.randint(len(glyphs), (3 * _BATCH,))
        photos = photograph(glyphs[chosen].float() / 255)
        with torch.autocast("cpu", torch.bfloat16):
            logits = segmenter(photos.images.contiguous(memory_format=torch.channels_last))
        loss = loss_of(logits.float(), photos)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        mean_loss += 0.01 * (float(loss.detach()) - mean_loss)
        if step % _SAVED_EVERY == 0 or step == steps:
            print(f"step {step}/{steps}  loss {mean_loss:.4f}", flush=True)
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"random": torch.get_rng_state(), "steps": steps, "done": step,
                      "loss": mean_loss}  # fmt: skip
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
    return segmenter


def loss_of(logits: Tensor, photos: Photos) -> Tensor:
    """Return cross-entropy, and half of the Dice loss (Milletari et al. 2016), in the windows."""
    window = photos.window
    entropies = F.binary_cross_entropy_with_logits(logits, photos.ink, reduction="none") * window
    ink = logits.sigmoid() * window
    # Eight pixels more each: a blank photo has no loss where nothing is found.
    common = 2 * (ink * photos.ink).sum((1, 2, 3)) + 8
    dice = 1 - common / ((ink**2).sum((1, 2, 3)) + (photos.ink**2).sum((1, 2, 3)) + 8)
    return entropies.sum() / window.sum() + 0.5 * dice.mean()


if __name__ == "__main__":
    main()
