"""What JPEG does to coefficients and features: a notebook for researchers, in cells.

    python examples/drift_study.py [FOLDER] [--limit N]

Run it as a whole, or cell by cell in an editor that knows "# %%" (VS Code, Spyder; Jupyter by Jupytext).
FOLDER holds clean photos, as JPEG of high quality or PNG; without it, the drawn examples beside this file are
used. Figures go to `drift-study/`. Needs the extra `plot`.
"""

# %% What is looked at
from __future__ import annotations

import argparse
import io
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

import dctafd

matplotlib.use("Agg")  # figures are saved; take this line out to see them in a notebook
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path, nargs="?", default=HERE, help="clean photos")
parser.add_argument("--limit", type=int, default=5, help="photos to measure")
parser.add_argument("--out", type=Path, default=Path("drift-study"), help="where figures go")
options = parser.parse_args()
options.out.mkdir(exist_ok=True)

# %% [markdown]
# ## 1. What a file says
# The same drawing at quality 90 and at quality 10: the tables say how coarsely each frequency was rounded,
# the coefficients what was left to round.

# %%
clean, coarse = (dctafd.read(HERE / name) for name in ("stop-sign.jpg", "stop-sign-q10.jpg"))
for jpeg in (clean, coarse):
    luma = jpeg.components[0]
    zero = np.mean(luma.coefficients == 0)
    steps = luma.quant_table[0].tolist()
    quality = dctafd.estimate_quality(jpeg).value
    print(f"quality {quality}: first row of steps {steps}, {zero:.0%} of luma is zero")

# %% [markdown]
# ## 2. What the file forgot to say: an earlier compression
# Saved again at quality 85, the coarse file's tables say 85; the gaps in its histograms still say 10.

# %%
twice = io.BytesIO()
Image.open(HERE / "stop-sign-q10.jpg").save(twice, "JPEG", quality=85)
again = dctafd.read(twice.getvalue())
history = dctafd.estimate_history(again)
print(f"tables say {dctafd.estimate_quality(again).value}, coefficients say {history.primary_quality}")

figure, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
for axis, jpeg, title in zip(axes, (clean, again), ("once, at 90", "at 10, then at 85"), strict=True):
    values = jpeg.components[0].coefficients[:, :, 0, 1].ravel()
    axis.hist(values, bins=np.arange(-60.5, 61.5), color="#0072B2")
    axis.set(title=title, xlabel="quantised coefficient (0, 1) of luma", ylabel="blocks", yscale="log")
figure.savefig(options.out / "history.png", dpi=120)

# %% [markdown]
# ## 3. Drift by quality, as in the paper's Fig. 4
# Each photo is resized and cropped as the classifier sees it, and compressed. DA is the angle by which the
# 192 coefficients of a block turn, FA the angle by which the stem's features turn there.

# %%
kinds = (".jpg", ".jpeg", ".png")
found = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in kinds)
photos = [path for path in found if "-q" not in path.stem][: options.limit]
measured = dctafd.measure_drift(photos, "efficientnet_lite0", (10, 25, 50, 60), afd="auto")
figure, axis = plt.subplots(figsize=(5.5, 4), layout="constrained")
for index, quality in enumerate(measured.qualities):
    turned, moved = measured.coefficient_angles[index].ravel(), measured.feature_angles[index].ravel()
    edges = np.quantile(turned, np.linspace(0, 1, 13))
    bins = np.clip(np.searchsorted(edges, turned, "right") - 1, 0, 11)
    filled = [number for number in range(12) if np.any(bins == number)]
    across, up = ([angle[bins == number].mean() for number in filled] for angle in (turned, moved))
    axis.plot(across, up, marker="o", label=f"quality {quality}")
    print(f"quality {quality}: coefficients turn by {turned.mean():.1f}°, features by {moved.mean():.1f}°")
axis.set(xlabel="DA: angle of coefficients, degrees", ylabel="FA: angle of features, degrees")
axis.legend(frameon=False)
figure.savefig(options.out / "drift-by-quality.png", dpi=120)

# %% [markdown]
# ## 4. The Feature Drifting Map of a photo
# What FDE-Net predicts from coefficients and steps alone, beside what the features really do.

# %%
classifier = dctafd.load_classifier("efficientnet_lite0")
predicted = classifier.drift_map(HERE / "stop-sign-q10.jpg")
figure, axes = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
axes[0].imshow(dctafd.decode(coarse))
axes[0].set_title("quality 10")
drawn = axes[1].imshow(predicted)
axes[1].set_title("predicted drift, cell by cell under the crop")
figure.colorbar(drawn, shrink=0.8)
figure.savefig(options.out / "drift-map.png", dpi=120)

assert measured.predicted_drift is not None
pairs = measured.predicted_drift.ravel(), measured.measured_drift.ravel()
print(f"correlation of predicted and measured drift over all blocks: {np.corrcoef(*pairs)[0, 1]:.2f}")
print(f"figures are in {options.out}/")
