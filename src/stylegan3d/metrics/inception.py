"""Inception v3 (Szegedy et al. 2015, arXiv 1512.00567), for weights provided by the user.

Parameters are named as in torchvision, so its state dict loads, as does the one usually used for
FID in PyTorch: the network of 2015 with 1,008 classes, whose average pools exclude the padding and
whose last block uses maximum pooling.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEATURES = 2048
# Classes of the network of 2015.
CLASSES_2015 = 1008

Size = int | tuple[int, int]


class Conv(nn.Module):
    """Convolution, batch norm, ReLU."""

    def __init__(
        self, inputs: int, outputs: int, size: Size, stride: int = 1, padding: Size = 0
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] -> [N, outputs, H', W']"""
        return F.relu(self.bn(self.conv(x)))


class Block(nn.Module):
    """A block of parallel branches; `padded` average pools count the padding."""

    def __init__(self, padded: bool) -> None:
        super().__init__()
        self.padded = padded

    def pool(self, x: Tensor) -> Tensor:
        """3 x 3 average at stride 1."""
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=self.padded)


class A(Block):
    """35 x 35 (figure 5 of the paper)."""

    def __init__(self, inputs: int, pooled: int, padded: bool) -> None:
        super().__init__(padded)
        self.branch1x1 = Conv(inputs, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = Conv(inputs, 48, 1), Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = Conv(inputs, 64, 1)
        self.branch3x3dbl_2 = Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, padding=1)
        self.branch_pool = Conv(inputs, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, 35, 35] -> [N, 224 + pooled, 35, 35]"""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(self.pool(x))], 1)


class B(nn.Module):
    """35 x 35 to 17 x 17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = Conv(288, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(288, 64, 1), Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 288, 35, 35] -> [N, 768, 17, 17]"""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class C(Block):
    """17 x 17 with 7 x 7 in two directions (figure 6)."""

    def __init__(self, middle: int, padded: bool) -> None:
        super().__init__(padded)
        self.branch1x1 = Conv(768, 192, 1)
        self.branch7x7_1 = Conv(768, middle, 1)
        self.branch7x7_2 = Conv(middle, middle, (1, 7), padding=(0, 3))
        self.branch7x7_3 = Conv(middle, 192, (7, 1), padding=(3, 0))
        self.branch7x7dbl_1 = Conv(768, middle, 1)
        self.branch7x7dbl_2 = Conv(middle, middle, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3 = Conv(middle, middle, (1, 7), padding=(0, 3))
        self.branch7x7dbl_4 = Conv(middle, middle, (7, 1), padding=(3, 0))
        self.branch7x7dbl_5 = Conv(middle, 192, (1, 7), padding=(0, 3))
        self.branch_pool = Conv(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 768, 17, 17] -> the same"""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.pool(x))], 1)


class D(nn.Module):
    """17 x 17 to 8 x 8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = Conv(768, 192, 1), Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = Conv(768, 192, 1)
        self.branch7x7x3_2 = Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = Conv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 768, 17, 17] -> [N, 1280, 8, 8]"""
        seven = self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x)))
        three = self.branch3x3_2(self.branch3x3_1(x))
        return torch.cat([three, self.branch7x7x3_4(seven), F.max_pool2d(x, 3, 2)], 1)


class E(Block):
    """8 x 8 (figure 7); `by_maximum` pools by maxima."""

    def __init__(self, inputs: int, padded: bool, by_maximum: bool = False) -> None:
        super().__init__(padded)
        self.by_maximum = by_maximum
        self.branch1x1 = Conv(inputs, 320, 1)
        self.branch3x3_1 = Conv(inputs, 384, 1)
        self.branch3x3_2a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1, self.branch3x3dbl_2 = Conv(inputs, 448, 1), Conv(448, 384, 3, 1, 1)
        self.branch3x3dbl_3a = Conv(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = Conv(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = Conv(inputs, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, 8, 8] -> [N, 2048, 8, 8]"""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.by_maximum else self.pool(x)
        branches = [
            self.branch1x1(x),
            self.branch3x3_2a(three),
            self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double),
            self.branch3x3dbl_3b(double),
            self.branch_pool(pooled),
        ]
        return torch.cat(branches, 1)


class InceptionV3(nn.Module):
    """The network up to its last average pool; `of_2015` for the weights with 1,008 classes."""

    def __init__(self, of_2015: bool) -> None:
        super().__init__()
        padded = not of_2015
        self.Conv2d_1a_3x3 = Conv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = Conv(64, 80, 1), Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c = A(192, 32, padded), A(256, 64, padded)
        self.Mixed_5d, self.Mixed_6a = A(288, 64, padded), B()
        self.Mixed_6b, self.Mixed_6c = C(128, padded), C(160, padded)
        self.Mixed_6d, self.Mixed_6e = C(160, padded), C(192, padded)
        self.Mixed_7a, self.Mixed_7b = D(), E(1280, padded)
        self.Mixed_7c = E(2048, padded, by_maximum=of_2015)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, 299, 299] in [-1, 1] -> [N, 2048]"""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))
        x = self.Mixed_7a(self.Mixed_6e(self.Mixed_6d(x)))
        return self.Mixed_7c(self.Mixed_7b(x)).mean((2, 3))
