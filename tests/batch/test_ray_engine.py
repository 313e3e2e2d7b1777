"""Ray in a process of its own: what it starts and what it warns of stays out of this one."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torchvision import models

from dctafd.errors import MissingExtraError
from tests.support.archive_files import write_tar
from tests.support.s3_server import KEY_ID, SECRET_KEY, forget_stores, made_bucket, s3_server
from tests.support.tiny_classifier import LABELS, photo

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="needs the extra ray (pip install 'dctafd[ray]')"
)

RUN = """
import os, pathlib, signal, sys
import ray
from dctafd.cli.main import main
from dctafd.batch import ray_engine

class MortalWorker(ray_engine.UnitWorker):
    '''Dies the first time it gets unit 2, in the middle of the run.'''
    def __call__(self, batch):
        died = pathlib.Path("died")
        if batch["number"][0] == 2 and not died.exists():
            died.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)

if __name__ == "__main__":
    if sys.argv.pop(1) == "mortal":
        ray_engine.UnitWorker = MortalWorker
    if "ray" in sys.argv:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    main()
"""


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Six shards, one of them cut off, and the weights of a small network."""
    torch.manual_seed(0)
    net = models.squeezenet1_1(num_classes=len(LABELS))
    metadata = {
        "preprocessing": {"resize": 32, "crop": 32, "mean": [0.5] * 3, "std": [0.25] * 3},
        "labels": LABELS,
    }
    save_file(
        net.state_dict(), tmp_path / "tiny.safetensors", {k: json.dumps(v) for k, v in metadata.items()}
    )
    for number in range(6):
        members = [(f"{number}-{i}.jpg", photo(7 * number + i)) for i in range(7)]
        members[5] = (members[5][0], b"GIF89a")
        path = write_tar(tmp_path / f"s{number}.tar", members)
        if number == 4:
            path.write_bytes(path.read_bytes()[:5000])
    (tmp_path / "run.py").write_text(RUN)
    return tmp_path


def classify(folder: Path, worker: str, output: str, *more: str, sources: str = "s{0..5}.tar") -> int:
    options = [
        "--model",
        "squeezenet1_1",
        "--weights",
        "tiny.safetensors",
        "--afd",
        "off",
        "--jobs",
        "1",
        "--batch-size",
        "4",
        "-q",
    ]
    arguments = ["classify", sources, *options, "-o", output, *more]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_raylet_start_wait_time_s": "120"}
    command = [sys.executable, "run.py", worker, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, timeout=600, check=False).returncode


@needs_ray
@pytest.mark.slow
def test_ray_gives_the_local_engines_file_though_a_worker_is_killed(shards: Path) -> None:
    assert classify(shards, "immortal", "local.jsonl") == 1
    assert classify(shards, "mortal", "ray.jsonl", "--engine", "ray") == 1
    assert (shards / "died").exists()
    assert (shards / "ray.jsonl").read_bytes() == (shards / "local.jsonl").read_bytes()
    assert len((shards / "ray.jsonl").read_text().splitlines()) > 35


@needs_ray
@pytest.mark.slow
def test_ray_over_a_bucket_gives_the_local_engines_file_though_a_worker_is_killed(
    shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers open the URLs themselves; results and manifest go to the bucket, without the keys."""
    assert classify(shards, "immortal", "local.jsonl") == 1
    with s3_server() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        store = made_bucket("bucket")
        for number in range(6):
            store.put_file(str(shards / f"s{number}.tar"), f"bucket/s{number}.tar")
        bucket = {"sources": "s3://bucket/s{0..5}.tar"}
        assert classify(shards, "mortal", "s3://bucket/out/o.jsonl", "--engine", "ray", **bucket) == 1
        assert (shards / "died").exists()
        found = store.cat_file("bucket/out/o.jsonl")
        wanted = (shards / "local.jsonl").read_bytes().replace(b'"source": "', b'"source": "s3://bucket/')
        assert found == wanted
        written = [store.cat_file(name) for name in store.find("bucket/out")]
        assert len(written) == 2
        assert not [text for text in written if SECRET_KEY.encode() in text or KEY_ID.encode() in text]
    forget_stores()


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from dctafd.batch.ray_engine import ray_engine

    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setitem(sys.modules, "ray.data", None)
    with pytest.raises(MissingExtraError, match=r"\.\[ray\]"):
        ray_engine()
