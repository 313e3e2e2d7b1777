"""torchvision's ResNet with basic blocks and narrow stages: small and quick, and of a known family."""

from torch import nn
from torchvision.models import ResNet
from torchvision.models.resnet import BasicBlock


class SlimResNet(ResNet):
    """One basic block a stage, all of `width` channels.

    Args:
        classes: length of the logits.
        width: channels of the stem and of every stage.
    """

    def __init__(self, classes: int, width: int = 8) -> None:
        super().__init__(BasicBlock, [1, 1, 1, 1], num_classes=classes)
        self.inplanes = width
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for number, stride in enumerate((1, 2, 2, 2), start=1):
            setattr(self, f"layer{number}", self._make_layer(BasicBlock, width, 1, stride))
        self.fc = nn.Linear(width, classes)
