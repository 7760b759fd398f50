"""Device, precision and threads: what `auto` stands for, and how fast a step is with them."""

import contextlib
import ctypes
import functools
import json
import math
import os
import time
from functools import partial

import torch

from penstroke.config.settings import IMAGE_SIZE, Resolved, RunConfig
from penstroke.errors import StorageError, TrainingError
from penstroke.files import cache_root, sha256, write_text_atomically
from penstroke.machine import allowed_threads
from penstroke.models.build import build_network
from penstroke.training.line_step import line_loss, sample_lines
from penstroke.training.step import character_loss, train_step
from penstroke.training.train_state import Optimizer

_WORTHWHILE_RATIO = 1.1
"""bfloat16 is chosen where it is faster by this factor: less is noise on a shared machine."""


def resolve_auto(config: RunConfig) -> RunConfig:
    """Return `config` without `auto`, and set torch's threads; TrainingError: no such device.

    Threads stay 0 where they are measured: see `ThreadChoice`.
    """
    _configure_memory()
    available = available_devices()
    device = available[0] if config.train.device == "auto" else config.train.device
    if device not in available:
        raise TrainingError(
            f'train.device: "{device}" is not available; this machine has {", ".join(available)}'
        )
    threads, most = config.train.threads, allowed_threads()
    if not threads and (most == 1 or device != "cpu"):
        threads = most
    elif not threads and config.synthesis:  # composing lines takes as long as a step
        threads = max(1, most // 2)
    torch.set_num_threads(threads[0] if isinstance(threads, tuple) else threads or most)
    precision: str = config.train.precision
    if precision == "auto":
        precision = _faster_precision(config, device)
    return Resolved(device=device, precision=precision, threads=threads).applied_to(config)


def available_devices() -> list[str]:
    """Return the devices torch can use here, fastest first."""
    devices = ["cuda"] if torch.cuda.is_available() else []
    devices += ["mps"] if torch.backends.mps.is_available() else []
    return [*devices, "cpu"]


@torch.random.fork_rng()
def seconds_a_step(
    config: RunConfig,
    *,
    num_classes: int = 10,
    steps: int = 2,
    seconds: float = 0.0,
    at_most: float = math.inf,
) -> float:
    """Return the mean seconds of a step of a resolved config.

    Of steps and seconds, `steps` and `seconds` are taken at least; after `at_most` seconds no step
    more.
    """
    train = config.train
    network = build_network(config.model, num_classes=num_classes, mean=0.5, std=0.5)
    network = network.to(train.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = Optimizer(network, train)
    if config.reads_lines:
        sample = sample_lines(train.batch_size, num_classes)
        loss = partial(line_loss, network, sample, train)
    else:
        images = torch.rand(train.batch_size, 1, IMAGE_SIZE, IMAGE_SIZE, device=train.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros(train.batch_size, dtype=torch.int64, device=train.device)
        loss = partial(character_loss, network, images, labels, train)

    def step() -> None:
        taken = loss()
        train_step(taken, optimizer, 1e-4)
        taken.loss.item()  # waits for the device

    step()  # warms up
    taken = 0
    start = now = time.perf_counter()
    while (taken < steps or now - start < seconds) and (not taken or now - start < at_most):
        step()
        taken, now = taken + 1, time.perf_counter()
    return (now - start) / taken


@functools.cache
def _configure_memory() -> None:
    """Let oneDNN keep 64 prepared operations, and glibc all freed blocks for the next step.

    Lines of every width would fill oneDNN's cache, by default of 1,024, which takes half as much
    memory again and is no faster. It reads the limit once, before its first operation.

    Each step frees and allocates the same activations. Returned to the system they come back as
    page faults: at batch size 512 that costs R1's CNN 40 % of its speed (docs/lab.md).
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter in (-3, -1):  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of malloc.h
            mallopt(parameter, 1 << 30)


def _faster_precision(config: RunConfig, device: str) -> str:
    """Return the faster precision for this network; on a processor it is measured once, then kept.

    Kept, because a measurement with another result on another day would change a run's bits; and
    on one thread, which waits for no other.
    """
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    if device == "mps" or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return "float32"
    facts = [config.model.to_dict(), config.train.batch_size, torch.__version__,
             torch.backends.cpu.get_cpu_capability()]  # fmt: skip
    path = cache_root() / "precision" / f"{sha256(json.dumps(facts).encode())[:16]}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        known: str = json.loads(path.read_text())["precision"]
        if known in ("float32", "bfloat16"):
            return known
    seconds = dict.fromkeys(("float32", "bfloat16"), math.inf)
    batch_size = min(config.train.batch_size, 512)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for _ in range(3):  # in turn, and the least of each: other processes come and go
        for name, least in seconds.items():
            timed = config.replace({
                "train.batch_size": batch_size, "train.precision": name, "train.device": "cpu",
            })  # fmt: skip
            seconds[name] = min(least, seconds_a_step(timed, steps=6))
    torch.set_num_threads(threads)
    ratio = seconds["float32"] / seconds["bfloat16"]
    precision = "bfloat16" if ratio >= _WORTHWHILE_RATIO else "float32"
    measured = {"precision": precision, "seconds_a_step": seconds, "for": facts}
    with contextlib.suppress(StorageError):  # then it is measured again next time
        write_text_atomically(path, json.dumps(measured, indent=2) + "\n")
    return precision
