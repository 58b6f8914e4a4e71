# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A teacher's answer to a picture, how sure it is of it, and whether it is worth learning from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, with_values
from depth_anything_ros.errors import BadFrameError, CheckpointError
from depth_anything_ros.network.predictor import Predictor
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.prediction import Eye, predict_all, Prepared

LoadPredictor = Callable[[ModelConfig, RuntimeConfig], Predictor]
Plane = NDArray[np.float32]

_SIZES = 64  # of pictures, whose geometry is kept
_NEAREST_M = 1e-3
_FAR = 0.02  # of the way from the farthest to the nearest: what lies below is sky, or as far


@dataclass(frozen=True, eq=False)
class Label:
    """What a teacher says of a picture.

    Attributes:
        inverse_depth: HxW float32, 0 for sky; in 1/m of a metric teacher, else up to scale and
            shift, which are such that the nearest is 1, and the farthest 0.
        confidence: HxW float32, 0 to 1: 1 less the views' difference in units of mean |d - median|,
            which are those of the ssi loss.
        sky: share of the picture that is sky, or within 2 % of the range of inverse depth (1st to
            99th percentile) from the farthest: many networks say sky in no other way.
        disagreement: mean difference of the views in the same units.
        spread: of inverse depth, 98th less 2nd percentile in shares of the 98th.
    """

    inverse_depth: Plane
    confidence: Plane
    sky: float
    disagreement: float
    spread: float


@dataclass(frozen=True)
class Limits:
    """Pictures beyond these teach nothing, or what is wrong; see Label."""

    most_sky: float = 0.9
    most_disagreement: float = 0.25
    least_spread: float = 0.05

    def verdict(self, label: Label) -> str | None:
        """Return why a label is left out, None where it is not."""
        if not label.spread >= self.least_spread:
            return 'near_constant'
        if label.sky > self.most_sky:
            return 'sky'
        if not label.disagreement <= self.most_disagreement:
            return 'disagreement'
        return None


def fingerprint(checkpoint: Path) -> str:
    """Return the SHA-256 of what a checkpoint's folder or file makes a network of.

    Raises:
        CheckpointError: it cannot be read.
    """
    files = [checkpoint]
    if checkpoint.is_dir():
        files = sorted(file for file in checkpoint.iterdir()
                       if file.suffix in ('.json', '.safetensors', '.bin'))
    whole = hashlib.sha256()
    try:
        for file in files:
            digest = hashlib.sha256()
            with file.open('rb') as data:
                while chunk := data.read(1 << 20):
                    digest.update(chunk)
            whole.update((b'' if file == checkpoint else file.name.encode()) + digest.digest())
    except OSError as error:
        raise CheckpointError(f'{checkpoint} cannot be read: {error.strerror}') from error
    return whole.hexdigest()


class Teacher:
    """A network in float32 that answers to pictures as they are, and mirrored."""

    def __init__(self, load: LoadPredictor, model: ModelConfig, device: str, threads: int,
                 batch: int) -> None:
        """Load it.

        Args:
            load: as load_predictor().
            model: the checkpoint.
            device: as runtime.device.
            threads: as runtime.threads.
            batch: most views of pictures of one size that go through the network at once.

        Raises:
            DepthAnythingError: it cannot be loaded.
        """
        runtime = {'device': device, 'precision': 'float32', 'threads': threads, 'batch': batch}
        self._config = with_values(Config(), {
            **{f'runtime.{name}': value for name, value in runtime.items()},
            'model.checkpoint': model.checkpoint, 'model.input_size': model.input_size})
        # By default PyTorch convolves in TF32 on a GPU, which keeps 10 bits of 23.
        torch.backends.cudnn.allow_tf32 = False
        self._predictor = load(self._config.model, self._config.runtime)
        self._batch, self._eye = batch, lru_cache(_SIZES)(self._new_eye)

    @property
    def is_metric(self) -> bool:
        """Whether its labels are in metres whatever the lens."""
        return _is_metric(self._predictor.spec)

    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Label | BadFrameError]:
        """Label pictures, HxWx3 uint8 RGB; one that the network cannot take is an error."""
        prepared: list[tuple[Prepared, Prepared] | BadFrameError] = []
        for picture in pictures:
            views = picture, np.ascontiguousarray(picture[:, ::-1])
            try:
                prepared.append((self._prepared(views[0]), self._prepared(views[1])))
            except BadFrameError as error:
                prepared.append(error)
        ready = [view for both in prepared if isinstance(both, tuple) for view in both]
        said = iter(zip(ready, predict_all(self._predictor, ready, self._batch)))
        spec, labels = self._predictor.spec, list[Label | BadFrameError]()
        for both in prepared:
            if isinstance(both, BadFrameError):
                labels.append(both)
                continue
            plain, mirrored = (self._finished(*next(said)) for _ in both)
            labels.append(judged(inverse_of(plain, spec), inverse_of(mirrored[:, ::-1], spec),
                                 self.is_metric))
        return labels

    def _new_eye(self, height: int, width: int) -> tuple[Eye, Camera]:
        return Eye(self._predictor, self._config), Camera.uncalibrated(width, height)

    def _prepared(self, picture: NDArray[np.uint8]) -> Prepared:
        eye, camera = self._eye(*picture.shape[:2])
        return eye.prepare(picture, camera, self._config)

    def _finished(self, view: Prepared, said: Tensor) -> Plane:
        eye, _ = self._eye(*view.image.shape[:2])
        values: Plane = eye.finish(view, said, self._config).values.cpu().numpy()
        return values


def _is_metric(spec: ModelSpec) -> bool:
    return spec.metric and spec.canonical_focal_px is None  # the lens of pictures is not known


def inverse_of(values: Plane, spec: ModelSpec) -> Plane:
    """Return what a network said as inverse depth, at least 0; NaN stays."""
    if spec.space == 'depth':
        return np.asarray(1 / np.maximum(values, _NEAREST_M), np.float32)
    lowest = 0.0 if spec.metric else min(0.0, float(np.nanmin(values, initial=0.0)))
    return np.asarray(np.maximum(values - lowest, 0), np.float32)


def judged(plain: Plane, mirrored: Plane, is_metric: bool) -> Label:
    """Make a label of two views, the second of them mirrored back.

    Args:
        plain: HxW inverse depth, at least 0; NaN in the sky.
        mirrored: likewise.
        is_metric: whether both are in 1/m; else scale and shift of each are free.
    """
    solid, sky = np.isfinite(plain) & np.isfinite(mirrored), ~np.isfinite(plain)
    _, low, high, _ = _percentiles(np.nan_to_num(plain))
    if not is_metric and solid.any():
        mirrored = _aligned(mirrored, plain, solid)
        # From 0 to 1: in 16 bits what counts is the difference, and not what lies below all.
        lowest = 0 if sky.any() else plain.min()
        scale = 1 / max(float(np.nanmax(plain) - lowest), 1e-12)
        plain = np.asarray(scale * (plain - lowest), np.float32)
        mirrored = np.asarray(scale * (mirrored - lowest), np.float32)
    plain, mirrored = np.nan_to_num(plain), np.nan_to_num(mirrored)
    unit = max(float(np.abs(plain - np.median(plain)).mean()), 1e-12)
    apart = np.abs(plain - mirrored) / unit
    far, _, _, near = _percentiles(plain)
    sky |= plain <= far + _FAR * (near - far)
    return Label(plain, np.asarray(np.clip(1 - apart, 0, 1), np.float32),
                 float(sky.mean()), float(apart.mean()), (high - low) / max(high, 1e-12))


def _percentiles(values: Plane) -> list[float]:
    return [float(value) for value in np.percentile(values, (1, 2, 98, 99))]


def _aligned(view: Plane, to: Plane, solid: NDArray[np.bool_]) -> Plane:
    """Return scale * view + shift that is nearest to the other."""
    a, b = view[solid].astype(np.float64), to[solid].astype(np.float64)
    a0, b0 = a.mean(), b.mean()
    scale = ((a - a0) * (b - b0)).mean() / max(((a - a0) ** 2).mean(), 1e-12)
    return np.asarray(scale * (view - a0) + b0, np.float32)
