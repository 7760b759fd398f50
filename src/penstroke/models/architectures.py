"""The four architectures: what follows the normalised pixels, as named parts in order."""

from torch import nn

from penstroke.config.settings import (
    IMAGE_SIZE,
    CNNConfig,
    Convolution,
    CRNNConfig,
    MLPConfig,
    ResNetConfig,
)
from penstroke.models.blocks import (
    ACTIVATIONS,
    Columns,
    Dropout,
    Flatten,
    Residual,
    convolution_block,
    dense_block,
)

Parts = dict[str, nn.Module]


def mlp(config: MLPConfig, num_classes: int) -> Parts:
    """Return flatten, dense blocks, output layer."""
    return _dense_parts(config, nn.Flatten(), IMAGE_SIZE * IMAGE_SIZE, num_classes)


def cnn(config: CNNConfig, num_classes: int) -> Parts:
    """Return convolution blocks, dense blocks, output layer."""
    convolutions = nn.Sequential()
    channels, size = 1, IMAGE_SIZE
    for block in config.convolutions:
        convolutions.append(convolution_block(block, channels, config.activation))
        channels, size = block.filters, block.output_size(size)
    dense = _dense_parts(config, Flatten(), channels * size * size, num_classes)
    return {"convolutions": convolutions, **dense}


def resnet(config: ResNetConfig, num_classes: int) -> Parts:
    """Return stages of residual blocks, head, output layer."""
    stages, head = nn.Sequential(), nn.Sequential()
    channels, size = 1, config.output_size
    for stage in config.stages:
        entry = Convolution(filters=stage.filters, padding=1, batch_norm=True, pool=stage.pool)
        blocks = nn.Sequential(convolution_block(entry, channels, config.activation))
        for _ in range(stage.residual_blocks):
            blocks.append(Residual(stage.filters, config.activation))
        if stage.dropout:
            blocks.append(nn.Dropout2d(stage.dropout))
        stages.append(blocks)
        channels = stage.filters
    if config.head != "flatten":
        head.append((nn.AvgPool2d if config.head == "average" else nn.MaxPool2d)(size))
        size = 1
    head.append(Flatten())
    if config.dropout:
        head.append(Dropout(config.dropout))
    return {"stages": stages, "head": head, "output": nn.Linear(channels * size**2, num_classes)}


def crnn(config: CRNNConfig, num_classes: int) -> Parts:
    """Return convolutions, columns, output layer: strips (B, 1, 32, W) → (B, W/4, classes)."""
    first, second, third, fourth, fifth, last = config.filters
    activation = ACTIVATIONS[config.activation]
    blocks = (
        (first, (5, 5), (2, 2), None),  # pixels are many: by steps of two, twice as fast in all
        (second, (3, 3), (1, 1), (2, 2)),
        (third, (3, 3), (1, 1), None),
        (fourth, (3, 3), (1, 1), (2, 1)),
        (fifth, (3, 3), (1, 1), (2, 1)),
        (last, (2, 3), (0, 1), None),  # of the 32 rows, one is left
        (last, (1, config.context), (0, config.context // 2), None),
    )
    convolutions, channels = nn.Sequential(), 1
    for filters, kernel, padding, pool in blocks:
        stride = 1 if convolutions else 2
        convolutions.append(nn.Conv2d(channels, filters, kernel, stride, padding, bias=False))
        convolutions.append(nn.BatchNorm2d(filters))
        if pool:
            convolutions.append(nn.MaxPool2d(pool))
        convolutions.append(activation())
        channels = filters
    head = nn.Sequential(Columns())
    if config.dropout:
        head.append(Dropout(config.dropout))
    output = nn.Linear(channels, num_classes)
    return {"convolutions": convolutions, "head": head, "output": output}


def _dense_parts(
    config: MLPConfig | CNNConfig, flatten: nn.Module, features: int, num_classes: int
) -> Parts:
    dense = nn.Sequential(flatten)
    for block in config.dense:
        dense.append(dense_block(block, features, config.activation))
        features = block.units
    return {"dense": dense, "output": nn.Linear(features, num_classes)}
