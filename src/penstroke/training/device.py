"""What `auto` comes to on this machine: device, precision and threads."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import json

import torch

from penstroke.config.settings import Resolved, RunConfig
from penstroke.errors import StorageError, TrainingError
from penstroke.files import cache_root, sha256, write_text_atomically
from penstroke.machine import allowed_cores
from penstroke.training.timing import seconds_a_step

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_WORTHWHILE_RATIO = 1.1
"""bfloat16 is taken where it is this much faster: less is within the noise of a shared machine."""


def resolve(config: RunConfig) -> Resolved:
    """Return the device, precision and threads to train with; sets torch's threads to that.

    Raises:
        TrainingError: the device asked for is not there; says which are.
    """
    threads = config.train.threads or allowed_cores()
    torch.set_num_threads(threads)
    device = _device(config.train.device)
    return Resolved(device=device, precision=_precision(config, device, threads), threads=threads)


def apply(config: RunConfig, resolved: Resolved) -> RunConfig:
    """Return `config` with `auto` replaced; sets torch's threads."""
    torch.set_num_threads(resolved.threads)
    keep_freed_memory()
    return config.replace({f"train.{k}": v for k, v in resolved})


@functools.cache
def keep_freed_memory() -> None:
    """Tell glibc to keep freed blocks, however large, for the next step; elsewhere do nothing.

    Each step frees and takes the same activations. Handed back to the system they come back as
    page faults: at batch size 512 that costs R1's CNN 40 % of its speed (docs/lab.md).
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(parameter, 1 << 30)


def available_devices() -> list[str]:
    """Return the devices torch can use here, fastest first."""
    devices = ["cuda"] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return [*devices, "cpu"]


def _device(wanted: str) -> str:
    available = available_devices()
    if wanted == "auto":
        return available[0]
    if wanted not in available:
        raise TrainingError(
            f'train.device: "{wanted}" is not here; this machine has {", ".join(available)}'
        )
    return wanted


def _precision(config: RunConfig, device: str, threads: int) -> str:
    if config.train.precision != "auto":
        return config.train.precision
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device == "mps" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "float32"
    return _measured_precision(config, threads)


def _measured_precision(config: RunConfig, threads: int) -> str:
    """Return the faster precision for this network on this processor; measured once, then kept.

    Kept, because a measurement that fell differently on another day would change a run's bits.
    """
    facts = [config.model.to_dict(), config.train.batch_size, threads, torch.__version__,
             torch.backends.cpu.get_cpu_capability()]  # fmt: skip
    key = sha256(json.dumps(facts).encode())[:16]
    path = cache_root() / "precision" / f"{key}.json"
    try:
        return str(json.loads(path.read_text())["precision"])
    except (OSError, ValueError, KeyError):
        seconds = _time_precisions(config)
    ratio = seconds["float32"] / seconds["bfloat16"]
    precision = "bfloat16" if ratio >= _WORTHWHILE_RATIO else "float32"
    try:
        found = {"precision": precision, "seconds_a_step": seconds, "for": facts}
        write_text_atomically(path, json.dumps(found, indent=2) + "\n")
    except StorageError:
        pass  # measured again next time
    return precision


def _time_precisions(config: RunConfig, rounds: int = 3, steps: int = 6) -> dict[str, float]:
    """Return the least seconds a step in each precision, taken in turn."""
    batch_size = min(config.train.batch_size, 512)
    least: dict[str, float] = {}
    for _ in range(rounds):
        for precision in ("float32", "bfloat16"):
            one = {
                "train.batch_size": batch_size,
                "train.precision": precision,
                "train.device": "cpu",
            }
            seconds = seconds_a_step(config.replace(one), steps=steps)
            least[precision] = min(seconds, least.get(precision, seconds))
    return least
