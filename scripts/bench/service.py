"""The service under load, by scripts/load.py: throughput beside peers, latency, overload, stops."""

from __future__ import annotations

import sys
import tempfile
from typing import Any

from measure import ROOT, Figure, run_process, say, trained_model


def measure() -> dict[str, list[Figure]]:
    """Return the figures of one run; for minutes this machine should do nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        run = trained_model(folder, "service")
        say("service: under load, for some minutes")
        figures = run_process(sys.executable, ROOT / "scripts" / "load.py", run, "--json").told
    return {
        "throughput": _throughput(figures),
        "latency and overload": _latency_and_overload(figures),
        "stops and batches": _stops_and_batches(figures),
    }


def _throughput(figures: dict[str, Any]) -> list[Figure]:
    rows = []
    for suffix, size in (("", "28×28"), ("_200px", "200×200")):
        rate, fair = figures["throughput" + suffix], figures["fair" + suffix]
        naive = figures["naive" + suffix]
        rows += [
            Figure(f"`penstroke serve`, PNGs of {size}", "/s", (rate,)),
            Figure("`uvicorn --workers 2`, one Recognizer each", "/s", (fair,)),
            Figure("FastAPI with eager PyTorch, one process", "/s", (naive,)),
            Figure(f"`penstroke serve` to `uvicorn --workers 2`, {size}", "×", (rate / fair,)),
        ]
    return rows


def _latency_and_overload(figures: dict[str, Any]) -> list[Figure]:
    early, late = figures["memory_megabytes_early"], figures["memory_megabytes_late"]
    return [
        Figure("p50 at 60 % of the throughput", "ms", (figures["p50_milliseconds"],)),
        Figure("p99 at 60 % of the throughput", "ms", (figures["p99_milliseconds"],), "≤ 50 ms"),
        Figure("at three times the throughput: answers 200", "/s", (figures["overload_goodput"],)),
        Figure("… answers other than 200, 429 and 503", "", (figures["overload_other"],), "0"),
        Figure("… memory, late to early", "×", (late / early,), "flat"),
        Figure("… back to normal after", "s", (figures["back_to_normal_seconds"],), "≤ 5 s"),
    ]


def _stops_and_batches(figures: dict[str, Any]) -> list[Figure]:
    return [
        Figure(f"stopped under load, {figures['stops']} times: lost", "", (figures["lost"],), "0"),
        Figure("… exit codes other than 0", "",
               (sum(code != 0 for code in figures["exit_codes"]),), "0"),
        Figure("images in a batch, on average", "", (figures["mean_batch"],)),
        Figure(f"{figures['images']:,} images in batches and alone, furthest apart", "",
               (figures["furthest"],), "≤ 1e-5"),
    ]  # fmt: skip
