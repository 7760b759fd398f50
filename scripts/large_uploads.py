"""Measures a service with photos of 25 megapixels: `python scripts/large_uploads.py RUN`.

Each format as it comes: JPEG and WebP as from a phone, with noise; PNG as from a scanner, without,
since with noise it is over 8 MB. One worker; median of 5, after one to warm up.
"""

import io
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from serving import Running, service

SIDE = 5000
LATENCY_SECONDS = 0.05


def photo(noise: float) -> Image.Image:
    """Return a 7 on paper under uneven light, (5000, 5000) RGB."""
    random = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32)
    light = np.linspace(180, 230, SIDE, dtype=np.float32)[:, None] + noise * random
    image = Image.fromarray(light.clip(0, 255).astype(np.uint8)).convert("RGB")
    points = [(1500, 1250), (3500, 1250), (2250, 4000)]
    ImageDraw.Draw(image).line(points, fill=(30, 30, 60), width=SIDE // 12, joint="curve")
    return image


def main() -> None:
    """Print a table: format, megabytes, milliseconds of an answer and of others meanwhile."""
    noisy, clean = photo(6), photo(0)
    uploads = {}
    for kind, image, how in (
        ("jpeg", noisy, {"quality": 85}), ("webp", noisy, {"quality": 80}), ("png", clean, {}),
    ):  # fmt: skip
        image.save(stream := io.BytesIO(), kind, **how)
        uploads[kind] = stream.getvalue()
    clean.resize((200, 200)).save(stream := io.BytesIO(), "png")
    small = stream.getvalue()
    print(f"{'format':8}{'MB':>6}{'ms':>8}{'ms of a small image meanwhile':>32}")
    with service(sys.argv[1]) as running, ThreadPoolExecutor() as pool:
        for kind, content in uploads.items():
            seconds, others = [], []
            for _ in range(6):
                large = pool.submit(timed, running, content, kind)
                time.sleep(LATENCY_SECONDS)  # the worker has it
                others.append(timed(running, small, "png"))
                seconds.append(large.result())
            print(f"{kind:8}{len(content) / 1e6:6.1f}{1000 * statistics.median(seconds[1:]):8.0f}"
                  f"{1000 * statistics.median(others[1:]):32.0f}")  # fmt: skip


def timed(running: Running, content: bytes, kind: str) -> float:
    """Return the seconds until an image is answered."""
    headers, started = {"content-type": f"image/{kind}"}, time.perf_counter()
    answer = httpx2.post(
        f"{running.url}/v1/recognize", content=content, headers=headers, timeout=60
    )
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
