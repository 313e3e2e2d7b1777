"""Photos and labels where people keep them: folders, shards, tables, CSV files."""

import io
import json
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from dctafd.analysis.labelled_photos import FoundPhoto, PhotoSet, find_photos
from dctafd.analysis.photo_containers import read_file
from dctafd.errors import DctafdError
from dctafd.inputs.class_names import ClassNames, imagenet_wnids

NAMES = ClassNames(("ant", "bee", "golden retriever", "cat"))


def picture(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (seed * 9 % 256, 100, 50)).save(buffer, "JPEG")
    return buffer.getvalue()


def tree(root: Path, *names: str) -> Path:
    for number, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return root


def shard(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def table(path: Path, labels: list[object], names: list[str] | None = None, paths: bool = True) -> Path:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    images = [
        {"bytes": picture(n), "path": f"set/{n}.jpg"} if paths else picture(n) for n in range(len(labels))
    ]
    metadata = {}
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.table({"image": images, "label": labels}).replace_schema_metadata(metadata)
    parquet.write_table(schema, path, row_group_size=2)
    return path


def found(photos: PhotoSet) -> list[tuple[str, int | None, str]]:
    return [(photo.name, photo.label, photo.folder) for photo in photos.photos]


def contents(photos: PhotoSet) -> list[bytes]:
    data = []
    for number, container in enumerate(photos.containers):
        keys = [photo.key for photo in photos.photos if photo.container == number]
        for key, read in container.contents(keys):
            assert key in keys
            data.append(read())
    return data


# Folders ----------------------------------------------------------------------------------------------


def test_folder_names_are_classes(tmp_path: Path) -> None:
    tree(tmp_path, "ant/1.jpg", "Golden_Retriever/a.png", "bee/10.jpg", "bee/9.jpg", "bee/notes.txt")
    photos = find_photos(tmp_path, NAMES)
    assert found(photos) == [
        ("Golden_Retriever/a.png", 2, ""),
        ("ant/1.jpg", 0, ""),
        ("bee/9.jpg", 1, ""),
        ("bee/10.jpg", 1, ""),
    ]
    assert photos.labels == "folder names"
    assert contents(photos) == [picture(1), picture(0), picture(3), picture(2)]


def test_wordnet_ids_and_a_folder_of_one_class(tmp_path: Path) -> None:
    from torchvision.models import ResNet50_Weights

    names = ClassNames(ResNet50_Weights.IMAGENET1K_V1.meta["categories"])
    wnid = imagenet_wnids()[7]
    tree(tmp_path / "val", f"{wnid}/a.JPEG", "n01440764/b.JPEG", "n99999999/c.JPEG", "n99999999/d.JPEG")
    photos = find_photos(tmp_path / "val", names)
    assert [(photo.name, photo.label) for photo in photos.photos] == [
        ("n01440764/b.JPEG", 0),
        (f"{wnid}/a.JPEG", 7),
    ]
    (unmatched,) = photos.unmatched
    assert (unmatched.label, unmatched.photos) == ("n99999999", 2)
    assert "WordNet" in unmatched.reason
    assert found(find_photos(tmp_path / "val" / wnid, names)) == [("a.JPEG", 7, "")]
    tree(tmp_path / "flat", "n01440764_10026.JPEG", "ILSVRC2012_val_00000293_n01443537.JPEG")
    assert [photo.label for photo in find_photos(tmp_path / "flat", names).photos] == [1, 0]


def test_numbered_folders_are_indices_only_with_a_class_0(tmp_path: Path) -> None:
    v2 = tree(tmp_path / "v2", "0/a.jpg", "3/b.jpg", "10/c.jpg")
    photos = find_photos(v2, NAMES)
    assert found(photos) == [("0/a.jpg", 0, ""), ("3/b.jpg", 3, "")]
    assert [(label.label, label.photos) for label in photos.unmatched] == [("10", 1)]
    severities = tree(tmp_path / "c", "1/a.jpg", "2/a.jpg", "3/a.jpg")
    assert find_photos(severities, NAMES).labels is None


def test_folders_of_class_folders_are_told_apart(tmp_path: Path) -> None:
    tree(tmp_path, "jpeg/2/ant/a.jpg", "jpeg/10/bee/b.jpg", "blur/1/cat/c.jpg", "bee/d.jpg")
    photos = find_photos(tmp_path, NAMES)
    assert sorted(photo.folder for photo in photos.photos) == ["", "blur/1", "jpeg/10", "jpeg/2"]
    inside = find_photos(tmp_path / "jpeg", NAMES)
    assert [(photo.folder, photo.label) for photo in inside.photos] == [("2", 0), ("10", 1)]


def test_several_folders_keep_their_names(tmp_path: Path) -> None:
    tree(tmp_path, "1/ant/a.jpg", "2/ant/a.jpg")
    photos = find_photos([tmp_path / "1", tmp_path / "2"], NAMES)
    assert found(photos) == [("1/ant/a.jpg", 0, "1"), ("2/ant/a.jpg", 0, "2")]
    assert contents(photos) == [picture(0), picture(1)]


def test_without_labels_there_are_none(tmp_path: Path) -> None:
    tree(tmp_path, "holiday/1.jpg", "party/2.jpg", "bee/3.jpg")
    photos = find_photos(tmp_path, NAMES)
    assert photos.labels is None
    assert [photo.label for photo in photos.photos] == [None] * 3


def test_odd_folders_end_nothing(tmp_path: Path) -> None:
    tree(tmp_path, "ant/a.jpg", "bee/b.jpg")
    (tmp_path / "ant" / "loop").symlink_to(tmp_path)
    (tmp_path / "bee" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "ant" / "pipe.jpg")
    photos = find_photos(tmp_path, NAMES)
    assert [photo.name for photo in photos.photos] == ["ant/a.jpg", "bee/b.jpg", "bee/gone.jpg"]
    readers = dict(photos.containers[0].contents([photo.key for photo in photos.photos]))
    with pytest.raises(DctafdError, match="no regular file"):
        read_file(tmp_path / "ant" / "pipe.jpg")
    with pytest.raises(FileNotFoundError):
        readers[str(tmp_path / "bee" / "gone.jpg")]()


def test_a_limit_is_spread_evenly(tmp_path: Path) -> None:
    tree(tmp_path, *(f"{s}/{name}/{n}.jpg" for s in (1, 2) for name in ("ant", "bee") for n in range(4)))
    photos = find_photos(tmp_path, NAMES)
    names = [photo.name for photo in photos.limited(4).photos]
    assert names == ["1/ant/0.jpg", "1/bee/0.jpg", "2/ant/0.jpg", "2/bee/0.jpg"]
    each = photos.limited(2, per_folder=True)
    assert [photo.name for photo in each.photos] == names
    assert photos.limited(99).photos == photos.photos
    assert photos.fingerprint() != each.fingerprint()


# Shards and tables ------------------------------------------------------------------------------------


def test_shards_keep_labels_beside_their_members(tmp_path: Path) -> None:
    path = shard(
        tmp_path / "shard-000.tar",
        {
            "0001.cls": b"3\n",
            "0001.jpg": picture(1),
            "0002.jpg": picture(2),
            "0002.json": b'{"caption": "x", "label": "bee"}',
            "a/0003.png": picture(3),
            "a/0003.cls": b"ant",
            "0004.jpg": picture(4),
            "0005.cls": b"17",
            "0005.jpg": picture(5),
            "0006.json": b"[" * 40_000,
            "0006.jpg": picture(6),
        },
    )
    photos = find_photos(path, NAMES)
    assert found(photos) == [("0001.jpg", 3, ""), ("0002.jpg", 1, ""), ("a/0003.png", 0, "a")]
    assert photos.labels == ".cls or .json members"
    assert {label.label: label.photos for label in photos.unmatched} == {"": 2, "17": 1}
    assert contents(photos) == [picture(1), picture(2), picture(3)]


def test_archives_of_class_folders(tmp_path: Path) -> None:
    members = {f"./jpeg/{s}/{name}/x.jpg": picture(s) for s in (1, 2) for name in ("ant", "bee")}
    path = shard(tmp_path / "c.tar", members)
    with zipfile.ZipFile(tmp_path / "c.zip", "w") as archive:
        for name, data in members.items():
            archive.writestr(name.removeprefix("./"), data)
    for photos in (find_photos(path, NAMES), find_photos(tmp_path / "c.zip", NAMES)):
        assert found(photos) == [
            (f"jpeg/{s}/{name}/x.jpg", label, f"jpeg/{s}")
            for s in (1, 2)
            for label, name in enumerate(("ant", "bee"))
        ]


def test_a_damaged_archive_is_told_and_the_rest_measured(tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar", {f"ant/{n}.jpg": picture(n) for n in range(4)})
    path.write_bytes(path.read_bytes()[:2600])
    photos = find_photos([path, shard(tmp_path / "t.tar", {"bee/1.jpg": picture(1)})], NAMES)
    assert {photo.label for photo in photos.photos} == {0, 1}
    assert [failure.type for failure in photos.failures] == ["ArchiveError"]


def test_hugging_faces_tables(tmp_path: Path) -> None:
    by_name = table(tmp_path / "a.parquet", [0, 1, 2, 0, None], ["cat", "ant", "wasp"])
    photos = find_photos(by_name, NAMES)
    assert found(photos) == [("set/0.jpg", 3, "set"), ("set/1.jpg", 0, "set"), ("set/3.jpg", 3, "set")]
    assert photos.labels == "a Parquet column"
    assert {label.label: label.photos for label in photos.unmatched} == {"2": 1, "": 1}
    assert contents(photos) == [picture(0), picture(1), picture(3)]
    plain = find_photos(table(tmp_path / "b.parquet", [2, 0, 9], paths=False), NAMES)
    assert found(plain) == [("b/0", 2, "b"), ("b/1", 0, "b")]
    texts = find_photos(table(tmp_path / "c.parquet", ["bee", "Ant", "wasp"]), NAMES)
    assert [photo.label for photo in texts.photos] == [1, 0]


def test_a_tables_numbers_are_the_models_where_both_have_the_same_classes(tmp_path: Path) -> None:
    labels = ["crane", *(f"class {n}" for n in range(18)), "crane"]  # a name that finds nothing by itself
    photos = find_photos(table(tmp_path / "a.parquet", [0, 19, 5], labels), ClassNames(labels))
    assert [photo.label for photo in photos.photos] == [0, 19, 5]


def test_a_folder_of_shards_and_tables(tmp_path: Path) -> None:
    shard(tmp_path / "s-0.tar", {"1.jpg": picture(1), "1.cls": b"1"})
    shard(tmp_path / "s-1.tar", {"1.jpg": picture(2), "1.cls": b"2"})
    assert [photo.label for photo in find_photos(tmp_path, NAMES).photos] == [1, 2]


@pytest.mark.parametrize("data", [b"", b"PAR1 no table PAR1"])
def test_a_damaged_table_is_an_error(tmp_path: Path, data: bytes) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "bad.parquet"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"bad\.parquet"):
        find_photos(path, NAMES)


def test_a_table_without_the_column_is_an_error(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pa.table({"pixels": ["no bytes"], "label": [1]}), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="no column of photos such as 'image'; it has pixels, label"):
        find_photos(tmp_path / "x.parquet", NAMES)


# CSV --------------------------------------------------------------------------------------------------


def test_a_csv_file_names_classes_by_index_name_or_id(tmp_path: Path) -> None:
    tree(tmp_path, "1/a.jpg", "b.jpg", "ant/c.jpg")
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "\ufefflabel,file\n1,1/a.jpg\nGolden Retriever,b.jpg\nant,ant/c.jpg\nwasp,d.jpg\n8,e.jpg\n"
    )
    photos = find_photos(tmp_path, NAMES, labels)
    assert found(photos) == [("1/a.jpg", 1, "1"), ("b.jpg", 2, ""), ("ant/c.jpg", 0, "")]
    assert photos.labels == "labels.csv"
    assert [(label.label, label.photos) for label in photos.unmatched] == [("wasp", 1), ("8", 1)]
    assert [photo.name for photo in photos.first(1).photos] == ["1/a.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\na.jpg\n", "no column label"),
        ("file,label\na.jpg,wasp\n", "no label is a class of the model; 'wasp'"),
        ("file,label\n", "names no photos"),
        ("", "no column file and no column label"),
    ],
)
def test_bad_label_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        find_photos(tmp_path, NAMES, path)


def test_places_that_hold_no_photos(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DctafdError, match="no photos, archives or Parquet files"):
        find_photos(tmp_path / "empty", NAMES)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DctafdError, match="no folder, archive or Parquet file"):
        find_photos(tmp_path / "a.txt", NAMES)
    with pytest.raises(FileNotFoundError):
        find_photos(tmp_path / "nowhere", NAMES)


def test_found_photos_are_plain_values() -> None:
    assert FoundPhoto(0, "a.jpg", "a.jpg") == FoundPhoto(0, "a.jpg", "a.jpg")
