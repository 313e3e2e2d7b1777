import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import dctafd
from dctafd.analysis.jpeg_dataset import NO_LABEL, JpegDataset
from dctafd.config import Limits, Preprocessing
from dctafd.errors import DctafdError
from dctafd.inputs.model_input import ModelInput
from tests.support.archive_files import write_tar
from tests.support.jpeg_files import encode, photo_like

SEES = Preprocessing(40, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
CLASSES = ("bee", "cat", "dog")
PER_CLASS = 3


def photo(seed: int) -> bytes:
    return encode(photo_like(50, 44, seed=seed), 60)


def prepared(seed: int) -> ModelInput:
    return dctafd.prepare(photo(seed), SEES.resize, SEES.crop, mean=SEES.mean, std=SEES.std)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three class folders of three photos, and a file that is none."""
    root = tmp_path / "photos"
    for number, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for index in range(PER_CLASS):
            (root / name / f"{index}.jpg").write_bytes(photo(10 * number + index))
    (root / "notes.txt").touch()
    return root


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Two WebDataset shards with the same photos, a .cls beside each."""
    members = [
        member
        for number in range(len(CLASSES))
        for index in range(PER_CLASS)
        for member in (
            (f"{number}-{index}.cls", str(number).encode()),
            (f"{number}-{index}.jpg", photo(10 * number + index)),
        )
    ]
    return [write_tar(tmp_path / "a.tar", members[:8]), write_tar(tmp_path / "b.tar", members[8:])]


def test_a_folder_is_map_style_and_its_folders_are_the_classes(folder: Path) -> None:
    dataset = JpegDataset(folder, preprocessing=SEES)
    assert (len(dataset), dataset.classes) == (9, CLASSES)
    assert dataset.labels == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    sample = dataset[4]
    assert (dataset.names[4], sample.label) == ("cat/1.jpg", 1)
    expected = prepared(11)
    np.testing.assert_array_equal(sample.photo.pixels, expected.pixels)
    np.testing.assert_array_equal(sample.photo.coefficients, expected.coefficients)


def test_type_checkers_take_it_for_a_torch_data_set(folder: Path, shards: list[Path]) -> None:
    """The annotations are what is tested, by mypy; and that they are true, here."""
    data_sets: list[Dataset[Any]] = [JpegDataset(folder), JpegDataset(shards)]
    assert all(isinstance(dataset, Dataset) for dataset in data_sets)
    assert [isinstance(dataset, IterableDataset) for dataset in data_sets] == [False, True]


def test_coefficients_are_those_that_read_gives(folder: Path) -> None:
    photo_read, label = JpegDataset(folder, "coefficients")[8]
    expected = dctafd.read(photo(22))
    assert label == 2
    np.testing.assert_array_equal(photo_read.components[0].coefficients, expected.components[0].coefficients)


def test_a_batch_is_an_input_batch_with_labels(folder: Path) -> None:
    dataset = JpegDataset(folder, preprocessing=SEES)
    (batch,) = DataLoader(dataset, batch_size=9, collate_fn=dataset.collate)
    assert batch.photos.pixels.shape == (9, 3, 32, 32)
    assert batch.photos.coefficients.shape == (9, 192, 4, 4)
    assert batch.labels.tolist() == dataset.labels


def test_transformed_photos_are_stacked(folder: Path) -> None:
    dataset = JpegDataset(folder, preprocessing=SEES, transform=lambda item: torch.from_numpy(item.steps))
    (batch,) = DataLoader(dataset, batch_size=9, collate_fn=dataset.collate)
    assert batch.photos.shape == (9, 192)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_worker_processes_give_the_same(folder: Path, context: str) -> None:
    dataset = JpegDataset(folder, preprocessing=SEES)
    loader: DataLoader[Any] = DataLoader(
        dataset, batch_size=2, collate_fn=dataset.collate, num_workers=2, multiprocessing_context=context
    )
    batches = list(loader)
    alone = list(DataLoader(dataset, batch_size=2, collate_fn=dataset.collate))
    for batch, expected in zip(batches, alone, strict=True):
        assert torch.equal(batch.photos.pixels, expected.photos.pixels)
        assert torch.equal(batch.labels, expected.labels)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_share_the_shards(shards: list[Path], workers: int) -> None:
    dataset = JpegDataset(shards, preprocessing=SEES)
    assert (len(dataset), dataset.classes) == (9, ("0", "1", "2"))
    assert isinstance(dataset, torch.utils.data.IterableDataset)
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=None, num_workers=workers)
    seen = sorted((label, float(item.pixels.sum())) for item, label in loader)
    expected = [prepared(10 * label + index) for label in range(3) for index in range(PER_CLASS)]
    assert seen == sorted((n // PER_CLASS, float(item.pixels.sum())) for n, item in enumerate(expected))


def test_workers_share_the_photos_of_one_shard(shards: list[Path]) -> None:
    dataset = JpegDataset(shards[1], "coefficients")
    loader: DataLoader[Any] = DataLoader(dataset, batch_size=None, num_workers=2)
    assert sorted(label for _, label in loader) == dataset.labels


def test_a_table_gives_its_column_and_names(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"image": {"bytes": photo(n), "path": f"{n}.jpg"}, "label": n % 2} for n in range(4)]
    table = pa.Table.from_pylist(rows)
    features = {"info": {"features": {"label": {"names": ["ant", "bee"], "_type": "ClassLabel"}}}}
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    parquet.write_table(table, tmp_path / "photos.parquet")
    dataset = JpegDataset(tmp_path / "photos.parquet", preprocessing=SEES)
    assert dataset.classes == ("ant", "bee")
    assert [label for _, label in dataset] == [0, 1, 0, 1]


def test_given_classes_decide_the_labels(folder: Path) -> None:
    dataset = JpegDataset(folder, classes=("dog", "bee"))
    assert (dataset.classes, dataset.labels) == (("dog", "bee"), [1] * 3 + [NO_LABEL] * 3 + [0] * 3)


def test_photos_that_cannot_be_read_raise_or_are_left_out(folder: Path) -> None:
    (folder / "bee" / "1.jpg").write_bytes(b"GIF89a")
    with pytest.raises(DctafdError, match=r"bee/1\.jpg: NotAJpegError"):
        JpegDataset(folder, preprocessing=SEES)[1]
    dataset = JpegDataset(folder, preprocessing=SEES, skip_damaged=True)
    (batch,) = DataLoader(dataset, batch_size=9, collate_fn=dataset.collate)
    assert batch.labels.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]


def test_limits_reach_the_reader(folder: Path) -> None:
    with pytest.raises(DctafdError, match="LimitExceededError"):
        JpegDataset(folder, limits=Limits(max_pixels=10))[0]


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DctafdError, match="no photos"):
        JpegDataset(tmp_path / "empty")
    with pytest.raises(FileNotFoundError):
        JpegDataset(tmp_path / "missing")


def test_folders_and_shards_do_not_mix(folder: Path, shards: list[Path]) -> None:
    with pytest.raises(DctafdError, match="into another"):
        JpegDataset([folder, *shards])


def test_a_label_out_of_all_proportion_is_a_name(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", [("0.jpg", photo(0)), ("0.cls", b"9" * 30)])
    assert JpegDataset(path).classes == ("9" * 30,)


@pytest.mark.parametrize("gives", ["inputs", "coefficients"])
def test_data_sets_survive_pickling(folder: Path, shards: list[Path], gives: Any) -> None:
    for source in (folder, shards):
        dataset = JpegDataset(source, gives)
        again = pickle.loads(pickle.dumps(dataset))
        assert (type(again), again.labels, again.gives) == (type(dataset), dataset.labels, gives)
