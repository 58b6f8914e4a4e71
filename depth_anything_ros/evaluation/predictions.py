# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Where the predictions to be scored come from: a network, or a folder of .npy files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.files import array, Image
from depth_anything_ros.evaluation.protocols import Protocol
from depth_anything_ros.evaluation.samples import Picture

Prediction = NDArray[np.floating[Any]]

# Picture and (height, width) of its uncropped truth -> prediction of the cropped image.
Predict = Callable[[Picture, tuple[int, int]], Prediction]


class Source(NamedTuple):
    """What predicts.

    Attributes:
        predict: makes the predictions.
        space: what they are, 'inverse_depth' or 'depth'.
        arithmetic: for people, what computes them.
        metric: whether they are in metres, or 1/m. Those that depend on the focal length are not:
            pictures come without it.
    """

    predict: Predict
    space: str
    arithmetic: str
    metric: bool


def from_folder(folder: str | Path, samples: Sequence[Picture], protocol: Protocol) -> Predict:
    """Read saved predictions.

    Args:
        folder: holds NAME.npy, the image's path inside the data set, or STEM.npy, its last part,
            where no two images share it. HxW of any size: that of the protocol's crop is taken as
            such, any other is resized (bilinear) to the whole image.
        samples: what will be asked for.
        protocol: how the image is cropped.

    Raises:
        DatasetError: a prediction is missing; when called, that it is no HxW array.
    """
    stems = Counter(Path(sample.name).name for sample in samples)
    paths = {sample.name: Path(folder) / f'{sample.name}.npy' for sample in samples}
    for name, path in paths.items():
        if not path.is_file() and stems[path.stem] == 1:
            paths[name] = Path(folder) / path.name
    missing = [path for path in paths.values() if not path.is_file()]
    if missing:
        repeated = stems.most_common(1)[0][1] > 1
        raise DatasetError(
            f'{len(missing)} of {len(paths)} predictions are missing, first {missing[0]}: there '
            f'must be one .npy per image, named by its {"path" if repeated else "stem"}'
        )

    def predict(sample: Picture, size: tuple[int, int]) -> Prediction:
        loaded: Prediction = array(paths[sample.name])
        if loaded.ndim != 2 or not np.issubdtype(loaded.dtype, np.floating):
            raise DatasetError(
                f'{paths[sample.name]} holds {loaded.dtype} of shape {loaded.shape}; expected HxW '
                'floating point numbers'
            )
        if loaded.shape == protocol.cropped(np.empty(size, dtype=bool)).shape:
            return loaded
        return protocol.cropped(_resized(loaded, size))

    return predict


def from_network(
    checkpoint: str, device: str, protocol: Protocol, precision: str = 'float32'
) -> Source:
    """Load a network that predicts the protocol's crop of an image.

    Args:
        checkpoint: hub id, folder in Hugging Face format, or official .pth file.
        device: auto, cpu, cuda or cuda:N.
        protocol: how the image is cropped.
        precision: as runtime.precision; a score is of the network, not of what a machine's fastest
            arithmetic makes of it, unless asked for.

    Raises:
        BackendError: the precision is not to be had.
        CheckpointError: the checkpoint cannot be loaded.
        DeviceError: the device is not there.
    """
    # Saved predictions are scored without these.
    from depth_anything_ros.camera import Camera
    from depth_anything_ros.config import ModelConfig, RuntimeConfig
    from depth_anything_ros.network.predictor import load_predictor
    from depth_anything_ros.network.preprocessing import Preprocessor

    runtime = RuntimeConfig(device=device, precision=precision)
    network = load_predictor(ModelConfig(checkpoint=checkpoint), runtime)

    def predict_image(image_rgb: Image) -> Prediction:
        height, width = image_rgb.shape[:2]
        camera = Camera(width, height, np.eye(3))  # any pinhole: its focal length is not used
        prepare = Preprocessor(camera, network.spec, 0, network.device)
        prediction = network(prepare(image_rgb)).float().cpu().numpy()
        prediction = prediction[0] if network.spec.has_sky else prediction
        return _resized(prediction, (height, width))

    def predict(sample: Picture, size: tuple[int, int]) -> Prediction:
        image = sample.image()
        if image.shape[:2] != size:
            raise DatasetError(f'{sample.name}: the image is {image.shape[:2]}, its truth {size}')
        return predict_image(np.ascontiguousarray(protocol.cropped(image)))

    metric = network.spec.metric and network.spec.canonical_focal_px is None
    return Source(predict, network.spec.space, network.backend, metric)


def _resized(prediction: Prediction, size: tuple[int, int]) -> Prediction:
    """Resize bilinearly, pixel centres kept (align_corners False)."""
    if prediction.shape == size:
        return prediction
    single = prediction.astype(np.float32)
    resized = cv2.resize(single, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.float32)
