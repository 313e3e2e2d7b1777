"""Which AFD-Modules ship with dctafd, and what each is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = REPOSITORY.parent / "shared"
RUN = REPOSITORY / "runs" / "shipped"
PROTOCOLS = ("single", "imagenet-c", "native", "repeated")
QUALITIES = (7, 10, 15, 18, 25, 90)

_EVERY_TRAINING = ("--ema-decay", "0.997", "--held-out", "48", "--validate-every", "100000")
_WIDTHS = ("--stage-widths", "24,64,96,128")
# Without the knee, which came later than these trainings.
_SMALL_VIEWS = ("--crop", "128", "--boxes", "8", "--batch-size", "16", "--divergence-knee", "0")
_WHOLE_VIEWS = ("--boxes", "2", "--batch-size", "8", "--learning-rate", "1e-3")
IMAGENET_ARGUMENTS = (*_SMALL_VIEWS, "--learning-rate", "1.5e-3", *_WIDTHS, *_EVERY_TRAINING)
# At the classifier's own crop: what is learnt on small views serves it only partly.
REFINEMENT_ARGUMENTS = (*_WHOLE_VIEWS, *_WIDTHS, *_EVERY_TRAINING)
# Most is gained after layer1, nothing after layer4 (`measure_corrections.py`). What ships had a fourth
# correction, and other seeds and rates, in the runs before its last, as the cards' metadata tells.
_RESNET50_WIDTHS = ("--stage-widths", "32,64,96")
RESNET50_ARGUMENTS = (*_SMALL_VIEWS, "--learning-rate", "3e-3", *_RESNET50_WIDTHS, *_EVERY_TRAINING)
RESNET50_REFINEMENT_ARGUMENTS = (
    *("--boxes", "2", "--seed", "1", "--batch-size", "8", "--learning-rate", "1.5e-3"),
    *_RESNET50_WIDTHS,
    *_EVERY_TRAINING,
)

# With other networks as teachers, and nearer to what is measured (docs/training.md, "Other teachers").
_MIX = "clean=0.06,shifted=0.15,resized=0.15,imagenet_c=0.12,twice=0.08"
_STEPS = ("--batch-size", "16", "--learning-rate", "2e-3", "--divergence-knee", "0.5")
_DISTILLED = (*_STEPS, "--degradations", f"lowest=6,highest=50,{_MIX}")
# Where bfloat16 makes teachers cheap, each view may be another one; nearer still to what is measured, and on
# views that are stretched. Both ResNet-50 modules had other runs before, as the cards' metadata tells.
_EVER_NEW = ("--cutmix", "0.6", "--stretch", "1.33", *_STEPS, "--degradations", f"lowest=7,highest=40,{_MIX}")
# With better answers to learn than its own there may be something to correct after layer4, too.
_WIDE = ("--stage-widths", "48,96,128,128")
RESNET50_KTB_DISTILLATION_ARGUMENTS = ("--seed", "31", "--compile", *_EVER_NEW, *_WIDE, *_EVERY_TRAINING)
# What ships is the mean of this training and of one with seed 34, from the same weights (--second-seed 34).
RESNET50_PQF_DISTILLATION_ARGUMENTS = ("--seed", "33", "--compile", *_EVER_NEW, *_WIDE, *_EVERY_TRAINING)

# A small network has more to learn from a large one, whose answers are dear: one box of each photo.
RESNET18_DISTILLATION_ARGUMENTS = ("--boxes", "1", "--seed", "8", *_DISTILLED, *_WIDTHS, *_EVERY_TRAINING)

# What ships was begun with `refine resnet50_pqf_stem --start-from`, from the checkpoint of resnet50_pqf, with
# an FE-Net of 16 channels first.
_STEM = ("--shape", "stem", "--fe-width", "32")
STEM_ARGUMENTS = (*_SMALL_VIEWS, "--learning-rate", "3e-3", *_STEM, *_EVERY_TRAINING)
STEM_REFINEMENT_ARGUMENTS = (
    *("--boxes", "2", "--seed", "3", "--batch-size", "8", "--learning-rate", "2e-3"),
    *_STEM,
    *_EVERY_TRAINING,
)
STEM_DISTILLATION_ARGUMENTS = ("--boxes", "2", "--seed", "6", *_DISTILLED, *_STEM, *_EVERY_TRAINING)


def _option(degradations: dict[str, float]) -> tuple[str, str]:
    return "--degradations", ",".join(f"{name}={number:g}" for name, number in degradations.items())


# `train` made what ships, from the module of the classifier before; the card tells what led there.
@dataclass(frozen=True, slots=True)
class Module:
    """One shipped file.

    Attributes:
        model: the frozen classifier it is trained against, as `--model` names it.
        licence: of the weights, after that of the classifier.
        checkpoint: the classifier's file in ../shared/weights, None for the built-in one.
        photos: arguments of `--images`.
        arguments: of `dctafd train` besides.
        refinement: the same for the second training, at the classifier's own crop; none if empty.
        distillation: the same for the third training, in which other networks teach, too; none if empty.
        teachers: those networks, models whose files are checkpoints of ../shared/weights.
        pruned_widths: channels that `prune_afd.py` leaves the corrections after the stages; empty for all.
        note: for the model card.
    """

    model: str
    licence: str
    checkpoint: str | None
    photos: tuple[Path, ...] = (SHARED / "images/train",)
    arguments: tuple[str, ...] = IMAGENET_ARGUMENTS
    refinement: tuple[str, ...] = REFINEMENT_ARGUMENTS
    distillation: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ("mobilenet_v2_coral",)
    pruned_widths: tuple[int, ...] = ()
    note: str = ""


KILL_THE_BITS = (
    " The checkpoint's first convolution is that of torchvision's IMAGENET1K_V1; with that checkpoint"
    " itself, which could not be reached, the module was not measured."
)

FE_NET_ANEW = (
    " FE-Net, and channels of the other corrections, had gone dead in the trainings with plain ReLUs (those"
    " without `rep_conv_rate` in the metadata); they were begun anew before the run after."
)

MODULES = {
    "resnet18_ktb": Module(
        "resnet18_ktb",
        "CC BY-NC 4.0",
        "resnet18_ktb",
        distillation=RESNET18_DISTILLATION_ARGUMENTS,
        teachers=("mobilenet_v2_coral", "resnet50_ktb"),
        note=KILL_THE_BITS,
    ),
    "resnet50_ktb": Module(
        "resnet50_ktb",
        "CC BY-NC 4.0 and Uber non-commercial",
        "resnet50_ktb",
        arguments=RESNET50_ARGUMENTS,
        refinement=RESNET50_REFINEMENT_ARGUMENTS,
        distillation=RESNET50_KTB_DISTILLATION_ARGUMENTS,
        teachers=("mobilenet_v2_coral", "resnet50_pqf"),
        note=KILL_THE_BITS + " It began as the module of `resnet50_pqf`, its channels permuted.",
    ),
    "resnet50_pqf": Module(
        "resnet50_pqf",
        "CC BY-NC 4.0 and Uber non-commercial",
        "resnet50_pqf",
        arguments=RESNET50_ARGUMENTS,
        refinement=RESNET50_REFINEMENT_ARGUMENTS,
        distillation=RESNET50_PQF_DISTILLATION_ARGUMENTS,
        teachers=("mobilenet_v2_coral", "resnet50_ktb"),
        pruned_widths=(32, 64, 128, 96),  # docs/training.md, "Trained wide, shipped narrow"
    ),
    "resnet50_pqf_stem": Module(
        "resnet50_pqf",
        "Uber non-commercial",
        "resnet50_pqf",
        arguments=STEM_ARGUMENTS,
        refinement=STEM_REFINEMENT_ARGUMENTS,
        distillation=STEM_DISTILLATION_ARGUMENTS,
        note=" The first three runs were those of `resnet50_pqf`, whose later corrections were left out then;"
        " the fifth was made by hand, at a rate of 1.5e-3 and with an EMA of 0.995. FE-Net had 16 channels"
        " up to that run and was widened to 32 after it."
        " It corrects the stem alone, as the paper does, and is there to compare: `--afd auto` prefers"
        " `resnet50_pqf`, `--afd resnet50_pqf_stem` asks for this one.",
    ),
    "squeezenet1_1_onnxzoo": Module(
        "squeezenet1_1_onnxzoo",
        "Apache-2.0",
        "squeezenet1_1_onnxzoo",
    ),
    "mobilenet_v2_coral": Module(
        "mobilenet_v2_coral",
        "Apache-2.0",
        "mobilenet_v2_coral",
        note=" The checkpoint comes from TensorFlow: SAME padding on its stride-2 convolutions and inputs in"
        " [-1, 1], both of which `--model mobilenet_v2_coral` sets." + FE_NET_ANEW,
    ),
}
