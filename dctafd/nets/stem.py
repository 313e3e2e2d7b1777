"""The features of a network's stem, without running the rest of it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from dctafd.errors import WeightsError


class _ReachedError(Exception):
    """Carries the features out of the forward pass, which ends there."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features


def features_at(network: nn.Module, layer: str, pixels: Tensor) -> Tensor:
    """Return a layer's output for pixels (B, 3, S, S); the forward pass goes no further.

    Args:
        network: left as it is.
        layer: name of the layer.
        pixels: on the network's device.

    Raises:
        WeightsError: there is no such layer, or it takes no part in the forward pass.
    """

    def stop(module: nn.Module, inputs: Any, output: Tensor) -> None:
        raise _ReachedError(output.clone())  # a later layer may work in its memory

    try:
        handle = network.get_submodule(layer).register_forward_hook(stop)
    except AttributeError as error:
        raise WeightsError(f"{type(network).__name__} has no layer {layer!r}") from error
    try:
        # And not network(pixels), which would run what `nn.Module.compile` made of the network.
        network.forward(pixels)
    except _ReachedError as reached:
        return reached.features
    finally:
        handle.remove()
    raise WeightsError(f"{type(network).__name__} never runs its layer {layer!r}")
