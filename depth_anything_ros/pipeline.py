# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The product in one sentence: image -> network -> relative depth -> metric depth -> depth + cloud.

No ROS here. Everything between the one upload and the one download stays on the device; what is
seen in the image itself (colours, edges, corners) is looked at on the host, where it came from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.cloud.maker import CloudMaker
from depth_anything_ros.cloud.packing import PackedCloud
from depth_anything_ros.cloud.scan import Scan
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.bridging import Bridged
from depth_anything_ros.metric_depth.depth_image import DepthImage, keep_measured
from depth_anything_ros.metric_depth.glance import lattice
from depth_anything_ros.metric_depth.motion import Motion, MotionTracker
from depth_anything_ros.metric_depth.rangefinder import RangeReading
from depth_anything_ros.metric_depth.refinement import metric_depth
from depth_anything_ros.metric_depth.scale import (
    GroundPlane,
    PassRecord,
    ScaleEstimator,
    ScaleFit,
    State,
    unanchored,
)
from depth_anything_ros.metric_depth.sources import gather, Source, Sweep, takes, Verdict
from depth_anything_ros.network.predictor import load_predictor, Predictor
from depth_anything_ros.network.preprocessing import Preprocessor
from depth_anything_ros.poses import Matrix
from depth_anything_ros.prediction import Eye, on_its_device, predict_all
from depth_anything_ros.prediction import Prediction as Prediction
from depth_anything_ros.stopwatch import Stopwatch

_SIGMA_STEP = 8  # every so many pixels enter the median


@dataclass(frozen=True)
class Outputs:
    """Which results somebody wants; the others are not computed."""

    depth: bool = True
    points: bool = True
    scan: bool = False
    stddev: bool = False
    picture: bool = False
    relative: bool = False
    image_rect: bool = False

    @property
    def metric(self) -> bool:
        """Whether any wanted result is in metres."""
        return self.depth or self.points or self.scan or self.stddev


@dataclass(frozen=True, eq=False)
class DepthFrame:
    """Results of one image on the host; None where not wanted or withheld.

    Attributes:
        camera: pinhole camera of the rectified image at full size.
        depth_camera: pinhole camera of all images here (depth.stride applied).
        fit: how metres came about, or why there are none.
        sigma: median standard deviation of the depth over the depth; NaN where no metres are
            computed or it is not known.
        depth: rows x columns, float32 metres with NaN invalid, or uint16 millimetres with 0.
        stddev_m: rows x columns float32, metres.
        points: rows x columns x F float32 cloud; see PackedCloud for the fields.
        point_fields: names of the F fields.
        points_dense: whether no point is NaN.
        points_frame: TF frame of the cloud; empty for the image's own.
        scan: the level scan.
        relative: rows x columns float32, what the network said, in its own unit.
        picture: rows x columns x 3 uint8 BGR, nearer is brighter.
        image_rect: rows x columns x 3 uint8 RGB that the depth is registered to.
        timings_ms: stage -> duration in milliseconds.
    """

    camera: Camera
    depth_camera: Camera
    fit: ScaleFit
    sigma: float = math.nan
    depth: NDArray[np.float32] | NDArray[np.uint16] | None = None
    stddev_m: NDArray[np.float32] | None = None
    points: NDArray[np.float32] | None = None
    point_fields: tuple[str, ...] = ()
    points_dense: bool = False
    points_frame: str = ''
    scan: Scan | None = None
    relative: NDArray[np.float32] | None = None
    picture: NDArray[np.uint8] | None = None
    image_rect: NDArray[np.uint8] | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)


class DepthPipeline:
    """Image, camera and sensor points in; metric depth and cloud out.

    Attributes:
        config: read once per frame, so it may be replaced between frames.
        eye: the first of the two steps, by itself.
    """

    def __init__(self, predictor: Predictor, config: Config = Config()) -> None:
        """Take the network and the parameters; geometry is computed when a camera is first seen.

        Raises:
            ConfigError: camera.mask cannot be read.
        """
        self.config = config
        self.eye = Eye(predictor, config)
        self._scale = ScaleEstimator(config.scale, predictor.spec)
        self._motion = MotionTracker()
        self._measured: Preprocessor | None = None  # predict() may be at the next image already
        self._clouds: CloudMaker | None = None

    @property
    def predictor(self) -> Predictor:
        """The network; anything with a spec, a device and a call will do."""
        return self.eye.predictor

    @predictor.setter
    def predictor(self, predictor: Predictor) -> None:
        self.eye.predictor = predictor

    def process(
        self,
        image: NDArray[np.uint8],
        camera: Camera,
        points: SensorPoints | None = None,
        T_camera_sensor: NDArray[np.float64] | None = None,
        *,
        stamp_ns: int = 0,
        ground: GroundPlane | None = None,
        sources: Sequence[Source] = (),
        ranging: RangeReading | None = None,
        T_fixed_camera: NDArray[np.float64] | None = None,
        outputs: Outputs = Outputs(),
        poses: Mapping[str, Matrix] = {},
    ) -> DepthFrame:
        """Turn one image into metric depth: predict(), then measure().

        Args:
            image: HxWx3 uint8 RGB.
            camera: model of this image, distorted or not; an uncalibrated one gives no metres.
            points: sparse points that anchor the scale, in the sensor frame.
            T_camera_sensor: 4x4 pose of the sensor frame in the camera's optical frame.
            stamp_ns: time of the image in nanoseconds; holding and filtering go by it.
            ground: the ground plane in the rectified optical frame where it is known.
            sources: what else anchors the scale.
            ranging: what a rangefinder says.
            T_fixed_camera: 4x4 pose of the camera's optical frame in a frame that does not move,
                by odometry; with it the camera's motion is a source too.
            outputs: what to compute.
            poses: frame of cloud or scan -> 4x4 pose of the camera's optical frame in it; what
                should stand in another frame is not made.

        Returns:
            The wanted outputs on the host; metric ones only when they are metres.

        Raises:
            BadFrameError: the image is not of the camera's size, or of the mask's, or too large for
                the network.
        """
        prediction = self.predict(image, camera)
        return self.measure(
            prediction,
            points,
            T_camera_sensor,
            stamp_ns=stamp_ns,
            ground=ground,
            sources=sources,
            ranging=ranging,
            T_fixed_camera=T_fixed_camera,
            outputs=outputs,
            poses=poses,
        )

    @property
    def record(self) -> PassRecord | None:
        """What smooth() needs of the image that was measured last, None where it had no camera."""
        return self._scale.record

    def warm_up(self, camera: Camera | None = None, batch: int = 1) -> None:
        """Run a black image through everything once, so that the first real one finds all made.

        Nothing is kept of it but geometry, buffers and compiled kernels.

        Args:
            camera: of the images to come; None for one of the size of the mask where there is one,
                else of the network's input.
            batch: how many images the network is to take at once, if more than one.

        Raises:
            BadFrameError: as process() does for an image of that camera.
        """
        if camera is None:
            side = self.config.model.input_size or self.predictor.spec.input_size
            height, width = (side, side) if self.eye.body is None else self.eye.body.shape
            camera = Camera.from_calibration(width, height, np.diag([width, width, 1.0]))
        black = np.zeros((*camera.size, 3), np.uint8)
        prediction = self.predict(black, camera)
        if batch > 1:
            prepared = self.eye.prepare(black, camera, self.config)
            predict_all(self.predictor, [prepared] * batch, batch)
        if camera.is_calibrated:
            points = _as_predicted(prediction)
            self.measure(prediction, points, np.eye(4), outputs=Outputs(stddev=True))
            self._scale.reset()

    def predict(self, image: NDArray[np.uint8], camera: Camera) -> Prediction:
        """Run the network on one image; see process() for the arguments."""
        return self.eye.predict(image, camera, self.config)

    @on_its_device
    def measure(
        self,
        prediction: Prediction,
        points: SensorPoints | None = None,
        T_camera_sensor: NDArray[np.float64] | None = None,
        *,
        stamp_ns: int = 0,
        ground: GroundPlane | None = None,
        sources: Sequence[Source] = (),
        ranging: RangeReading | None = None,
        T_fixed_camera: NDArray[np.float64] | None = None,
        outputs: Outputs = Outputs(),
        poses: Mapping[str, Matrix] = {},
        bridged: Bridged | None = None,
    ) -> DepthFrame:
        """Make metres of a prediction; points may arrive while the network runs, hence apart.

        See process(). What a recording knows of an image in its second pass, `bridged`, is used
        where the first one found no fit of the image's own; what this pass finds does not count
        there, since it may have seen less of the past.
        """
        config, watch = self.config, prediction.watch
        outputs = _with_frames(outputs, config, poses)
        geometry = prediction.preprocessor
        camera = geometry.rectified
        if geometry is not self._measured or self._clouds is None:
            self._measured, self._clouds = geometry, CloudMaker(camera)
            self._scale.reset()  # another zoom or size: the network's scale is another one

        if points is not None and T_camera_sensor is not None:
            sources = [Sweep(points, T_camera_sensor), *sources]
        motion = self._motion_of(prediction, T_fixed_camera, stamp_ns)
        if motion is not None and not motion.note:
            sources = [*sources, motion]
        verdict = Verdict(None, {})
        if camera.is_calibrated:
            verdict = gather(sources, camera, config.scale)
        anchors = verdict.anchors
        watch.lap('anchors')
        self._scale.config = config.scale
        if camera.is_calibrated:
            fit = self._scale.update(
                prediction.values,
                anchors,
                camera,
                stamp_ns,
                prediction.thumbnail,
                ground,
                prediction.edges,
                ranging,
            )
            if bridged is not None and bridged.line.state is not State.FITTED:
                fit, anchors = bridged.fit(
                    prediction.values, camera, config.scale, self.predictor.spec
                )
            for remark in (verdict.complaint, '' if motion is None else motion.note):
                if remark:
                    fit = replace(fit, reason=f'{fit.reason}; {remark}')
        else:
            reason = 'the camera is not calibrated'
            if self.predictor.spec.canonical_focal_px is not None:
                reason += ', and this network\'s metres need its focal length'
            fit = unanchored(self.predictor.spec.space, stamp_ns, reason)
        watch.lap('fit')

        results: dict[str, Tensor] = {}
        step = config.depth.stride
        published = fit.state is not State.UNANCHORED or fit.assumed
        if published and outputs.metric:
            metric = metric_depth(prediction.values, fit, anchors, config)
            depth_m, stddev_m = metric.depth_m, metric.stddev_m
            if config.depth.keep_measured and 'depth' not in verdict.outvoted:
                for measured_m in _registered(sources, camera, config):
                    depth_m, stddev_m = keep_measured(
                        depth_m, stddev_m, measured_m, config.scale, geometry.border
                    )
            thin = (slice(None, None, _SIGMA_STEP),) * 2
            results['sigma'] = stddev_m[thin] / depth_m[thin]
            watch.lap('metric')
            if outputs.depth:
                results['depth'] = _encode_depth(depth_m[::step, ::step], config.depth.encoding)
            if outputs.stddev:
                results['stddev_m'] = stddev_m[::step, ::step]
            if outputs.points or outputs.scan:
                solid = self._clouds.solid(depth_m, stddev_m, config.cloud, geometry.network_px)
                results['solid'] = solid.depth_m
                if outputs.points and solid.stddev_m is not None:
                    results['unsure'] = solid.stddev_m
            watch.lap('pack')
        if outputs.relative:
            results['relative'] = prediction.values[::step, ::step]
        if outputs.picture:
            picture = _picture(prediction.values, self.predictor.spec.space)
            results['picture'] = picture[::step, ::step]
        arrays = _download(results, watch)

        cloud: PackedCloud | None = None
        scan: Scan | None = None
        solid_m, unsure_m = arrays.pop('solid', None), arrays.pop('unsure', None)
        image = prediction.image
        if outputs.image_rect or (outputs.points and solid_m is not None):
            image = geometry.rectify(image)
        if solid_m is not None:
            if outputs.points:
                cloud = self._clouds.cloud(solid_m, unsure_m, image, config.cloud, poses)
            if outputs.scan:
                scan = self._clouds.scan(solid_m, config, poses)
            watch.lap('pack')
            watch.wait()
        if outputs.image_rect:
            arrays['image_rect'] = image[::step, ::step]
        if 'depth' in arrays and config.depth.encoding == '16UC1':
            arrays['depth'] = arrays['depth'].view(np.uint16)
        return DepthFrame(
            camera,
            camera.strided(step),
            fit,
            _median(arrays.pop('sigma', None)),
            points=cloud.points if cloud else None,
            point_fields=cloud.fields if cloud else (),
            points_dense=cloud.is_dense if cloud else False,
            points_frame=cloud.frame if cloud else '',
            scan=scan,
            timings_ms=watch.milliseconds(),
            **arrays,
        )

    def _motion_of(
        self,
        prediction: Prediction,
        T_fixed_camera: NDArray[np.float64] | None,
        stamp_ns: int,
    ) -> Motion | None:
        config, camera = self.config.scale, prediction.preprocessor.camera
        if T_fixed_camera is None or not camera.is_calibrated or not takes(config.method, 'motion'):
            return None
        return self._motion.update(
            prediction.image, camera, T_fixed_camera, stamp_ns, config
        )


def _with_frames(outputs: Outputs, config: Config, poses: Mapping[str, Matrix]) -> Outputs:
    """Leave out what would stand in a frame that is not known."""
    return replace(
        outputs,
        points=outputs.points and config.cloud.frame in {'', *poses},
        scan=outputs.scan and config.scan.frame in poses,
    )


def _as_predicted(prediction: Prediction) -> SensorPoints:
    """Return some thousand points whose inverse depth is affine in a prediction, as a lidar's."""
    camera = prediction.preprocessor.rectified
    v, u = np.meshgrid(*lattice(*camera.size, 40, 60), indexing='ij')
    said = prediction.values.cpu().numpy()[v, u]
    known = np.isfinite(said)
    pixels = np.stack([u, v, np.ones_like(u)], axis=-1)[known]
    # From 10 m to 2 m; all at about 10 m where all of a black image is alike.
    low, high = said[known].min(initial=np.inf), said[known].max(initial=1e-9)
    inverse_depth = 0.1 + 0.4 * (said[known] - low) / max(high - low, 0.1 * abs(high))
    rays = pixels @ np.linalg.inv(camera.K).T @ camera.R
    xyz_m = (rays / inverse_depth[:, None]).astype(np.float32)
    return SensorPoints(xyz_m, 0, 'none', ring=v[known])


def _registered(
    sources: Sequence[Source], camera: Camera, config: Config
) -> Iterator[NDArray[np.float32]]:
    """Yield what depth cameras say of each pixel of the image, NaN where that is no valid depth."""
    for source in sources:
        if isinstance(source, DepthImage) and takes(config.scale.method, source.name):
            measured_m = source.registered(camera, config.scale)
            if measured_m is not None:
                with np.errstate(invalid='ignore'):
                    valid = (measured_m >= config.depth.min) & (measured_m <= config.depth.max)
                yield np.where(valid, measured_m, np.float32(np.nan))


def load(
    checkpoint: str, device: str = 'auto', parameters: dict[str, Any] | None = None
) -> DepthPipeline:
    """Load a network into a pipeline, for programs without ROS.

    Args:
        checkpoint: hub id, folder, .pth or .onnx file, or 'bundled'.
        device: 'auto', 'cpu', 'cuda' or 'cuda:N'.
        parameters: other parameters of the node by their dotted names, such as
            {'scale.camera_height': 1.2}; config/depth_anything.yaml lists them.

    Raises:
        DepthAnythingError: the checkpoint, the device or a parameter is wrong; it says what to do.
    """
    given = {'model.checkpoint': checkpoint, 'runtime.device': device, **(parameters or {})}
    config = with_values(Config(), given)
    return DepthPipeline(load_predictor(config.model, config.runtime), config)


def _median(values: NDArray[np.float32] | None) -> float:
    """Return the median of what is not NaN, NaN where that is nothing."""
    known = None if values is None else values[np.isfinite(values)]
    return math.nan if known is None or not known.size else float(np.median(known))


def _encode_depth(depth_m: Tensor, encoding: str) -> Tensor:
    """Return float32 metres as they are, or uint16 millimetres (as int16 bits) with 0 invalid."""
    if encoding == '32FC1':
        return depth_m
    millimetres = (depth_m * 1000).round_().nan_to_num_(0.0)
    return millimetres.masked_fill_(millimetres > 65535, 0.0).to(torch.int32).to(torch.int16)


def _picture(prediction: Tensor, space: str) -> Tensor:
    """Colour a prediction for people: HxWx3 uint8 BGR, nearer is brighter, 2-98 % stretched."""
    nearness = prediction if space == 'inverse_depth' else 1 / prediction.clamp_min(1e-6)
    ramp, stretched = _colours(nearness.device)
    low, high = torch.nanquantile(nearness[::8, ::8].flatten(), stretched)
    level = ((nearness - low) / (high - low).clamp_min(1e-9) * 255).nan_to_num_(0.0).clamp_(0, 255)
    return ramp[level.long()]


@lru_cache(maxsize=2)
def _colours(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return 256 BGR colours from far to near, and the quantiles that they are stretched over."""
    ramp = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)
    return torch.from_numpy(ramp[:, 0]).to(device), torch.tensor([0.02, 0.98]).to(device)


def _download(results: dict[str, Tensor], watch: Stopwatch) -> dict[str, Any]:
    """Copy all results to the host with one wait at the end, which the laps need in any case."""
    on_host = {name: tensor.contiguous() for name, tensor in results.items()}
    for name, tensor in on_host.items():
        if tensor.is_cuda:
            staging = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            on_host[name] = staging.copy_(tensor, non_blocking=True)
    watch.lap('download')
    watch.wait()
    return {name: tensor.numpy() for name, tensor in on_host.items()}
