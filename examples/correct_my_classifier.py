"""From a folder of photos to a correction for your classifier, a report on what it gives, and an ONNX file.

    python examples/correct_my_classifier.py photos/ --model resnet18 --weights my_resnet18.pth --minutes 10

Run it as a whole, or cell by cell in an editor that knows "# %%". The photos need no labels: some hundreds,
better 1,500, large or of high quality. Ten minutes on two cores are enough to see whether it pays.
"""

# %% What is to be corrected
from __future__ import annotations

import argparse
import sys
from pathlib import Path

import dctafd
from dctafd.analysis.evaluation_figure import plot_evaluation
from dctafd.analysis.export import classifier_metadata, export_classifier

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("photos", type=Path, help="folder of clean photos, without labels")
parser.add_argument("--model", default="resnet18", help="a name of `dctafd models`")
parser.add_argument("--weights", type=Path, help="the classifier's weights, any number of classes")
parser.add_argument("--minutes", type=float, default=10.0, help="time to train")
parser.add_argument(
    "--test", type=Path, help="folder of other photos in class folders, for a test with labels"
)
parser.add_argument("--folder", type=Path, default=Path("correction"), help="where the results go")
options = parser.parse_args()
options.folder.mkdir(exist_ok=True)
backbone = dctafd.load_backbone(options.model, options.weights)

# %% Train, and prove it on photos that were held out
module = options.folder / f"{options.model}_afd.safetensors"
training = dctafd.train(
    options.photos,
    backbone,
    module,
    minutes=options.minutes,
    say=lambda text: print(text, file=sys.stderr),
)
assert training.verdict is not None
print(f"the module {training.verdict}")

# %% The report, quality by quality: agreement with the answer on the uncompressed photo
assert training.evaluation is not None
for row in training.evaluation.rows:
    print(f"quality {row.quality}: {row.direct_top1:.1f} % without, {row.afd_top1:.1f} % with the module")
plot_evaluation(training.evaluation, options.folder / "agreement.png")

# %% With labels, where there are some: accuracy, as a folder of class folders tells it
if options.test is not None:
    found = dctafd.evaluate(options.test, backbone, afd=module, limit=200)
    for row in found.rows:
        interval = f"{row.top1_gain_low:+.1f}..{row.top1_gain_high:+.1f}"
        print(
            f"quality {row.quality}: {row.direct_top1:.1f} % right, {row.top1_gain:+.1f} points ({interval})"
        )

# %% The corrected classifier as an ONNX file, for ONNX Runtime
corrected = dctafd.attach(backbone.module, dctafd.load_afd(module).reparameterize())
target = options.folder / f"{options.model}_corrected.onnx"
export_classifier(corrected, backbone.spec.crop, target, classifier_metadata(backbone))
print(f"wrote {', '.join(sorted(path.name for path in options.folder.iterdir()))} to {options.folder}/")
