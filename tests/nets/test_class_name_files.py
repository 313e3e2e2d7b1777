"""Files of class names as people have them."""

from pathlib import Path

import pytest

from dctafd.errors import WeightsError
from dctafd.nets.class_name_files import read_class_names


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("names.txt", "cat\nsea dog\n\nel\u00e9phant\n"),
        ("names.txt", "\ufeffcat\r\nsea dog\r\nel\u00e9phant"),
        ("names.json", '["cat", "sea dog", "el\u00e9phant"]'),
        ("names.json", '{"0": "cat", "2": "el\u00e9phant", "1": "sea dog"}'),
        ("names.json", '{"0": ["n01", "cat"], "1": ["n02", "sea dog"], "2": ["n03", "el\u00e9phant"]}'),
        ("names.json", '{"cat": 0, "sea dog": 1, "el\u00e9phant": 2}'),
    ],
)
def test_layouts(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode())
    assert read_class_names(path) == ("cat", "sea dog", "el\u00e9phant")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.txt", b"\n \n", "holds no class names"),
        ("latin.txt", "\u00e9".encode("latin-1"), "no readable file"),
        ("gap.json", b'{"0": "a", "2": "b"}', "not 0, 1, 2"),
        ("number.json", b"3", "holds no class names"),
        ("broken.json", b"[", "holds no class names"),
        ("deep.json", b"[" * 100_000, "holds no class names"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        read_class_names(path)
