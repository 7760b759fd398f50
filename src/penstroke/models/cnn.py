"""Convolution blocks, dense blocks, output layer."""

from torch import Tensor, nn

from penstroke.config.settings import IMAGE_SIZE, CNNConfig
from penstroke.models.blocks import Flatten, Normalize, convolution_block, dense_block


class CNN(nn.Module):
    """A convolutional network; what each block does stands in its config."""

    def __init__(self, config: CNNConfig, *, num_classes: int, mean: float, std: float) -> None:
        super().__init__()
        self.normalize = Normalize(mean=mean, std=std)
        self.convolutions = nn.Sequential()
        channels, size = 1, IMAGE_SIZE
        for convolution in config.convolutions:
            self.convolutions.append(convolution_block(convolution, channels, config.activation))
            channels, size = convolution.filters, convolution.output_size(size)
        self.dense = nn.Sequential(Flatten())
        features = channels * size * size
        for dense in config.dense:
            self.dense.append(dense_block(dense, features, config.activation))
            features = dense.units
        self.output = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) float32 in 0..1 to logits (B, K)."""
        logits: Tensor = self.output(self.dense(self.convolutions(self.normalize(images))))
        return logits
