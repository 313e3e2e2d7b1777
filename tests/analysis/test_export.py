"""Exported programs give the classifier's answers for any batch size."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from dctafd.analysis.export import (
    INPUT_NAMES,
    METADATA_FILE,
    Logits,
    classifier_metadata,
    export_classifier,
)
from dctafd.errors import MissingExtraError
from dctafd.nets.attach import CorrectedClassifier, attach
from dctafd.nets.registry import Backbone
from tests.support.small_nets import CROP, random_inputs, small_backbone, small_resnet, trained_afd

HAS_ONNX = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))


@pytest.fixture
def classifier() -> CorrectedClassifier:
    net = small_resnet()
    return attach(net, trained_afd(net, "deep").reparameterize())


def told(metadata: dict[str, str]) -> tuple[object, ...]:
    sees = json.loads(metadata["preprocessing"])
    return sees["resize"], sees["crop"], tuple(sees["mean"]), tuple(json.loads(metadata["labels"]))


def wanted(backbone: Backbone) -> tuple[object, ...]:
    spec = backbone.spec
    return spec.resize, spec.crop, spec.mean, backbone.labels


def test_torch_export_program(classifier: CorrectedClassifier, tmp_path: Path) -> None:
    backbone, path = small_backbone(), tmp_path / "small.pt2"
    export_classifier(classifier, CROP, path, classifier_metadata(backbone))
    files = {METADATA_FILE: ""}
    program = torch.export.load(path, extra_files=files).module()
    for batch in (1, 3):
        inputs = random_inputs(batch)
        with torch.no_grad():
            torch.testing.assert_close(program(*inputs), classifier(*inputs).logits)
    assert told(json.loads(files[METADATA_FILE])) == wanted(backbone)


def test_a_graph_has_no_operations_in_place(classifier: CorrectedClassifier) -> None:
    def operations(layout: torch.memory_format) -> list[str]:
        network = Logits(classifier).to(memory_format=layout)
        pixels, *others = random_inputs()
        with torch.no_grad():
            program = torch.export.export(network, (pixels.contiguous(memory_format=layout), *others))
        return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]

    in_rows = operations(torch.channels_last)  # where corrections are added in the features' memory otherwise
    assert in_rows == operations(torch.contiguous_format)
    assert not any("addmm_" in name for name in in_rows)


def test_a_plain_classifier_takes_pixels_only(tmp_path: Path) -> None:
    net, path = small_resnet(), tmp_path / "plain.pt2"
    export_classifier(attach(net), CROP, path)
    pixels = random_inputs(3)[0]
    with torch.no_grad():
        torch.testing.assert_close(torch.export.load(path).module()(pixels), net(pixels))


@pytest.mark.skipif(not HAS_ONNX, reason="needs the extra 'export' (onnx, onnxscript, onnxruntime)")
@pytest.mark.filterwarnings("default")
def test_onnx_model(classifier: CorrectedClassifier, tmp_path: Path) -> None:
    import onnx
    import onnxruntime

    backbone, path = small_backbone(), tmp_path / "small.onnx"
    export_classifier(classifier, CROP, path, classifier_metadata(backbone))
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        inputs = random_inputs(batch)
        names = dict(zip(INPUT_NAMES, (tensor.numpy() for tensor in inputs), strict=True))
        with torch.no_grad():
            expected = classifier(*inputs).logits
        torch.testing.assert_close(
            torch.from_numpy(session.run(None, names)[0]), expected, rtol=1e-3, atol=1e-3
        )
    model = onnx.load(path)
    onnx.checker.check_model(model)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert told(metadata) == wanted(backbone)
    assert metadata["model"] == backbone.spec.name


def test_missing_onnx_names_the_extra(
    classifier: CorrectedClassifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"\.\[export\]"):
        export_classifier(classifier, CROP, tmp_path / "small.onnx")


def test_other_suffixes_are_refused(classifier: CorrectedClassifier, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.onnx or \.pt2"):
        export_classifier(classifier, CROP, tmp_path / "small.pb")
