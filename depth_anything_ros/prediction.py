# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""image -> network -> what it says of each pixel, before anything makes metres of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config
from depth_anything_ros.errors import ConfigError
from depth_anything_ros.gray_view import GrayView
from depth_anything_ros.metric_depth.extrinsics import outline, VIEW_ROWS
from depth_anything_ros.network.devices import current
from depth_anything_ros.network.predictor import Predictor
from depth_anything_ros.network.preprocessing import Preprocessor
from depth_anything_ros.network.spec import SKY_FROM
from depth_anything_ros.stopwatch import Stopwatch

P = ParamSpec('P')
R = TypeVar('R')

THUMBNAIL = (24, 32)  # rows, columns: enough to tell a scene cut


class OnDevice(Protocol):
    """What has a predictor."""

    @property
    def predictor(self) -> Predictor:
        """The network."""


Self = TypeVar('Self', bound=OnDevice)


def on_its_device(
    method: Callable[Concatenate[Self, P], R]
) -> Callable[Concatenate[Self, P], R]:
    """Run a step on the predictor's device, whichever thread calls, without gradients."""

    @wraps(method)
    def wrapped(self: Self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(), current(self.predictor.device):
            return method(self, *args, **kwargs)

    return wrapped


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image that is ready for the network.

    Attributes:
        network_input: 1x3xhxw float32 on the device.
        image: HxWx3 uint8 RGB on the host, as it came.
        preprocessor: the geometry it was made with.
        view: where its edges are looked for; None without a calibrated camera.
        watch: the running stopwatch of this frame.
    """

    network_input: Tensor
    image: NDArray[np.uint8]
    preprocessor: Preprocessor
    view: GrayView | None
    watch: Stopwatch


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network said of one image, on the device, before anything made metres of it.

    Attributes:
        values: HxW float32 at image size, in the model's space, and for a metric model in metres
            or 1/m (focal correction applied); NaN in the sky, and where
            rectification left nothing to see, whatever the network made of that.
        image: HxWx3 uint8 RGB on the host, as it came.
        thumbnail: small float32 gray image on the host, by which scene cuts are told.
        edges: outline of the rectified image on the host, by which the extrinsic is judged; None
            without a calibrated camera.
        preprocessor: the geometry it was made with.
        watch: the running stopwatch of this frame.
    """

    values: Tensor
    image: NDArray[np.uint8]
    thumbnail: NDArray[np.float32]
    edges: NDArray[np.float32] | None
    preprocessor: Preprocessor
    watch: Stopwatch


class Eye:
    """One camera's images through the network, which it may share with other cameras.

    Attributes:
        predictor: the network.
        body: HxW bool, true where images show the robot itself; None without camera.mask.
    """

    def __init__(self, predictor: Predictor, config: Config) -> None:
        """Take the network; geometry is computed when a camera is first seen.

        Raises:
            ConfigError: camera.mask cannot be read.
        """
        self.predictor = predictor
        self.body = _body(config.camera.mask) if config.camera.mask else None
        self._camera: Camera | None = None
        self._preprocessor: Preprocessor | None = None
        self._view: GrayView | None = None  # where edges are looked for

    @on_its_device
    def predict(self, image: NDArray[np.uint8], camera: Camera, config: Config) -> Prediction:
        """Run the network on one image.

        Args:
            image: HxWx3 uint8 RGB.
            camera: model of this image.
            config: the parameters.

        Raises:
            BadFrameError: the image is not of the camera's size, or of the mask's, or too large for
                the network.
        """
        prepared = self.prepare(image, camera, config)
        return self.finish(prepared, self.predictor(prepared.network_input), config)

    @on_its_device
    def prepare(self, image: NDArray[np.uint8], camera: Camera, config: Config) -> Prepared:
        """Make one image ready for the network; see predict()."""
        watch = Stopwatch(self.predictor.device)
        preprocessor = self._preprocessor_for(camera, config)
        network_input = preprocessor(image)
        watch.lap('preprocess')
        return Prepared(network_input, image, preprocessor, self._view, watch)

    @on_its_device
    def finish(self, prepared: Prepared, said: Tensor, config: Config) -> Prediction:
        """Bring what the network said to the size of the image.

        Args:
            prepared: the image.
            said: hxw, or 2xhxw with sky.
            config: the parameters.
        """
        watch, preprocessor, image = prepared.watch, prepared.preprocessor, prepared.image
        raw, sky = said, None
        watch.lap('network')
        if self.predictor.spec.has_sky:
            raw, says_sky = said
            sky = says_sky >= SKY_FROM if config.depth.sky == 'auto' else None
        if (factor := self._focal_factor(preprocessor.network_camera)) != 1.0:
            raw = raw * factor
        values = preprocessor.at_image_size(raw, sky)
        watch.lap('upsample')
        edges = None if prepared.view is None else outline(prepared.view(image))
        return Prediction(values, image, _thumbnail(image), edges, preprocessor, watch)

    def _preprocessor_for(self, camera: Camera, config: Config) -> Preprocessor:
        if self._preprocessor is None or camera is not self._camera:
            self._preprocessor = Preprocessor(
                camera,
                self.predictor.spec,
                config.model.input_size,
                self.predictor.device,
                config.limits.network_pixels,
                self.body,
            )
            self._camera, self._view = camera, _gray_view(camera)
        return self._preprocessor

    def _focal_factor(self, network_camera: Camera) -> float:
        """Return what a canonical-focal model's output is multiplied by to be metres, or 1/m.

        Z = output * f / f_canonical with f = (fx + fy) / 2 at network-input resolution (Depth
        Anything 3, Metric3D), f = fx where the image is stretched. Depth Pro says 1 / Z, and
        f_canonical is the width of its input: 1 / Z = output * width / f.
        """
        canonical_px = self.predictor.spec.canonical_focal_px
        if canonical_px is None or not network_camera.is_calibrated:
            return 1.0
        fx, fy = float(network_camera.K[0, 0]), float(network_camera.K[1, 1])
        spec = self.predictor.spec
        factor = (fx if spec.resize == 'stretch' else (fx + fy) / 2) / canonical_px
        return factor if spec.space == 'depth' else 1 / factor


def predict_all(
    predictor: Predictor, prepared: Sequence[Prepared], most: int = 1
) -> list[Tensor]:
    """Run images, of whichever cameras, through the network.

    Those of one size go at once where most is more than one. A batch is always of `most` images,
    black ones where there are fewer, so that the network meets two shapes of each size and no more.

    Args:
        predictor: the network; it must take Nx3xhxw where most is more than one.
        prepared: the images.
        most: how many go at once.

    Returns:
        For each what the network said, hxw, or 2xhxw with sky.
    """
    inputs = [each.network_input for each in prepared]
    said: dict[int, Tensor] = {}
    with torch.inference_mode(), current(predictor.device):
        for shape in dict.fromkeys(each.shape for each in inputs):
            same = [i for i, each in enumerate(inputs) if each.shape == shape]
            for first in range(0, len(same), most):
                chunk = same[first : first + most]
                if len(chunk) == 1:
                    said[chunk[0]] = predictor(inputs[chunk[0]])
                    continue
                batch = inputs[0].new_zeros((most, *shape[1:]))
                torch.cat([inputs[i] for i in chunk], out=batch[: len(chunk)])
                said.update(zip(chunk, predictor(batch)))
    return [said[i] for i in range(len(inputs))]


def _body(path: str) -> NDArray[np.bool_]:
    """Read a mask; true where it is 0.

    Raises:
        ConfigError: it is no picture.
    """
    mask = cv2.imread(path, cv2.IMREAD_GRAYSCALE) if Path(path).is_file() else None
    if mask is None:
        raise ConfigError(
            f'camera.mask "{path}" is no picture that can be read: give the path of a PNG file of '
            'the size of the images, 0 where they show the robot itself'
        )
    body: NDArray[np.bool_] = np.asarray(mask) == 0
    return body


def _gray_view(camera: Camera) -> GrayView | None:
    """Return the small rectified view of a camera's images, None where its rays are not known."""
    if not camera.is_calibrated:
        return None
    rows = min(camera.height, VIEW_ROWS)
    columns = max(1, round(camera.width * rows / camera.height))
    return GrayView(camera, camera.R, camera.rectified().scaled(columns, rows))


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    # Of some pixels in each: the average of all takes longer and tells no more.
    step = max(1, min(n // (4 * m) for n, m in zip(image.shape, THUMBNAIL)))
    few = np.ascontiguousarray(image[::step, ::step])
    small = cv2.resize(few, THUMBNAIL[::-1], interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
