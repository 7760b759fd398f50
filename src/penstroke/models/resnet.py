"""Stages of residual blocks: deeper, for when accuracy is worth minutes."""

from torch import Tensor, nn

from penstroke.config.settings import Activation, Convolution, ResNetConfig
from penstroke.models.blocks import ACTIVATIONS, Dropout, Flatten, Normalize, convolution_block


class Residual(nn.Module):
    """x + f(x), f two convolutions; the second starts at zero, so that the block starts as nothing.

    (Zero-initialised last batch norm: Goyal et al. 2017, section 5.1.)
    """

    def __init__(self, filters: int, activation: Activation) -> None:
        super().__init__()
        self.first = convolution_block(_same(filters), filters, activation)
        self.second = nn.Conv2d(filters, filters, 3, padding=1)
        self.batch_norm = nn.BatchNorm2d(filters)
        nn.init.zeros_(self.batch_norm.weight)
        self.activation = ACTIVATIONS[activation]()

    def forward(self, features: Tensor) -> Tensor:
        """Map features (B, C, H, W) to the same shape."""
        changed = self.batch_norm(self.second(self.first(features)))
        result: Tensor = self.activation(features + changed)
        return result


class ResNet(nn.Module):
    """Stages, head, output layer."""

    def __init__(self, config: ResNetConfig, *, num_classes: int, mean: float, std: float) -> None:
        super().__init__()
        self.normalize = Normalize(mean=mean, std=std)
        self.stages = nn.Sequential()
        channels = 1
        for stage in config.stages:
            entry = _same(stage.filters, pool=stage.pool)
            blocks = nn.Sequential(convolution_block(entry, channels, config.activation))
            for _ in range(stage.residual_blocks):
                blocks.append(Residual(stage.filters, config.activation))
            if stage.dropout:
                blocks.append(nn.Dropout2d(stage.dropout))
            self.stages.append(blocks)
            channels = stage.filters
        size = config.output_size
        self.head = nn.Sequential()
        if config.head != "flatten":
            pool = nn.AvgPool2d if config.head == "average" else nn.MaxPool2d
            self.head.append(pool(size))
            size = 1
        self.head.append(Flatten())
        if config.dropout:
            self.head.append(Dropout(config.dropout))
        self.output = nn.Linear(channels * size * size, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) float32 in 0..1 to logits (B, K)."""
        logits: Tensor = self.output(self.head(self.stages(self.normalize(images))))
        return logits


def _same(filters: int, pool: int = 1) -> Convolution:
    """Return a 3×3 block with batch norm that keeps the size, but for its pooling."""
    return Convolution(filters=filters, kernel=3, padding=1, batch_norm=True, pool=pool)
