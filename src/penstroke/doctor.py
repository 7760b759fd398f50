"""Self-test: whether this machine has what Penstroke needs, and computes correctly."""

from dataclasses import dataclass

from penstroke.config.settings import CNNConfig, Convolution
from penstroke.data.catalogue import catalogue
from penstroke.files import cache_root, check_writable, data_root
from penstroke.inference.bundled import bundled_names
from penstroke.inference.line_reader import load_model
from penstroke.inference.recognizer import Recognizer
from penstroke.machine import allowed_cores, package_versions, processor_name


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    passed: bool
    text: str


def diagnose() -> list[Check]:
    """Run all checks: facts about the machine first, self-tests last."""
    checks = {
        "machine": lambda: f"{processor_name()}, {allowed_cores()} cores",
        "versions": lambda: ", ".join(" ".join(one) for one in package_versions().items()),
        "devices": _devices,
        "data": _data,
        "cache": _cache,
        "bundled models": _models,
        "training arithmetic": _gradient,
        "bfloat16 arithmetic": _bfloat16,
        "export arithmetic": _export,
    }
    results = []
    for name, check in checks.items():
        passed = True
        try:
            text = check()
        except ModuleNotFoundError as error:  # not a failure: recognition needs none of it
            text = f'{error.name} is not installed; training needs pip install "penstroke[train]"'
        except Exception as error:  # a self-test reports all failures, also unknown ones
            passed, text = False, f"{type(error).__name__}: {error}"
        results.append(Check(name, passed, text))
    return results


def _devices() -> str:
    from penstroke.training.device import available_devices

    return ", ".join(available_devices())


def _data() -> str:
    missing = [
        name
        for name, manifest in catalogue().items()
        if not all((data_root() / name / file.name).exists() for file in manifest.files)
    ]
    return str(data_root()) + (f"; not downloaded: {', '.join(missing)}" if missing else "")


def _models() -> str:
    known = {name: load_model(name) for name in bundled_names()}
    return ", ".join(
        f"{name} ({len(model.classes)} classes)"
        if isinstance(model, Recognizer)
        else f"{name} (lines of {len(model.alphabet)} characters)"
        for name, model in known.items()
    )


def _cache() -> str:
    check_writable(cache_root() / "probe")
    return f"{cache_root()}, writable"


def _gradient() -> str:
    """Compare a gradient with a finite difference, in double precision."""
    import torch

    from penstroke.models.blocks import convolution_block

    torch.manual_seed(0)
    block = convolution_block(Convolution(filters=3, padding=1, pool=2), 1, "tanh").double()
    images = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(block, (images,))
    return "gradient equals finite difference"


def _bfloat16() -> str:
    import torch

    torch.manual_seed(0)
    left, right = torch.randn(128, 128), torch.randn(128, 128)
    rough = (left.bfloat16() @ right.bfloat16()).float()
    error = float((rough - left @ right).norm() / (left @ right).norm())
    if error > 0.01:  # 8 bits of mantissa: 2^-8 = 0.4 %
        raise ArithmeticError(f"a product in bfloat16 is {error:.1%} off")
    return f"a product is {error:.2%} off, within the precision of 8 bits"


def _export() -> str:
    import numpy as np
    import torch

    from penstroke.inference.recognizer import Recognizer, model_metadata
    from penstroke.models.build import build_network
    from penstroke.models.onnx_export import export_onnx
    from penstroke.preprocessing.ink import DEFAULT_INK

    network = build_network(CNNConfig(), num_classes=3, mean=0.1, std=0.3).eval()
    recognizer = Recognizer.from_bytes(export_onnx(network, model_metadata("abc", DEFAULT_INK)))
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
    with torch.inference_mode():
        logits = network(torch.from_numpy(images).unsqueeze(1).float() / 255)
    difference = np.abs(recognizer.probabilities(images) - logits.softmax(1).numpy()).max()
    if difference > 1e-5:
        raise ArithmeticError(f"ONNX and torch differ by {difference:.1e}")
    return f"ONNX and torch agree to {difference:.0e}"
