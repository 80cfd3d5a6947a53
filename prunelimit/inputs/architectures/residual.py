"""Residual networks with CIFAR-style stems (He et al. 2016).

The 6n+2-layer ones (20, 32) have shortcuts without parameters and the parameter names of the
public CIFAR-10 checkpoints; the wide ones (18, 50) follow torchvision's names.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["NarrowResNet", "WideStemResNet"]


class _NarrowBlock(nn.Module):
    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride = stride
        self.extra = width - channels

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = functional.relu(self.bn1(self.conv1(inputs)))
        hidden = self.bn2(self.conv2(hidden))
        if self.extra:
            # Option A: every second pixel, zeros for the new channels.
            half = self.extra // 2
            inputs = functional.pad(
                inputs[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, half, half)
            )
        return functional.relu(hidden + inputs)


class NarrowResNet(nn.Module):
    """ResNet with 6 ``blocks`` + 2 layers: 16, 32 and 64 channels."""

    def __init__(self, blocks: int, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(input_shape[0], 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, blocks, 1)
        self.layer2 = self._stage(16, 32, blocks, 2)
        self.layer3 = self._stage(32, 64, blocks, 2)
        self.linear = nn.Linear(64, classes)

    @staticmethod
    def _stage(channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
        rest = [_NarrowBlock(width, width, 1) for _ in range(blocks - 1)]
        return nn.Sequential(_NarrowBlock(channels, width, stride), *rest)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, channels, height, width)."""
        hidden = functional.relu(self.bn1(self.conv1(inputs)))
        hidden = self.layer3(self.layer2(self.layer1(hidden)))
        logits: Tensor = self.linear(hidden.mean(dim=(2, 3)))
        return logits


class WideStemResNet(nn.Module):
    """torchvision's ResNet-18 or -50 with a 3x3 stem of stride 1 and no max-pooling."""

    def __init__(self, depth: int, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        from torchvision.models import resnet

        build = {18: resnet.resnet18, 50: resnet.resnet50}[depth]
        network = build(num_classes=classes)
        self.conv1 = nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False)
        self.bn1 = network.bn1
        self.layer1, self.layer2 = network.layer1, network.layer2
        self.layer3, self.layer4 = network.layer3, network.layer4
        self.fc = network.fc

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (n, classes) of images (n, channels, height, width)."""
        hidden = functional.relu(self.bn1(self.conv1(inputs)))
        hidden = self.layer4(self.layer3(self.layer2(self.layer1(hidden))))
        logits: Tensor = self.fc(hidden.mean(dim=(2, 3)))
        return logits
