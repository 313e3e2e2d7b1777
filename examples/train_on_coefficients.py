"""Train a small network on DCT coefficients themselves: no pixels, no inverse DCT.

    python examples/train_on_coefficients.py FOLDER [--minutes 1]

FOLDER holds a folder of JPEG photos for each class. The network reads the dequantised coefficients of the
blocks under a 224-pixel crop (192 maps of 28x28, what `dctafd.prepare` gives as `coefficients`): what an 8x8
block holds, convolutions on pixels would have to find first. Every eighth photo is held out.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

import dctafd


class CoefficientNet(nn.Module):
    """From coefficients (B, 192, 28, 28) to logits (B, classes)."""

    def __init__(self, classes: int, width: int = 96) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(192, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(2 * width, classes),
        )

    def forward(self, coefficients: Tensor) -> Tensor:
        """Return logits; coefficients are compressed first, since they reach over four decades."""
        return self.layers(coefficients.sign() * coefficients.abs().mul(0.125).log1p())


def coefficients_of(photo: dctafd.ModelInput) -> Tensor:
    """Keep of a model input what the network reads, and mirror every other photo."""
    coefficients = torch.from_numpy(photo.coefficients).float()
    if torch.rand(()) < 0.5:  # mirrored pixels: mirrored blocks whose odd horizontal frequencies change sign
        signs = torch.tensor([1.0, -1.0]).repeat(96)[:, None, None]
        coefficients = coefficients.flip(2) * signs
    return coefficients


def main() -> None:
    """Train and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", help="a folder of JPEG photos for each class")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    dataset = dctafd.JpegDataset(options.folder, transform=coefficients_of, skip_damaged=True)
    held_out = set(range(0, len(dataset), 8))
    training = Subset(dataset, [index for index in range(len(dataset)) if index not in held_out])
    shared = {
        "batch_size": 32,
        "collate_fn": dataset.collate,
        "num_workers": options.workers,
        "persistent_workers": options.workers > 0,
    }
    loader = DataLoader(training, shuffle=True, **shared)
    network = CoefficientNet(len(dataset.classes))
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=1e-2)
    dataset[0]  # the kernels are compiled here, or read from their cache, before the clock starts
    ends = time.monotonic() + 60 * options.minutes
    print(f"{len(training)} photos of {len(dataset.classes)} classes, {len(held_out)} held out")
    seen = 0
    while time.monotonic() < ends:
        for batch in loader:
            loss = nn.functional.cross_entropy(network(batch.photos), batch.labels, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(batch.labels)
            if time.monotonic() > ends:
                break
    network.eval()
    right = 0
    with torch.inference_mode():
        for batch in DataLoader(Subset(dataset, sorted(held_out)), **shared):
            right += int((network(batch.photos).argmax(1) == batch.labels).sum())
    share = 100 * right / len(held_out)
    print(f"{seen} views, loss {float(loss.detach()):.2f}: {share:.0f} % of the held-out photos right")


if __name__ == "__main__":
    main()
