# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The product in one sentence: image -> network -> relative depth -> metric depth -> depth + cloud.

No ROS here. Everything between the one upload and the one download stays on the device; what is
seen in the image itself (colours, edges, corners) is looked at on the host, where it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, wraps
import math
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import ConfigError
from depth_anything_ros.gray_view import GrayView
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.bridging import Bridged
from depth_anything_ros.metric_depth.depth_image import DepthImage, keep_measured
from depth_anything_ros.metric_depth.extrinsics import outline, VIEW_ROWS
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
from depth_anything_ros.network.devices import current
from depth_anything_ros.network.predictor import load_predictor, Predictor
from depth_anything_ros.network.preprocessing import Preprocessor
from depth_anything_ros.network.spec import SKY_FROM
from depth_anything_ros.pointcloud import cloud_rays, pack_cloud, PackedCloud, without_flying
from depth_anything_ros.stopwatch import Stopwatch

P = ParamSpec('P')
R = TypeVar('R')

_SIGMA_STEP = 8  # every so many pixels enter the median
THUMBNAIL = (24, 32)  # rows, columns: enough to tell a scene cut


@dataclass(frozen=True)
class Outputs:
    """Which results somebody wants; the others are not computed."""

    depth: bool = True
    points: bool = True
    stddev: bool = False
    picture: bool = False
    relative: bool = False
    image_rect: bool = False

    @property
    def metric(self) -> bool:
        """Whether any wanted result is in metres."""
        return self.depth or self.points or self.stddev


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
    relative: NDArray[np.float32] | None = None
    picture: NDArray[np.uint8] | None = None
    image_rect: NDArray[np.uint8] | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)


def _on_its_device(
    method: Callable[Concatenate[DepthPipeline, P], R]
) -> Callable[Concatenate[DepthPipeline, P], R]:
    """Run a step on the predictor's device, whichever thread calls, without gradients."""

    @wraps(method)
    def wrapped(self: DepthPipeline, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.inference_mode(), current(self.predictor.device):
            return method(self, *args, **kwargs)

    return wrapped


class DepthPipeline:
    """Image, camera and sensor points in; metric depth and cloud out.

    Attributes:
        predictor: the network; anything with a spec, a device and a call will do.
        config: read once per frame, so it may be replaced between frames.
    """

    def __init__(self, predictor: Predictor, config: Config = Config()) -> None:
        """Take the network and the parameters; geometry is computed when a camera is first seen.

        Raises:
            ConfigError: camera.mask cannot be read.
        """
        self.predictor = predictor
        self.config = config
        self._body = _body(config.camera.mask) if config.camera.mask else None
        self._scale = ScaleEstimator(config.scale, predictor.spec)
        self._motion = MotionTracker()
        self._camera: Camera | None = None
        self._preprocessor: Preprocessor | None = None
        self._measured: Preprocessor | None = None  # predict() may be at the next image already
        self._rays: tuple[int, NDArray[np.float32]] | None = None  # with the stride of the cloud
        self._view: GrayView | None = None  # where edges are looked for

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
        )

    @property
    def record(self) -> PassRecord | None:
        """What smooth() needs of the image that was measured last, None where it had no camera."""
        return self._scale.record

    def warm_up(self, camera: Camera | None = None) -> None:
        """Run a black image through everything once, so that the first real one finds all made.

        Nothing is kept of it but geometry, buffers and compiled kernels.

        Args:
            camera: of the images to come; None for one of the size of the mask where there is one,
                else of the network's input.

        Raises:
            BadFrameError: as process() does for an image of that camera.
        """
        if camera is None:
            side = self.config.model.input_size or self.predictor.spec.input_size
            height, width = (side, side) if self._body is None else self._body.shape
            camera = Camera.from_calibration(width, height, np.diag([width, width, 1.0]))
        prediction = self.predict(np.zeros((*camera.size, 3), np.uint8), camera)
        if camera.is_calibrated:
            points = _as_predicted(prediction)
            self.measure(prediction, points, np.eye(4), outputs=Outputs(stddev=True))
            self._scale.reset()

    @_on_its_device
    def predict(self, image: NDArray[np.uint8], camera: Camera) -> Prediction:
        """Run the network on one image; see process() for the arguments."""
        watch = Stopwatch(self.predictor.device)
        preprocessor = self._preprocessor_for(camera)
        network_input = preprocessor(image)
        watch.lap('preprocess')
        raw, sky = self.predictor(network_input), None
        watch.lap('network')
        if self.predictor.spec.has_sky:
            raw, says_sky = raw
            # What is not a number is not known to be solid either.
            sky = ~(says_sky < SKY_FROM) if self.config.depth.sky == 'auto' else None
        if (factor := self._focal_factor(preprocessor.network_camera)) != 1.0:
            raw = raw * factor
        values = preprocessor.at_image_size(raw, sky)
        watch.lap('upsample')
        edges = None if self._view is None else outline(self._view(image))
        return Prediction(values, image, _thumbnail(image), edges, preprocessor, watch)

    @_on_its_device
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
        bridged: Bridged | None = None,
    ) -> DepthFrame:
        """Make metres of a prediction; points may arrive while the network runs, hence apart.

        See process(). What a recording knows of an image in its second pass, `bridged`, is used
        where the first one found no fit of the image's own; what this pass finds does not count
        there, since it may have seen less of the past.
        """
        config, watch = self.config, prediction.watch
        geometry = prediction.preprocessor
        camera = geometry.rectified
        if geometry is not self._measured:
            self._measured, self._rays = geometry, None
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
            if outputs.points:
                thin = (slice(None, None, config.cloud.stride),) * 2
                solid_m = without_flying(depth_m, config.cloud.edge_threshold, geometry.network_px)
                results['solid'] = solid_m[thin]
                if config.cloud.stddev:
                    results['unsure'] = stddev_m[thin]
            watch.lap('pack')
        if outputs.relative:
            results['relative'] = prediction.values[::step, ::step]
        if outputs.picture:
            picture = _picture(prediction.values, self.predictor.spec.space)
            results['picture'] = picture[::step, ::step]
        arrays = _download(results, watch)

        cloud: PackedCloud | None = None
        coloured = outputs.image_rect or 'solid' in arrays
        image = geometry.rectify(prediction.image) if coloured else prediction.image
        if 'solid' in arrays:
            stride = config.cloud.stride
            cloud = pack_cloud(
                arrays.pop('solid'),
                self._rays_for(camera, stride),
                image[::stride, ::stride],
                arrays.pop('unsure', None),
                config.cloud.organized,
            )
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

    def _preprocessor_for(self, camera: Camera) -> Preprocessor:
        if self._preprocessor is None or camera is not self._camera:
            self._preprocessor = Preprocessor(
                camera,
                self.predictor.spec,
                self.config.model.input_size,
                self.predictor.device,
                self.config.limits.network_pixels,
                self._body,
            )
            self._camera, self._view = camera, _gray_view(camera)
        return self._preprocessor

    def _rays_for(self, camera: Camera, stride: int) -> NDArray[np.float32]:
        if self._rays is None or self._rays[0] != stride:
            self._rays = stride, cloud_rays(camera, stride)
        return self._rays[1]

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


def _gray_view(camera: Camera) -> GrayView | None:
    """Return the small rectified view of a camera's images, None where its rays are not known."""
    if not camera.is_calibrated:
        return None
    rows = min(camera.height, VIEW_ROWS)
    columns = max(1, round(camera.width * rows / camera.height))
    return GrayView(camera, camera.R, camera.rectified().scaled(columns, rows))


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


def _thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    # Of some pixels in each: the average of all takes longer and tells no more.
    step = max(1, min(n // (4 * m) for n, m in zip(image.shape, THUMBNAIL)))
    few = np.ascontiguousarray(image[::step, ::step])
    small = cv2.resize(few, THUMBNAIL[::-1], interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


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
