"""Muon, an optimiser that orthogonalises each weight matrix's momentum (Jordan et al., 2024), in fp32."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


class Muon(torch.optim.Optimizer):
    """Nesterov momentum whose update is replaced by its nearest semi-orthogonal matrix.

    torch.optim.Muon takes matrices only and works in bfloat16, which is slow on CPUs without its
    instructions; this one also takes convolution weights and stays in the weights' own type.

    Args:
        parameters: weights of two or four dimensions; rows are the first one.
        lr: learning rate; an update's root mean square is about 0.2 of it, as with AdamW.
        momentum: of the gradient's moving average.
        weight_decay: decoupled, multiplied by the learning rate.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: nn.Parameter, group: dict[str, float]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
        step = parameter.grad.lerp(state["momentum"], group["momentum"])
        matrix = orthogonalise(step.flatten(1))
        scale = 0.2 * max(matrix.shape) ** 0.5
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.sub_(matrix.view_as(step) * (group["lr"] * scale))


def orthogonalise(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """Return a matrix (R, C) with nearly the same singular vectors and singular values near 1.

    Args:
        matrix: (R, C).
        iterations: Newton-Schulz steps.
    """
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    identity = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor = identity
    for _ in range(iterations):  # on the Gram matrix alone: it is much smaller than a convolution's weights
        step = 3.4445 * identity - 4.7750 * gram + 2.0315 * gram @ gram
        factor = step @ factor
        gram = step @ step @ gram
    wide = factor @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide
