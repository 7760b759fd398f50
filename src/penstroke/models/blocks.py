"""The named blocks that all architectures share."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from penstroke.config.settings import Activation, Convolution, Dense

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_MONOTONE: frozenset[Activation] = frozenset({"relu", "leaky_relu", "elu", "tanh", "sigmoid"})


class Normalize(nn.Module):
    """Scales pixels in 0..1 to mean 0 and standard deviation 1, which are kept as buffers."""

    def __init__(self, *, mean: float, std: float) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.tensor(mean))
        self.std = nn.Buffer(torch.tensor(std))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) float32 in 0..1 to the same shape."""
        return (images - self.mean) / self.std


class Flatten(nn.Module):
    """Features (B, C, H, W) to (B, H·W·C), the order of channels-last features in memory.

    Nothing is copied, and gradients come back in the order of their features; another order slows
    down every layer before.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, H·W·C)."""
        return features.permute(0, 2, 3, 1).flatten(1)


class Columns(nn.Module):
    """Features (B, C, 1, T) of a strip to one row a column, (B, T, C)."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, C, 1, T) to (B, T, C)."""
        return features.squeeze(2).transpose(1, 2)


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) by 16 random bits a feature, four from each draw.

    On a processor `nn.Dropout` draws one by one, which takes an eighth of a step (docs/lab.md).
    The probability is rounded to 1/65536.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, features: Tensor) -> Tensor:
        """Map features to the same shape; those kept are multiplied by 1 / (1 - probability)."""
        if not self.training:
            return features
        words = torch.empty(-(-features.numel() // 4), dtype=torch.int64, device=features.device)
        bits = words.random_(-(2**63), None).view(torch.int16)[: features.numel()]
        kept = bits >= min(round(self.probability * 2**16), 2**16 - 1) - 2**15
        mask = kept.as_strided(features.shape, features.stride()).to(features.dtype)
        return features * mask.mul_(1 / (1 - self.probability))

    def extra_repr(self) -> str:
        """Return what `print` shows of it."""
        return f"probability={self.probability}"


class Residual(nn.Module):
    """x + f(x), f two convolutions; f starts at zero (as in Goyal et al. 2017, section 5.1)."""

    def __init__(self, filters: int, activation: Activation) -> None:
        super().__init__()
        first = Convolution(filters=filters, padding=1, batch_norm=True)
        self.first = convolution_block(first, filters, activation)
        self.second = nn.Conv2d(filters, filters, 3, padding=1)
        self.batch_norm = nn.BatchNorm2d(filters)
        nn.init.zeros_(self.batch_norm.weight)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        changed = self.batch_norm(self.second(self.first(features)))
        result: Tensor = self.activation(features + changed)
        return result


def convolution_block(config: Convolution, channels: int, activation: Activation) -> nn.Sequential:
    """Return convolution → batch norm → activation → pooling → dropout.

    Max pooling and a monotone activation commute, so pooling comes first there: the same numbers
    from a quarter of the activations.
    """
    filters, kind = config.filters, nn.MaxPool2d if config.pooling == "max" else nn.AvgPool2d
    middle = {
        "pool": kind(config.pool) if config.pool > 1 else None,
        "activation": ACTIVATIONS[activation](),
    }
    if config.pooling != "max" or activation not in _MONOTONE:
        middle = dict(reversed(middle.items()))
    return _sequence(
        convolution=nn.Conv2d(channels, filters, config.kernel, config.stride, config.padding),
        batch_norm=nn.BatchNorm2d(filters) if config.batch_norm else None,
        **middle,
        dropout=Dropout(config.dropout) if config.dropout else None,
    )


def dense_block(config: Dense, features: int, activation: Activation) -> nn.Sequential:
    """Return linear → batch norm → activation → dropout."""
    return _sequence(
        linear=nn.Linear(features, config.units),
        batch_norm=nn.BatchNorm1d(config.units) if config.batch_norm else None,
        activation=ACTIVATIONS[activation](),
        dropout=Dropout(config.dropout) if config.dropout else None,
    )


def _sequence(**layers: nn.Module | None) -> nn.Sequential:
    """Return those of the layers that there are, by their names."""
    return nn.Sequential(OrderedDict((k, one) for k, one in layers.items() if one is not None))
