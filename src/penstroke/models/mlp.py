"""A fully connected network over the pixels."""

from torch import Tensor, nn

from penstroke.config.settings import IMAGE_SIZE, MLPConfig
from penstroke.models.blocks import Normalize, dense_block


class MLP(nn.Module):
    """Flatten, dense blocks, output layer."""

    def __init__(self, config: MLPConfig, *, num_classes: int, mean: float, std: float) -> None:
        super().__init__()
        self.normalize = Normalize(mean=mean, std=std)
        self.dense = nn.Sequential(nn.Flatten())
        features = IMAGE_SIZE * IMAGE_SIZE
        for block in config.dense:
            self.dense.append(dense_block(block, features, config.activation))
            features = block.units
        self.output = nn.Linear(features, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1, 28, 28) float32 in 0..1 to logits (B, K)."""
        logits: Tensor = self.output(self.dense(self.normalize(images)))
        return logits
