"""Gains and shifts of batch norms."""

import pytest
import torch

from dctafd.nets.fde_net import SUMMARY_CHANNELS
from dctafd.nets.modulation import Modulation


def test_convolutions_in_a_graph_give_the_same_gains_and_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    modulation = Modulation([3, 5], 4).eval()
    for parameter in modulation.last.parameters():
        torch.nn.init.normal_(parameter)
    summary, fdm = torch.randn(2, SUMMARY_CHANNELS), torch.rand(2, 2, 4, 4)
    fdm[1, 0] = 0  # nothing has drifted
    with torch.no_grad():
        expected = modulation(summary, fdm)
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
        found = modulation(summary, fdm)
    assert [affine.gain.shape for affine in found] == [(2, 3, 1, 1), (2, 5, 1, 1)]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.gain, other.gain)
        torch.testing.assert_close(one.shift, other.shift)
        assert torch.equal(one.gain[1], torch.ones_like(one.gain[1]))
        assert not one.shift[1].any()
