"""Fold frozen batch normalisations into the convolutions before them: the same function in fewer passes."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in eval mode whose convolutions do the work of the batch norms that follow them.

    The result equals the network's up to rounding. Each folded batch norm becomes an `nn.Identity`, all other
    layers keep their names. A network that torch.fx cannot trace, because its forward pass depends on the
    data, is copied as it is.

    Args:
        network: a classifier; left as it is.
    """
    folded = copy.deepcopy(network).eval()
    try:
        graph = _Tracer().trace(folded)
    except (fx.proxy.TraceError, TypeError, ValueError, RuntimeError):
        return folded
    for convolution, norm in list(_pairs(graph)):
        before, after = folded.get_submodule(convolution), folded.get_submodule(norm)
        if isinstance(before, nn.Conv2d) and isinstance(after, nn.BatchNorm2d):
            folded.set_submodule(convolution, fuse_conv_bn_eval(before, after))
            folded.set_submodule(norm, nn.Identity())
    return folded


class _Tracer(fx.Tracer):
    """Does not look into convolutions, not into those either whose padding depends on the size."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        return isinstance(module, nn.Conv2d) or super().is_leaf_module(module, name)


def _pairs(graph: fx.Graph) -> Iterator[tuple[str, str]]:
    """Yield the names of two layers that are called once, the second on the first's output and it alone."""
    calls = [node for node in graph.nodes if node.op == "call_module"]
    times = Counter(node.target for node in calls)
    for node in calls:
        before = node.args[0] if node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) > 1:
            continue
        if times[before.target] == times[node.target] == 1:
            yield str(before.target), str(node.target)
