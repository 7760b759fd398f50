"""The machine: processor, cores, versions."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("penstroke", "torch", "numpy", "scikit-learn", "onnx", "onnxruntime")


def allowed_cores() -> int:
    """Return how many processor cores this process may run on."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def allowed_threads() -> int:
    """Return how many threads to compute with: OMP_NUM_THREADS, or one for each allowed core."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(int(limit), allowed_cores()) if limit.isdecimal() and int(limit) else allowed_cores()


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute."""
    return {"python": platform.python_version()} | {p: package_version(p) for p in _PACKAGES}


def package_version(package: str) -> str:
    """Return the version of an installed package, or "absent"."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def processor_name() -> str:
    """Return the processor's name; the platform module knows it on few systems."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")


def machine_facts() -> dict[str, str | int]:
    """Return what is recorded about this machine."""
    system = f"{platform.system()} {platform.machine()}"
    return {"processor": processor_name(), "cores": allowed_cores(), "system": system}
