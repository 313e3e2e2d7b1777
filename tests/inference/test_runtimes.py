"""Exported graphs answer as PyTorch does, are kept and checked; PyTorch runs what cannot be exported."""

import json
import shutil
import subprocess
import sys
import threading
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dctafd.config import Preprocessing, Runtime
from dctafd.errors import DctafdError
from dctafd.inference import loading
from dctafd.inference.assembly import ModelFacts, softmax
from dctafd.inference.classifier import Classifier
from dctafd.inference.graph_cache import DirectoryCache
from dctafd.inference.graph_export import ExportError, check_answer, example_inputs, export_graph
from dctafd.inference.graph_networks import _COMPILING, Graph, _wait_for_compiling, open_graph
from dctafd.inference.loading import RuntimeFallbackWarning, load_classifier
from dctafd.inference.network import Answer
from dctafd.inference.runtimes import choose_runtime
from dctafd.inference.torch_network import TorchNetwork, weights_digest
from dctafd.inputs.model_input import stack_inputs
from dctafd.inputs.prepare import prepare_for
from dctafd.nets.attach import CorrectedClassifier, attach
from tests.support.jpeg_files import encode, photo_like
from tests.support.small_nets import CROP, trained_afd

RUNTIMES = {"openvino": ("openvino",), "onnxruntime": ("onnxruntime", "onnx", "onnxscript")}
SEES = Preprocessing(CROP + 8, CROP, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    for package in RUNTIMES[request.param]:
        pytest.importorskip(package, reason=f"needs the extra {request.param}")
    return request.param


def tiny_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def corrected() -> CorrectedClassifier:
    net = tiny_net()
    return attach(net, trained_afd(net, "stem", layer="1").reparameterize()).eval()


@pytest.fixture(scope="module")
def graph(runtime: str, corrected: CorrectedClassifier, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    directory = tmp_path_factory.mktemp(runtime)
    return export_graph(corrected, SEES, runtime, directory, weights_digest(corrected))


@pytest.fixture
def photos() -> list[bytes]:
    return [encode(photo_like(100, 90, seed=seed), quality) for seed, quality in enumerate(range(5, 95, 9))]


@pytest.mark.parametrize("batch", [1, 5, 9])
def test_answers_are_those_of_pytorch(
    runtime: str, graph: Graph, corrected: CorrectedClassifier, batch: int
) -> None:
    arrays = [
        np.ascontiguousarray(np.roll(array, 1, axis=-1) if array.ndim > 2 else array)
        for array in (np.repeat(array, 5, 0)[:batch] for array in example_inputs(SEES))
    ]
    expected = TorchNetwork(corrected, "cpu").run(arrays)
    answer = open_graph(graph, runtime, "float32").run(arrays)
    np.testing.assert_allclose(softmax(answer.logits), softmax(expected.logits), atol=1e-3)
    assert answer.drift is not None
    assert expected.drift is not None
    np.testing.assert_allclose(answer.drift, expected.drift, atol=1e-3)


def test_photos_in_which_nothing_drifted_go_through_the_uncorrected_network(
    runtime: str, graph: Graph, photos: list[bytes]
) -> None:
    arrays = stack_inputs([prepare_for(photo, SEES) for photo in photos])
    plain = open_graph(replace(graph, quiet_drift=None), runtime, "float32").run(arrays)
    corrected = open_graph(replace(graph, quiet_drift=0.0), runtime, "float32").run(arrays)
    assert plain.drift is None
    assert corrected.drift is not None
    mean = corrected.drift.mean((1, 2))
    between = float(np.median(mean))
    answer = open_graph(replace(graph, quiet_drift=between), runtime, "float32").run(arrays)
    quiet = mean <= between
    assert 0 < quiet.sum() < len(photos)
    assert abs(corrected.logits - plain.logits).max() > 1e-3
    expected = np.where(quiet[:, None], plain.logits, corrected.logits)
    np.testing.assert_allclose(answer.logits, expected, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(answer.drift, corrected.drift)


def test_batches_side_by_side_give_what_one_after_the_other_gives(
    runtime: str, graph: Graph, photos: list[bytes]
) -> None:
    network = open_graph(graph, runtime, "float32")
    network.use_cores(2)
    classifier = Classifier(network, ModelFacts("small", ()), SEES)
    alone = classifier.classify(photos, batch_size=2, jobs=1)
    beside = classifier.classify(photos, batch_size=2, jobs=4)
    for one, other in zip(alone, beside, strict=True):
        assert other.drift == pytest.approx(one.drift, abs=2e-6)
        assert [best.index for best in other.predictions] == [best.index for best in one.predictions]


def test_a_classifier_without_a_module_has_no_drift(
    runtime: str, tmp_path: Path, photos: list[bytes]
) -> None:
    net = attach(tiny_net())
    graph = export_graph(net, SEES, runtime, tmp_path, weights_digest(net))
    classifier = Classifier(open_graph(graph, runtime, "float32"), ModelFacts("small", ()), SEES)
    (result,) = classifier.classify(photos[0])
    assert (result.error, result.drift, len(result.predictions)) == (None, None, 5)


def test_openvino_computes_in_float32_unless_asked(graph: Graph, runtime: str) -> None:
    if runtime != "openvino":
        pytest.skip("the others have one precision")
    network: Any = open_graph(graph, runtime, "float32")
    network.side_by_side(2)
    precision = str(network._compiled_part("corrected").get_property("INFERENCE_PRECISION_HINT"))
    assert "float" in precision
    assert "bfloat16" not in precision


def test_graphs_that_are_gone_are_missed_by_name_only_where_they_are_needed_again(
    graph: Graph, runtime: str, photos: list[bytes], tmp_path: Path
) -> None:
    shutil.copytree(graph.directory, tmp_path / "graph")
    network = open_graph(replace(graph, directory=tmp_path / "graph"), runtime, "float32")
    network.use_cores(1)
    classifier = Classifier(network, ModelFacts("small", ()), SEES)
    expected = classifier.classify(photos)
    shutil.rmtree(tmp_path / "graph")
    assert classifier.classify(photos) == expected
    network.use_cores(2)
    if runtime == "openvino":
        assert [result.error for result in classifier.classify(photos, jobs=2)] == [None] * len(photos)
    else:
        with pytest.raises(DctafdError, match="load the classifier again"):
            classifier.classify(photos, jobs=2)


def test_a_fork_waits_for_what_is_being_compiled(
    graph: Graph, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network: Any = open_graph(graph, runtime, "float32")
    network.use_cores(2)
    may_go_on = threading.Event()
    done: list[tuple[str, int | None]] = []

    def compile_slowly(variant: tuple[str, int | None], *shared: int) -> None:
        may_go_on.wait()
        done.append(variant)

    monkeypatch.setattr(network, "_compile", compile_slowly)
    network.side_by_side(2)
    threading.Timer(0.05, may_go_on.set).start()
    _wait_for_compiling()
    size = 1 if runtime == "openvino" else None
    # The uncorrected one has a thread of its own.
    assert [variant for variant in done if variant[0] != "plain"] == [("fde_net", None), ("corrected", size)]
    assert [variant for variant in done if variant[0] == "plain"] == [("plain", size)]


@pytest.mark.parametrize("photos", [1, 5, 9])
def test_what_was_got_ready_for_is_all_that_a_batch_needs(graph: Graph, runtime: str, photos: int) -> None:
    network: Any = open_graph(graph, runtime, "float32")
    network.use_cores(2)
    network.side_by_side(1)
    network.get_ready(photos)
    _wait_for_compiling()
    compiled = dict(network._compiled)
    assert network.run([np.repeat(array, 5, 0)[:photos] for array in example_inputs(SEES)]).logits.any()
    assert network._compiled == compiled
    threads = set(_COMPILING)
    network.get_ready(photos)
    assert set(_COMPILING) <= threads  # there is nothing left to compile


# Loading ----------------------------------------------------------------------------------------------


@pytest.fixture
def loads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, corrected: CorrectedClassifier, graph: Graph
) -> list[int]:
    """Let any request lead to the small network, whose weights are a file; count how often it is loaded.

    Its graph is copied, since making it anew takes seconds.
    """
    monkeypatch.setattr(
        "dctafd.inference.graph_export.export_graph",
        lambda module, sees, runtime, directory, digest: shutil.copytree(
            graph.directory, directory, dirs_exist_ok=True
        ),
    )
    monkeypatch.setenv("DCTAFD_CACHE", str(tmp_path / "cache"))
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"first")
    count: list[int] = []
    loaded = loading._Loaded(
        corrected, ModelFacts("small", ("a", "b")), SEES, [weights], (("it may not fit", UserWarning),)
    )

    def load(self: object) -> Any:
        count.append(1)
        return loaded

    monkeypatch.setattr(loading._Request, "load", load)
    return count


def load_small(runtime: str) -> tuple[Classifier, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        classifier = load_classifier("small", runtime=runtime, device="cpu")
    return classifier, [str(warning.message) for warning in caught]


def test_a_known_classifier_is_opened_without_pytorch(
    loads: list[int], runtime: str, photos: list[bytes], tmp_path: Path
) -> None:
    first, said = load_small(runtime)
    assert (first.network.runtime, said, len(loads)) == (runtime, ["it may not fit"], 1)
    again, said = load_small(runtime)
    assert (said, len(loads)) == (["it may not fit"], 1)
    assert again.digest() == first.digest()
    expected = first.classify(photos)
    (tmp_path / "photo.jpg").write_bytes(photos[0])
    arguments = ["classify", str(tmp_path / "photo.jpg"), "--model", "small", "--runtime", runtime]
    code = (
        "import sys\n"
        "from dctafd.cli.main import cli\n"
        f"cli({[*arguments, '--format', 'jsonl']!r}, standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    record, imported = run.stdout.splitlines()
    assert imported == "False"
    assert "warning: it may not fit" in run.stderr
    assert json.loads(record)["drift"] == expected[0].drift
    assert json.loads(record)["predictions"][0]["index"] == expected[0].predictions[0].index


def test_changed_weights_are_loaded_anew(loads: list[int], runtime: str, tmp_path: Path) -> None:
    load_small(runtime)
    (tmp_path / "weights.pth").write_bytes(b"second")
    load_small(runtime)
    assert len(loads) == 2


def test_a_module_that_appears_beside_the_weights_is_not_missed(
    loads: list[int], runtime: str, tmp_path: Path
) -> None:
    weights = tmp_path / "weights.pth"

    def load() -> Any:
        with pytest.warns(UserWarning, match="it may not fit"):
            load_classifier("small", weights, runtime=runtime, device="cpu")
        return len(loads)

    assert [load(), load()] == [1, 1]
    (tmp_path / "weights_afd.safetensors").write_bytes(b"new")
    assert [load(), load()] == [2, 2]


def test_results_below_the_least_score_are_unsure(
    loads: list[int], runtime: str, photos: list[bytes]
) -> None:
    def unsure(min_score: float | None) -> tuple[str, list[Any]]:
        with pytest.warns(UserWarning, match="it may not fit"):
            classifier = load_classifier("small", runtime=runtime, device="cpu", min_score=min_score)
        return classifier.digest(), [result.unsure for result in classifier.classify(photos)]

    plain, nothing = unsure(None)
    asked, everything = unsure(1.0)
    assert (set(nothing), set(everything), len(loads)) == ({None}, {True}, 1)
    assert plain != asked
    assert set(unsure(0.0)[1]) == {False}
    with pytest.raises(ValueError, match="0 to 1"):
        load_classifier("small", runtime=runtime, min_score=70)


@pytest.mark.parametrize("damage", ["cut", "bit", "sums", "gone"])
def test_a_damaged_entry_is_made_again(
    loads: list[int], runtime: str, photos: list[bytes], tmp_path: Path, damage: str
) -> None:
    expected = load_small(runtime)[0].classify(photos)
    (entry,) = (path for path in (tmp_path / "cache" / "graphs").iterdir() if path.is_dir())
    largest = max(entry.iterdir(), key=lambda path: path.stat().st_size)
    data = largest.read_bytes()
    if damage == "cut":
        largest.write_bytes(data[: len(data) // 2])
    elif damage == "bit":
        largest.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    elif damage == "sums":
        (entry / "sha256.json").write_text("[]")
    else:
        largest.unlink()
    classifier, said = load_small(runtime)
    assert classifier.classify(photos) == expected
    assert (len(loads), said, largest.read_bytes()) == (2, ["it may not fit"], data)


@pytest.mark.parametrize("text", ["", "[]", '{"files": []}', '{"files": [], "key": 3}'])
def test_a_damaged_record_is_written_again(loads: list[int], runtime: str, tmp_path: Path, text: str) -> None:
    load_small(runtime)
    (record,) = (tmp_path / "cache" / "classifiers").iterdir()
    record.write_text(text)
    load_small(runtime)
    assert len(loads) == 2
    assert json.loads(record.read_text())["key"]


def test_a_cache_that_cannot_be_written_is_done_without(
    loads: list[int], runtime: str, photos: list[bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DCTAFD_CACHE", str(tmp_path / "file"))
    classifier, said = load_small(runtime)
    assert classifier.network.runtime == runtime
    assert "not kept" in said[-1]
    assert "DCTAFD_CACHE" in said[-1]
    assert classifier.classify(photos)[0].error is None


class Unexportable(nn.Module):
    """Depends on the data, so that no graph can be made of it."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return pixels.mean((2, 3)) if float(pixels.sum()) > 0 else pixels.amax((2, 3))


def test_what_cannot_be_exported_runs_in_pytorch_and_is_not_tried_again(
    loads: list[int], runtime: str, monkeypatch: pytest.MonkeyPatch, photos: list[bytes]
) -> None:
    loaded = loading._Loaded(attach(Unexportable()), ModelFacts("odd", ("a", "b", "c")), SEES, [], ())
    monkeypatch.setattr(loading._Request, "load", lambda self: loaded)
    tries: list[int] = []

    def counted(*arguments: Any) -> Graph:
        tries.append(1)
        return export_graph(*arguments)

    monkeypatch.setattr("dctafd.inference.graph_export.export_graph", counted)
    for _ in range(2):
        with pytest.warns(RuntimeFallbackWarning, match=f"{runtime} cannot run odd, PyTorch does: ") as said:
            classifier = load_classifier("odd", runtime=runtime, device="cpu")
        assert len(said) == 1
        assert "\n" not in str(said[0].message)
        assert classifier.network.runtime == "torch"
        assert classifier.classify(photos[0])[0].error is None
    assert len(tries) == 1


@pytest.mark.parametrize("wrong", [1.0, np.nan])
def test_a_graph_that_answers_otherwise_is_refused(wrong: float) -> None:
    logits, drift = np.zeros((2, 4), np.float32), np.zeros((2, 3, 3), np.float32)
    check_answer(Answer(logits + 1e-4, drift + 1e-4), [logits, drift])
    with pytest.raises(ExportError, match="differ from PyTorch's by"):
        check_answer(Answer(logits, drift + np.float32(wrong)), [logits, drift])


def test_threads_that_want_the_same_entry_make_it_once(tmp_path: Path) -> None:
    cache, made = DirectoryCache(tmp_path), []

    def make(directory: Path) -> None:
        made.append(1)
        threading.Event().wait(0.05)
        (directory / "file").write_text("content")

    threads = [threading.Thread(target=cache.get_or_make, args=("key", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(made), (tmp_path / "key" / "file").read_text()) == (1, "content")


def test_what_is_not_finished_leaves_no_entry(tmp_path: Path) -> None:
    def make(directory: Path) -> None:
        (directory / "file").touch()
        raise ExportError("no")

    cache = DirectoryCache(tmp_path)
    with pytest.raises(ExportError):
        cache.get_or_make("key", make)
    assert cache.get("key") is None
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_entries_that_were_not_used_for_longest_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dctafd.inference.graph_cache.KEPT_ENTRIES", 2)
    cache = DirectoryCache(tmp_path)

    def make(directory: Path) -> None:
        (directory / "file").write_text("x")

    for key in ("first", "second", "third"):
        cache.get_or_make(key, make)
    assert [key for key in ("first", "second", "third") if cache.get(key)] == ["second", "third"]


# Choosing ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("installed", "wanted", "chosen"),
    [
        (("openvino", "onnxruntime"), Runtime(device="cpu"), "openvino"),
        (("onnxruntime",), Runtime(device="cpu"), "onnxruntime"),
        ((), Runtime(device="cpu"), "torch"),
        (("openvino", "onnxruntime"), Runtime(device="cuda"), "torch"),
        (("openvino", "onnxruntime"), Runtime(device="cpu", dtype="float16"), "torch"),
        (("onnxruntime",), Runtime(device="cpu", dtype="bfloat16"), "torch"),
        (("openvino",), Runtime("torch", "cpu"), "torch"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed_and_exact(
    monkeypatch: pytest.MonkeyPatch, installed: tuple[str, ...], wanted: Runtime, chosen: str
) -> None:
    monkeypatch.delenv("DCTAFD_RUNTIME")
    known = {*installed, "onnx", "onnxscript"}
    monkeypatch.setattr("dctafd.inference.runtimes.find_spec", lambda name: name if name in known else None)
    assert choose_runtime(wanted).name == chosen


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_goes_to_openvino_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, has_it: bool
) -> None:
    monkeypatch.delenv("DCTAFD_RUNTIME")
    monkeypatch.setattr("dctafd.inference.runtimes.find_spec", lambda name: name)
    monkeypatch.setattr("dctafd.inference.runtimes.has_bfloat16", lambda: has_it)
    assert choose_runtime(Runtime(device="cpu", dtype="bfloat16")).name == ("openvino" if has_it else "torch")


def test_the_environment_says_what_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DCTAFD_RUNTIME", "torch")
    assert choose_runtime(Runtime(device="cpu")).name == "torch"
    monkeypatch.setenv("DCTAFD_RUNTIME", "tensorrt")
    with pytest.raises(ValueError, match="runtime 'tensorrt'"):
        choose_runtime(Runtime(device="cpu"))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (("openvino", "cuda", "float32"), "runs networks on a CPU here, not on cuda"),
        (("onnxruntime", "cpu", "bfloat16"), "computes in float32, not in bfloat16"),
        (("tensorrt", "cpu", "float32"), "runtime 'tensorrt'; it is one of auto, torch"),
        (("auto", "cpu", "float8"), "dtype 'float8'"),
    ],
)
def test_what_a_runtime_cannot_do_is_said(wanted: tuple[str, str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose_runtime(Runtime(*wanted))
