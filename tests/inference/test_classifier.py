import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from dctafd.batch.sources import plan_sources
from dctafd.config import Limits, Preprocessing
from dctafd.errors import DctafdError
from dctafd.inference.assembly import ModelFacts
from dctafd.inference.classifier import Classifier
from dctafd.inference.network import parallel_batches
from dctafd.inference.prepared import Prepared, prepare_item
from dctafd.inference.results import Failure
from dctafd.inference.stream import Position, Step
from dctafd.inference.torch_network import TorchNetwork
from dctafd.inputs.source_items import SourceItem
from tests.support.archive_files import write_tar
from tests.support.tiny_classifier import LABELS, photo, tiny_classifier


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.jpg" for i in range(7)]
    for i, path in enumerate(paths):
        path.write_bytes(photo(i, 30 + 10 * i))
    return paths


def test_result_says_what_the_file_is_and_what_it_shows(photos: list[Path]) -> None:
    (result,) = tiny_classifier().classify(photos[0], top_k=2)
    assert (result.width, result.height, result.process, result.subsampling) == (40, 33, "baseline", "4:2:0")
    assert (result.quality, result.quality_exact, result.drift, result.model) == (30, True, None, "tiny")
    assert [best.label for best in result.predictions] == [LABELS[best.index] for best in result.predictions]
    assert result.predictions[0].score >= result.predictions[1].score


def test_scores_add_up_and_temperature_flattens_them(photos: list[Path]) -> None:
    sharp = tiny_classifier().classify(photos, top_k=9)
    flat = tiny_classifier(temperature=50.0).classify(photos, top_k=9)
    for before, after in zip(sharp, flat, strict=True):
        assert sum(best.score for best in before.predictions) == pytest.approx(1, abs=1e-5)
        assert after.predictions[0].score < before.predictions[0].score


def test_sources_of_every_kind_in_order(photos: list[Path]) -> None:
    data = photos[1].read_bytes()
    sources: list[Any] = [
        str(photos[0]),
        photos[1],
        data,
        memoryview(data),
        io.BytesIO(data),
        open(photos[1], "rb"),  # noqa: SIM115
    ]
    results = tiny_classifier().classify(sources, batch_size=4, jobs=2)
    sources[-1].close()
    assert [result.source for result in results] == [
        str(photos[0]),
        str(photos[1]),
        "<bytes>",
        "<bytes>",
        "<stream>",
        str(photos[1]),
    ]
    assert {result.predictions for result in results[1:]} == {results[1].predictions}


def test_a_stream_that_gives_a_little_at_a_time_is_read_to_its_end(photos: list[Path]) -> None:
    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return super().read(100)

    expected, found = tiny_classifier().classify([photos[1], Trickle(photos[1].read_bytes())])
    assert found.warnings == ()
    assert found.predictions == expected.predictions


@pytest.mark.parametrize("jobs", [1, 4])
def test_bad_sources_are_results_with_errors_in_their_places(
    photos: list[Path], tmp_path: Path, jobs: int
) -> None:
    sources: list[Any] = [
        photos[0],
        b"GIF89a",
        tmp_path / "missing.jpg",
        photos[1],
        photos[2].read_bytes()[:80],
    ]
    results = tiny_classifier().classify(sources, batch_size=2, jobs=jobs)
    assert [result.error.type if result.error else None for result in results] == [
        None,
        "NotAJpegError",
        "FileNotFoundError",
        None,
        "CorruptJpegError",
    ]


def test_what_is_no_source_is_an_error_in_its_place(photos: list[Path]) -> None:
    good, bad = tiny_classifier().classify([photos[0], 5])  # type: ignore[list-item]
    assert good.error is None
    assert bad.error is not None
    assert (bad.source, bad.error.type) == ("<int>", "TypeError")


def test_batch_without_a_good_input(tmp_path: Path) -> None:
    results = tiny_classifier().classify([b"", b"x"])
    assert [result.error.type for result in results] == ["NotAJpegError"] * 2


def test_endless_sources_are_taken_as_they_are_needed() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield photo(1)

    results: Any = tiny_classifier().iter_classify(endless(), batch_size=4)
    assert [next(results).error for _ in range(9)] == [None] * 9
    results.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("dctafd")]


def test_error_in_the_callers_iterable_is_raised() -> None:
    def broken() -> Iterator[bytes]:
        yield photo(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tiny_classifier().classify(broken())


def test_bfloat16_agrees_roughly(photos: list[Path]) -> None:
    exact = tiny_classifier().classify(photos, top_k=1)
    rough = tiny_classifier("bfloat16").classify(photos, top_k=1)
    for first, second in zip(exact, rough, strict=True):
        assert second.predictions[0].score == pytest.approx(first.predictions[0].score, abs=0.05)


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(ValueError, match="float8"):
        tiny_classifier("float8")


def test_digest_depends_on_weights_and_preprocessing() -> None:
    first, second, other = tiny_classifier(), tiny_classifier(), tiny_classifier(temperature=2.0)
    assert first.digest() == second.digest() != other.digest()
    with torch.no_grad():
        cast(Any, second.network).module.backbone[0].bias[0] += 1
    assert first.digest() != second.digest()


def test_drift_is_the_mean_of_the_first_fdm_channel(photos: list[Path]) -> None:
    from dctafd.inputs.model_input import collate
    from dctafd.nets.afd import AFDModule
    from dctafd.nets.attach import attach
    from tests.support.slim_resnet import SlimResNet

    net = SlimResNet(4).eval()
    corrected = attach(net, AFDModule.for_backbone(net).eval())
    preprocessing = Preprocessing(64, 64, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    classifier = Classifier(TorchNetwork(corrected, "cpu"), ModelFacts("slim", LABELS), preprocessing)
    prepared = prepare_item(SourceItem(str(photos[0]), path=str(photos[0])), preprocessing)
    (result,) = classifier.predict([prepared])
    item = prepared.outcome.model_input
    with torch.inference_mode():
        fdm = corrected.afd.guide(*collate([item]).tensors()[1:]).fdm
    assert result.drift == pytest.approx(fdm[0, 0].mean().item(), abs=1e-5)
    drift_map = classifier.drift_map(photos[0])
    assert (drift_map.shape, drift_map.dtype) == ((8, 8), "float32")
    assert drift_map.mean() == pytest.approx(result.drift, abs=1e-5)


def test_without_a_module_there_is_no_drift_map(photos: list[Path]) -> None:
    with pytest.raises(DctafdError, match="tiny has no AFD-Module"):
        tiny_classifier().drift_map(photos[0])


def test_limits_reach_the_reader(photos: list[Path]) -> None:
    item = SourceItem("0.jpg", path=str(photos[0]))
    prepared = prepare_item(item, tiny_classifier().preprocessing, Limits(max_pixels=100))
    assert prepared.outcome.type == "LimitExceededError"


def test_unexpected_exception_while_preparing_belongs_to_the_file(
    photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(header: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr("dctafd.inference.prepared.estimate_quality", fail)
    (result,) = tiny_classifier().classify(photos[0])
    assert result.error == Failure("MemoryError", "no memory")


START = Position()


def steps_of(units: Any, start: Any = START) -> list[Step]:
    options: dict[str, Any] = {"top_k": 1, "batch_size": 3, "jobs": 2, "limits": Limits()}
    return list(tiny_classifier().classify_units(units, start=start, **options))


def test_batches_end_at_multiples_of_their_size_and_at_units(photos: list[Path], tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", [("a.jpg", photo(1)), ("b.bin", b""), ("c.jpg", b"none")])
    steps = steps_of(plan_sources([*map(str, photos), str(archive)]).units)
    assert [(len(step.results), step.position) for step in steps] == [
        (3, Position(0, 3)),
        (3, Position(0, 6)),
        (1, Position(1, 0)),
        (2, Position(2, 0)),
    ]
    assert [step.skipped.files if step.skipped else None for step in steps] == [None, None, 0, 1]
    assert steps[0].size == sum(path.stat().st_size for path in photos[:3])


def test_run_from_any_position_gives_the_rest_of_the_whole_run(photos: list[Path], tmp_path: Path) -> None:
    archive = write_tar(tmp_path / "a.tar", [(f"{i}.jpg", photo(i)) for i in range(5)])
    units = plan_sources([*map(str, photos), str(archive)]).units
    steps = steps_of(units)
    for done, step in enumerate(steps[:-1], 1):
        assert steps_of(units, step.position) == steps[done:]


def test_what_is_under_way_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader stops when enough is waiting, though nobody takes any results."""
    handed_out: list[SourceItem] = []
    classifier = tiny_classifier()

    def counted(item: SourceItem, **options: Any) -> Prepared:
        handed_out.append(item)
        return prepare_item(item, **options)

    monkeypatch.setattr(
        "dctafd.inference.classifier.prepare_item",
        counted,
    )
    results: Any = classifier.iter_classify((photo(1) for _ in range(500)), batch_size=2, jobs=1)
    next(results)
    next(results)
    threading.Event().wait(0.3)
    assert len(handed_out) <= 2 + 3 * 2 + 1 + 2
    results.close()


@pytest.mark.parametrize(("jobs", "batches", "threads"), [(1, 1, 1), (2, 2, 1), (6, 6, 1), (33, 11, 3)])
def test_cores_are_divided_among_the_batches_side_by_side(jobs: int, batches: int, threads: int) -> None:
    before = torch.get_num_threads()
    try:
        tiny_classifier().network.use_cores(jobs)
        assert (parallel_batches(jobs), torch.get_num_threads()) == (batches, threads)
    finally:
        torch.set_num_threads(before)


def test_batches_side_by_side_give_what_one_after_the_other_gives() -> None:
    sources = [photo(i) for i in range(23)]
    expected = tiny_classifier().classify(sources, batch_size=2, jobs=1)
    assert tiny_classifier().classify(sources, batch_size=2, jobs=4) == expected
