"""Which runtime runs a network: PyTorch, OpenVINO or ONNX Runtime."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import replace
from importlib.util import find_spec

from dctafd.config import Runtime
from dctafd.extras import require_extra

#: Those that run an exported graph on a CPU, the fastest first (docs/runtimes.md).
GRAPH_RUNTIMES = ("openvino", "onnxruntime")
_DTYPES = {"openvino": ("float32", "bfloat16"), "onnxruntime": ("float32",)}
_CUDA_DRIVER = {"win32": "nvcuda.dll", "linux": "libcuda.so.1"}


def choose_runtime(wanted: Runtime) -> Runtime:
    """Say what "auto" stands for on this machine, and see that what is wanted can be had.

    "auto" is what $DCTAFD_RUNTIME names; without it, on a CPU the first of `GRAPH_RUNTIMES` that is installed
    and computes in the wanted dtype, else PyTorch, which it is on any other device, too. PyTorch is only
    imported where there may be a CUDA device.

    Raises:
        MissingExtraError: the runtime is not installed.
        ValueError: the runtime knows neither the device nor the dtype.
    """
    if wanted.name == "auto":
        wanted = replace(wanted, name=os.environ.get("DCTAFD_RUNTIME", "auto"))
    device = _auto_device() if wanted.device == "auto" else wanted.device
    if wanted.name == "auto":
        fitting = (name for name in GRAPH_RUNTIMES if device == "cpu" and _serves(name, wanted.dtype))
        return replace(wanted, name=next(fitting, "torch"), device=device)
    if wanted.name in GRAPH_RUNTIMES:
        if device != "cpu":
            raise ValueError(f"{wanted.name} runs networks on a CPU here, not on {device}")
        if wanted.dtype not in _DTYPES[wanted.name]:
            known = " or ".join(_DTYPES[wanted.name])
            raise ValueError(f"{wanted.name} computes in {known}, not in {wanted.dtype}")
        require_extra(wanted.name)
    return replace(wanted, device=device)


def _serves(name: str, dtype: str) -> bool:
    """Whether a runtime is installed and really computes in `dtype`."""
    if dtype not in _DTYPES[name] or find_spec(name) is None:
        return False
    if name == "onnxruntime" and (find_spec("onnx") is None or find_spec("onnxscript") is None):
        return False
    return dtype == "float32" or has_bfloat16()


def has_bfloat16() -> bool:
    """Whether OpenVINO has bfloat16 arithmetic on this CPU; elsewhere it would silently take float32."""
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _auto_device() -> str:
    """Return "cuda" where there is a device, else "cpu"; PyTorch is asked only where there is a driver."""
    try:
        ctypes.CDLL(_CUDA_DRIVER[sys.platform])
    except (OSError, KeyError):
        return "cpu"
    from dctafd.nets.device import choose_device

    return choose_device("auto").type
