"""Measure a classifier on compressed photos, with and without its AFD-Module: `evaluate`.

Both answers come from the same prepared inputs, so that their difference is the module's doing. With labels
it is accuracy that is measured, without them agreement with the classifier's own answer on the uncompressed
photo.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from dctafd.analysis.evaluation import Evaluation
from dctafd.analysis.evaluation_rows import Measure
from dctafd.analysis.evaluation_task import EvaluationTask
from dctafd.analysis.labelled_photos import PhotoSet, find_photos
from dctafd.analysis.protocols import AS_IT_IS, PAPER_QUALITIES, Protocol, protocol_conditions
from dctafd.config import DEFAULT_MODEL, Limits
from dctafd.inputs.class_names import ClassNames
from dctafd.nets.device import choose_device
from dctafd.nets.fold import fold_batch_norms

if TYPE_CHECKING:
    from dctafd.nets.afd import AFDModule
    from dctafd.nets.registry import Backbone


class TaskOptions(TypedDict, total=False):
    """What an evaluation does with its photos: arguments of `plan_of_photos`, as `evaluate` tells them."""

    protocol: Protocol
    qualities: Sequence[int]
    times: Sequence[int]
    batch_size: int
    jobs: int
    device: str
    seed: int
    limits: Limits


def plan_evaluation(
    images: str | Path | Sequence[str | Path],
    backbone: Backbone,
    afd: AFDModule | None,
    *,
    labels: str | Path | None = None,
    measure: Measure | None = None,
    limit: int | None = None,
    compare: str | None = None,
    **options: Unpack[TaskOptions],
) -> EvaluationTask:
    """Find the photos and their labels, and decide what is measured; arguments as `evaluate`.

    The module is there already, re-parameterised, or None.

    Raises:
        ValueError: what is asked for cannot be measured; the message says why.
        DctafdError, OSError: there are no photos, or they cannot be looked for.
    """
    if compare not in (None, "paper"):
        raise ValueError(f"there is nothing to compare with under the name {compare!r}; there is 'paper'")
    found = find_photos(images, ClassNames(backbone.labels), None if measure == "agreement" else labels)
    if measure == "accuracy" and found.labels is None:
        raise ValueError(f"no labels: no folder or file has the name of a class of {backbone.spec.name}")
    measure = measure or ("agreement" if found.labels is None else "accuracy")
    by_folder = options.get("protocol") == "stored"
    if measure == "agreement" and by_folder:
        raise ValueError(
            "protocol stored takes photos as they are, so that there is no uncompressed photo to agree with: "
            "it needs labels (folders with names of classes, or a labels file)"
        )
    if measure == "agreement" and compare:
        raise ValueError("the paper measures accuracy, which needs labels")
    if not found.photos:
        raise ValueError(
            f"there are {sum(label.photos for label in found.unmatched)} photos, none with a label"
        )
    found = found.first(limit) if labels is not None else found.limited(limit, by_folder)
    return plan_of_photos(found, backbone, afd, measure=measure, compare=compare is not None, **options)


def plan_of_photos(
    photos: PhotoSet,
    backbone: Backbone,
    afd: AFDModule | None,
    *,
    protocol: Protocol = "single",
    qualities: Sequence[int] = PAPER_QUALITIES,
    times: Sequence[int] = (1, 2, 3, 4, 5),
    measure: Measure = "agreement",
    compare: bool = False,
    batch_size: int = 32,
    jobs: int = 2,
    device: str = "cpu",
    seed: int = 0,
    limits: Limits = Limits(),
) -> EvaluationTask:
    """Return the task for photos that were found; arguments as `evaluate`."""
    from dctafd.nets.attach import attach

    conditions = protocol_conditions(protocol, qualities, times)
    if protocol != "stored":
        conditions = (AS_IT_IS, *conditions)
    return EvaluationTask(
        backbone,
        attach(backbone.module, afd),
        photos,
        protocol,
        conditions,
        measure,
        batch_size,
        jobs,
        device,
        seed,
        compare,
        limits,
    )


def evaluate(
    images: str | Path | Sequence[str | Path],
    model: str | Backbone = DEFAULT_MODEL,
    *,
    weights: str | Path | None = None,
    afd: str | Path = "auto",
    labels: str | Path | None = None,
    protocol: Protocol = "single",
    qualities: Sequence[int] = PAPER_QUALITIES,
    times: Sequence[int] = (1, 2, 3, 4, 5),
    measure: Measure | None = None,
    limit: int | None = None,
    compare: str | None = None,
    per_photo: str | Path | None = None,
    resume: bool = False,
    batch_size: int = 32,
    jobs: int = 2,
    device: str = "auto",
    seed: int = 0,
    limits: Limits = Limits(),
    advance: Callable[[int], None] = lambda count: None,
) -> Evaluation:
    """Measure a classifier on compressed photos, with and without its AFD-Module.

    Args:
        images: a folder, a tar or zip archive, a Parquet file of photos, a URL of one of these (or several).
        model: a name of `dctafd models`, or what `load_backbone` returned.
        weights: the classifier's weights, where `model` is a name.
        afd: "auto" for the module that ships for the classifier, "off", or a weights file.
        labels: a CSV file with the columns `file` and `label`; None looks for labels where the photos lie
            (`find_photos`), and measures agreement where there are none.
        protocol: how photos are compressed (`protocol_conditions`).
        qualities: 1..100, of the compressions.
        times: numbers of compressions, for protocol "repeated".
        measure: "accuracy" or "agreement"; None takes the first for photos with labels.
        limit: at most so many photos: the first of a labels file, else spread evenly; of each folder for
            protocol "stored".
        compare: "paper" puts the AFD paper's figures beside the rows.
        per_photo: a file for every photo's scores (.jsonl, .csv, .parquet).
        resume: go on with an interrupted evaluation that was to write the same `per_photo`.
        batch_size: photos a forward pass.
        jobs: threads that compress and prepare photos.
        device: "auto" (CUDA where there is a device), "cpu", "cuda" ...
        seed: of the qualities that protocol "repeated" draws.
        limits: what one photo may cost; larger ones count as failures.
        advance: called with the number of photos that are done.

    Raises:
        ValueError: what is asked for cannot be measured.
        DctafdError, OSError: none of the photos, or not the weights, can be read.

    Example:
        >>> found = evaluate("photos/", "resnet50", limit=100)      # doctest: +SKIP
        >>> found.rows[0].top1_gain, found.rows[0].top1_gain_low    # doctest: +SKIP
    """
    from dctafd.analysis.per_photo import check_per_photo_file, save_per_photo
    from dctafd.nets.afd_weights import select_afd
    from dctafd.nets.registry import load_backbone

    if per_photo is not None:
        check_per_photo_file(Path(per_photo))
    backbone = load_backbone(model, weights) if isinstance(model, str) else model
    backbone = replace(backbone, module=fold_batch_norms(backbone.module))
    selected = select_afd(afd, backbone)
    task = plan_evaluation(
        images,
        backbone,
        None if selected is None else selected.module.reparameterize(),
        labels=labels,
        protocol=protocol,
        qualities=qualities,
        times=times,
        measure=measure,
        limit=limit,
        compare=compare,
        batch_size=batch_size,
        jobs=jobs,
        device=str(choose_device(device)),
        seed=seed,
        limits=limits,
    )
    found = task.run(advance, None if per_photo is None else Path(per_photo), resume)
    if per_photo is not None:
        save_per_photo(found, backbone.labels, Path(per_photo))
    return found
