"""RepConv: the folded kernel equals the branches, borders included."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from dctafd.nets.rep_conv import RepConv, reparameterize


def branch_sum(layer: RepConv, x: Tensor) -> Tensor:
    """Run the branches one by one, each 3x3 zero-padded."""
    one_three = functional.conv2d(
        functional.conv2d(x, layer.expand1.weight), layer.expand1_conv3.weight, padding=1
    )
    three_one = functional.conv2d(
        functional.conv2d(x, layer.expand3.weight, padding=1), layer.expand3_conv1.weight
    )
    three = functional.conv2d(x, layer.conv3.weight, padding=1)
    one = functional.conv2d(x, layer.conv1.weight)
    return one_three + three_one + three + one + layer.bias[:, None, None]


def trained_layer() -> RepConv:
    torch.manual_seed(0)
    layer = RepConv(3, 5)
    torch.nn.init.normal_(layer.bias)
    return layer.double()


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (7, 6)])
def test_fold_equals_the_branches_everywhere(size: tuple[int, int]) -> None:
    layer = trained_layer()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = branch_sum(layer, x)
    torch.testing.assert_close(layer(x), expected)
    layer.eval().reparameterize()
    torch.testing.assert_close(layer(x), expected)


def test_deployed_form_is_one_convolution_and_folding_again_changes_nothing() -> None:
    layer = trained_layer().eval()
    layer.reparameterize()
    state = {key: value.clone() for key, value in layer.state_dict().items()}
    layer.reparameterize()
    assert list(state) == ["deployed.weight", "deployed.bias"]
    assert all(torch.equal(state[key], value) for key, value in layer.state_dict().items())


def test_all_branches_learn() -> None:
    layer = trained_layer()
    layer(torch.randn(1, 3, 4, 4, dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in layer.parameters())


def test_folding_is_refused_in_train_mode() -> None:
    with pytest.raises(RuntimeError, match="eval mode"):
        trained_layer().reparameterize()
    with pytest.raises(RuntimeError, match="eval mode"):
        reparameterize(torch.nn.Sequential(RepConv(1, 1)))


def test_zero_start_gives_zero() -> None:
    x = torch.randn(1, 3, 5, 5)
    assert not RepConv(3, 4, zero=True)(x).any()
    assert RepConv(3, 4)(x).any()
