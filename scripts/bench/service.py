"""The service under load, by scripts/load.py: beside the usual way, in time, too much, stopped."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from measure import ROOT, Figure, run_process, say, trained_model


def measure() -> dict[str, list[Figure]]:
    """Return the figures of one run; minutes, in which this machine should do nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        run = trained_model(folder, "service")
        say("service: under load, for some minutes")
        told = run_process(sys.executable, ROOT / "scripts" / "load.py", run, "--json").told
    return {
        "throughput": _throughput(told),
        "in time, and asked too much": _bearing(told),
        "nothing lost, nothing mixed up": _keeping(told),
    }


def _throughput(told: dict[str, Any]) -> list[Figure]:
    ours, large = told["throughput"], told["throughput_200px"]
    usual = {
        form: max(rate for name, rate in told.items() if name.startswith(f"naive_{form}_"))
        for form in ("form", "raw")
    }
    return [
        Figure("`penstroke serve`, PNGs of 28×28", "/s", (ours,)),
        Figure("FastAPI and eager PyTorch, image as the body", "/s", (usual["raw"],)),
        Figure("FastAPI and eager PyTorch, image in a form", "/s", (usual["form"],)),
        Figure("ours to the faster of them", "×", (ours / max(usual.values()),), "≥ 3"),
        Figure("ours to theirs, PNGs of 200×200", "×", (large / told["naive_raw_200px"],)),
        Figure("`uvicorn --workers 2`, a Recognizer each", "/s", (told["fair"],)),
        Figure("ours to it", "×", (ours / told["fair"],)),
        Figure("`penstroke serve`, PNGs of 200×200", "/s", (large,)),
        Figure("`uvicorn --workers 2`, PNGs of 200×200", "/s", (told["fair_200px"],)),
        Figure("ours to it, PNGs of 200×200", "×", (large / told["fair_200px"],)),
    ]


def _bearing(told: dict[str, Any]) -> list[Figure]:
    early, late = told["memory_megabytes_early"], told["memory_megabytes_late"]
    return [
        Figure("p50 at 60 % of the throughput", "ms", (told["p50_milliseconds"],)),
        Figure("p99 at 60 % of the throughput", "ms", (told["p99_milliseconds"],), "≤ 50 ms"),
        Figure("asked three times the throughput: answers 200", "/s", (told["overload_goodput"],)),
        Figure("… answers other than 200, 429 and 503", "", (told["overload_other"],), "0"),
        Figure("… memory, late to early", "×", (late / early,), "flat"),
        Figure("… back to normal after", "s", (told["back_to_normal_seconds"],), "≤ 5 s"),
    ]


def _keeping(told: dict[str, Any]) -> list[Figure]:
    return [
        Figure(f"told to stop under load, {told['stops']} times: lost", "", (told["lost"],), "0"),
        Figure("… ended with another exit code than 0", "",
               (sum(code != 0 for code in told["exit_codes"]),), "0"),
        Figure("images read at once, on average", "", (told["mean_batch"],)),
        Figure(f"{told['images']:,} images so and alone, furthest apart", "",
               (told["furthest"],), "≤ 1e-5"),
    ]  # fmt: skip
