# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The whole pipeline on a scene of known depth, with only the network a fake."""

from dataclasses import replace
import math

import cv2
import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, parameters, with_values
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.pipeline import DepthPipeline, Outputs
from depth_anything_ros.poses import pose_to_matrix
from helpers import (
    edges,
    ExactPredictor,
    NearnessPredictor,
    RowPredictor,
    SCENE_CAMERA,
    scene_depth_image,
    scene_image,
    scene_lidar,
    SCENE_T_CAMERA_LIDAR,
)
from moving_camera import CAMERA, look, pose, SECOND

MOVING_M = 0.08  # from one image to the next, a tenth of a second later
EVERYTHING = Outputs(*[True] * 7)
TRUTH_M = scene_depth_image()
AWAY_FROM_EDGES = ~edges(TRUTH_M, 3)


def sensor_points(stamp_ns=0):
    """Return the scene's lidar sweep."""
    xyz_m, ring = scene_lidar()
    return SensorPoints(xyz_m, stamp_ns, 'lidar', None, ring)


def process(pipeline, stamp_ns=0, outputs=EVERYTHING, points=True, camera=SCENE_CAMERA):
    """Run one frame of the scene."""
    return pipeline.process(
        scene_image(),
        camera,
        sensor_points(stamp_ns) if points else None,
        SCENE_T_CAMERA_LIDAR,
        stamp_ns=stamp_ns,
        outputs=outputs,
    )


def assert_true_depth(depth_m, truth_m=TRUTH_M, where=AWAY_FROM_EDGES):
    """Check depth to 2 cm or 0.5 %, and that all of it is there."""
    error_m = np.abs(depth_m - truth_m)
    assert np.isfinite(depth_m[where]).all()
    assert (error_m <= np.maximum(0.02, 0.005 * truth_m))[where].all()


def test_depth_and_cloud_of_a_known_scene():
    frame = process(DepthPipeline(ExactPredictor()))
    assert frame.fit.state is State.FITTED and frame.fit.method == 'lidar'
    assert frame.fit.scale == pytest.approx(0.4, rel=2e-3)
    assert frame.fit.shift == pytest.approx(-0.01, abs=2e-4)
    assert frame.depth.dtype == np.float32
    assert_true_depth(frame.depth)
    x, y, z = (frame.points[..., i] for i in range(3))
    assert_true_depth(z)
    rays = SCENE_CAMERA.rays()
    seen = np.isfinite(z)
    np.testing.assert_allclose(x[seen], (rays[..., 0] * z)[seen], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(y[seen], (rays[..., 1] * z)[seen], rtol=1e-5, atol=1e-5)
    rgb = np.ascontiguousarray(frame.points[..., 3]).view(np.uint32)
    red, green, blue = (rgb >> shift & 255 for shift in (16, 8, 0))
    np.testing.assert_array_equal(np.stack([red, green, blue], axis=-1), scene_image())
    assert (frame.stddev_m[np.isfinite(frame.depth)] > 0).all()
    assert frame.sigma == pytest.approx(np.nanmedian(frame.stddev_m / frame.depth), rel=0.05)
    assert frame.relative.shape == frame.picture.shape[:2] == TRUTH_M.shape
    # Nearer is brighter: the ground at our feet against the wall.
    assert frame.picture[470].mean() > frame.picture[5].mean() + 50
    np.testing.assert_array_equal(frame.image_rect, scene_image())


def test_only_what_is_asked_for_is_there():
    pipeline = DepthPipeline(ExactPredictor())
    frame = process(pipeline, outputs=Outputs(depth=False, points=False, picture=True))
    assert frame.picture is not None
    assert (frame.depth, frame.points, frame.stddev_m, frame.relative) == (None,) * 4
    assert 'metric' not in frame.timings_ms


def test_without_anchors_metres_are_withheld_and_relative_is_not():
    frame = process(DepthPipeline(ExactPredictor()), points=False)
    assert frame.fit.state is State.UNANCHORED and frame.fit.reason
    assert (frame.depth, frame.points, frame.stddev_m) == (None, None, None)
    assert np.isnan(frame.sigma)
    expected = (1 / TRUTH_M + 0.01) / 0.4
    np.testing.assert_allclose(
        frame.relative[AWAY_FROM_EDGES], expected[AWAY_FROM_EDGES], rtol=5e-3
    )


def test_assumed_scale_publishes_and_stays_unanchored():
    values = {
        'scale.unanchored': 'assume',
        'scale.assumed_scale': 0.4,
        'scale.assumed_shift': -0.01,
    }
    frame = process(DepthPipeline(ExactPredictor(), with_values(Config(), values)), points=False)
    assert frame.fit.state is State.UNANCHORED and frame.fit.assumed
    assert_true_depth(frame.depth)


def test_fit_is_held_and_then_given_up():
    pipeline = DepthPipeline(ExactPredictor())
    process(pipeline, stamp_ns=0)
    held = process(pipeline, stamp_ns=1_900_000_000, points=False)
    assert held.fit.state is State.HELD
    assert_true_depth(held.depth)
    late = process(pipeline, stamp_ns=2_100_000_000, points=False)
    assert late.fit.state is State.UNANCHORED and late.depth is None


def test_millimetres_stride_and_camera():
    values = {'depth.encoding': '16UC1', 'depth.stride': 4, 'depth.max': 15.0}
    frame = process(DepthPipeline(ExactPredictor(), with_values(Config(), values)))
    assert frame.depth.dtype == np.uint16 and frame.depth.shape == (120, 160)
    assert frame.depth_camera.size == (120, 160)
    np.testing.assert_allclose(frame.depth_camera.K[0], [125, 0, 80.5])
    wall = TRUTH_M[::4, ::4] == 18
    where = AWAY_FROM_EDGES[::4, ::4]
    assert (frame.depth[wall & where] == 0).all()  # beyond depth.max: invalid, no wall at 15 m
    inside = where & (TRUTH_M[::4, ::4] < 14.5)
    truth_mm = 1000 * TRUTH_M[::4, ::4]
    error_mm = np.abs(frame.depth - truth_mm)[inside]
    assert (error_mm <= np.maximum(20.5, 0.005 * truth_mm[inside])).all()
    assert frame.image_rect.shape == frame.picture.shape == (120, 160, 3)


def test_depth_beyond_65_m_does_not_wrap_in_millimetres():
    values = {
        'depth.encoding': '16UC1',
        'depth.max': 200.0,
        'scale.unanchored': 'assume',
        'scale.assumed_scale': 0.4 / 5,  # the scene five times as large: the wall is at 90 m
        'scale.assumed_shift': -0.01 / 5,
    }
    frame = process(DepthPipeline(ExactPredictor(), with_values(Config(), values)), points=False)
    wall = (TRUTH_M == 18) & AWAY_FROM_EDGES
    assert (frame.depth[wall] == 0).all()
    box = (TRUTH_M == 9) & AWAY_FROM_EDGES
    np.testing.assert_allclose(frame.depth[box], 45_000, rtol=5e-3)


def test_distorted_camera_gives_rectified_depth_with_nan_border():
    # Barrel distortion: the rectified camera with P = K sees beyond the image's corners when
    # P's focal length is shorter.
    K = SCENE_CAMERA.K
    P = np.hstack([np.diag([0.7, 0.7, 1]) @ K + [[0, 0, 0.3 * 322], [0, 0, 0.3 * 236], [0, 0, 0]],
                   np.zeros((3, 1))])
    camera = Camera.from_calibration(640, 480, K, [-0.25, 0.06, 0, 0, 0], P=P)
    predictor = ExactPredictor(camera=camera.rectified())
    frame = process(DepthPipeline(predictor), camera=camera)
    assert not frame.camera.is_distorted
    np.testing.assert_allclose(frame.camera.K, P[:, :3])
    truth_m = scene_depth_image(frame.camera)
    border = np.isnan(frame.depth)
    assert border[0, 0] and border[-1, -1] and not border[240, 320]
    assert_true_depth(frame.depth, truth_m, ~edges(truth_m, 3) & ~border)
    assert np.isnan(frame.points[0, 0, :3]).all() and np.isnan(frame.relative[0, 0])
    # Where the border is, by OpenCV: rays that no raw pixel shows.
    D = np.array([-0.25, 0.06, 0, 0, 0])
    u, v = cv2.initUndistortRectifyMap(K, D, None, P[:, :3], (640, 480), cv2.CV_32FC1)
    beyond_px = np.maximum(np.abs(u - 319.5) - 320, np.abs(v - 239.5) - 240)
    assert 0.05 < (beyond_px > 0).mean() < 0.5
    np.testing.assert_array_equal(border[beyond_px > 0.01], True)
    known_inside = (beyond_px < -0.01) & ~edges(truth_m, 3)
    np.testing.assert_array_equal(border[known_inside], False)


class BorderPredictor(ExactPredictor):
    """An exact network that calls what rectification leaves black a thing close by."""

    def __init__(self, camera, seen):
        super().__init__(camera=camera)
        self._seen = seen

    def __call__(self, image):
        values = super().__call__(image)
        size = values.shape[::-1]
        seen = cv2.resize(self._seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        return torch.where(torch.from_numpy(seen).bool(), values, 4.0)


@pytest.mark.parametrize('method', ['lidar', 'camera_height'])
def test_the_black_border_of_rectification_anchors_nothing(method):
    # Pincushion distortion and a short focal length: more than 40 % of the image shows nothing.
    K, D = SCENE_CAMERA.K, [0.12, 0.0, 0, 0, 0]
    P = K.copy()
    P[0, 0], P[1, 1] = 390.0, 398.0
    camera = Camera.from_calibration(640, 480, K, D, P=np.hstack([P, np.zeros((3, 1))]))
    u, v = cv2.initUndistortRectifyMap(K, np.array(D), None, P, (640, 480), cv2.CV_32FC1)
    seen = np.maximum(np.abs(u - 319.5) - 320, np.abs(v - 239.5) - 240) < 0
    assert 0.4 < 1 - seen.mean() < 0.6
    config = with_values(Config(), {'scale.method': method, 'scale.camera_height': 1.5})
    predictor = BorderPredictor(camera.rectified(), seen)
    frame = process(DepthPipeline(predictor, config), camera=camera)
    assert (frame.fit.state, frame.fit.method) == (State.FITTED, method)
    assert frame.fit.scale == pytest.approx(0.4, rel=5e-3)
    assert frame.fit.shift == pytest.approx(-0.01, abs=1e-3)
    truth_m = scene_depth_image(frame.camera)
    middle = cv2.erode(seen.astype(np.uint8), np.ones((9, 9))) > 0
    assert_true_depth(frame.depth, truth_m, ~edges(truth_m, 3) & middle)
    assert np.isnan(frame.depth[~seen]).all() and np.isnan(frame.relative[~seen]).all()
    # What is shown to people is stretched over what is seen.
    assert frame.picture[middle].max() > 200 and (frame.picture[u < -1] < 10).all()


def test_rectifying_rotation_turns_the_sensor_points_too():
    R = cv2.Rodrigues(np.array([0.0, np.deg2rad(4.0), 0.0]))[0]
    P = np.hstack([SCENE_CAMERA.K, np.zeros((3, 1))])
    camera = Camera.from_calibration(640, 480, SCENE_CAMERA.K, R=R, P=P, rectified=True)
    turned = SCENE_T_CAMERA_LIDAR.copy()
    turned[:3] = R.T @ turned[:3]  # the scene stands in the rectified frame
    pipeline = DepthPipeline(ExactPredictor())
    frame = pipeline.process(scene_image(), camera, sensor_points(), turned)
    assert frame.fit.state is State.FITTED
    assert_true_depth(frame.depth)


class MetricPredictor(ExactPredictor):
    """A metric network that is true at a canonical focal length of 300 px."""

    def __init__(self, canonical_focal_px):
        super().__init__(scale=1.0, shift=0.0)
        self.spec = ModelSpec(
            'metric', 'depth', metric=True, canonical_focal_px=canonical_focal_px
        )

    def __call__(self, image):
        height, width = image.shape[-2:]
        focal_px = (500 * width / 640 + 510 * height / 480) / 2
        factor = 1.0 if self.spec.canonical_focal_px is None else 300 / focal_px
        return factor / super().__call__(image)


@pytest.mark.parametrize('canonical_focal_px', [None, 300.0])
def test_metric_checkpoint_is_metres_without_any_fit(canonical_focal_px):
    frame = process(DepthPipeline(MetricPredictor(canonical_focal_px)), points=False)
    assert frame.fit.state is State.METRIC and frame.fit.method == 'checkpoint'
    error = np.abs(frame.depth / TRUTH_M - 1)[AWAY_FROM_EDGES]
    assert np.median(error) < 3e-3 and error.max() < 0.03


SKY_ROWS = 160  # of the scene's image; 126 of the network's 378


class SkyPredictor:
    """A network with a sky head: z = 2 p - 1 below its sky, and a near surface in it.

    Only the sky plane tells: `share` of the image's rows stand at the threshold, the others below.
    """

    def __init__(self, share=SKY_ROWS / 480, metric=False):
        self.spec = ModelSpec(
            'sky', 'depth', metric=metric, canonical_focal_px=300.0 if metric else None,
            input_size=504, resize='upper_bound', has_sky=True,
        )
        self.device = torch.device('cpu')
        self._share = share

    def __call__(self, image):
        height, width = image.shape[-2:]
        assert (height, width) == (378, 504)
        depth_m = scene_depth_image(SCENE_CAMERA.scaled(width, height))
        is_sky = (np.arange(height) + 0.5)[:, None] / height < self._share + np.zeros(width)
        depth = np.where(is_sky, 0.6, (depth_m + 1) / 2)
        return torch.from_numpy(np.stack([depth, np.where(is_sky, 0.3, 0.29)])).float()


def test_sky_is_no_depth_and_no_anchor():
    frame = process(DepthPipeline(SkyPredictor()))
    # The lidar has points in the sky (rain, a cable): with them the line would be another one.
    assert (scene_lidar()[1] == 0).any()
    assert frame.fit.state is State.FITTED and frame.fit.space == 'depth'
    assert (frame.fit.scale, frame.fit.shift) == pytest.approx((2.0, -1.0), rel=5e-3)
    for plane in (frame.depth, frame.stddev_m, frame.relative, frame.points[..., 2]):
        assert np.isnan(plane[:SKY_ROWS]).all()
    below = AWAY_FROM_EDGES.copy()
    below[:SKY_ROWS] = False
    assert_true_depth(frame.depth, where=below)  # refined, and not dragged to what the sky says
    assert frame.picture[:SKY_ROWS].max() < 10 < frame.picture[470].mean()


def test_sky_may_be_switched_off_while_running():
    pipeline = DepthPipeline(SkyPredictor())
    pipeline.config = with_values(Config(), {'depth.sky': 'off'})
    frame = process(pipeline)
    assert np.isfinite(frame.relative).all() and np.isfinite(frame.relative[0]).all()
    pipeline.config = with_values(Config(), {'depth.sky': 'auto'})
    assert np.isnan(process(pipeline, stamp_ns=100_000_000).relative[:SKY_ROWS]).all()


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('metric', [False, True])
def test_an_image_of_nothing_but_sky(metric):
    pipeline = DepthPipeline(SkyPredictor(metric=metric))
    assert process(pipeline).fit.state is State.FITTED
    pipeline.predictor = SkyPredictor(share=1.0, metric=metric)
    frame = process(pipeline, stamp_ns=100_000_000)
    assert frame.fit.state is State.HELD
    assert np.isnan(frame.depth).all() and np.isnan(frame.sigma)
    assert np.isnan(frame.relative).all() and (frame.picture < 10).all()
    pipeline.predictor = SkyPredictor(metric=metric)
    assert process(pipeline, stamp_ns=200_000_000).fit.state is State.FITTED


def test_a_canonical_focal_length_without_calibration_gives_no_metres():
    pipeline = DepthPipeline(SkyPredictor(metric=True))
    frame = process(pipeline, camera=Camera.uncalibrated(640, 480), points=False)
    assert frame.fit.state is State.UNANCHORED and frame.depth is None
    assert 'metres need its focal length' in frame.fit.reason
    np.testing.assert_allclose(frame.relative[300:][AWAY_FROM_EDGES[300:]],
                               ((TRUTH_M + 1) / 2)[300:][AWAY_FROM_EDGES[300:]], rtol=0.02)


def test_parameters_may_change_between_frames():
    pipeline = DepthPipeline(ExactPredictor())
    assert process(pipeline).depth.shape == (480, 640)
    pipeline.config = replace(pipeline.config, depth=replace(pipeline.config.depth, stride=2))
    assert process(pipeline, stamp_ns=100_000_000).depth.shape == (240, 320)


SMALL_CAMERA = SCENE_CAMERA.scaled(64, 48)
SMALL_IMAGE = np.ascontiguousarray(scene_image()[::10, ::10])
LIMITS = {'depth.min': {'depth.max': 1e4}, 'depth.max': {'depth.min': 0.001},
          'scale.min_range': {'scale.max_range': 1e4}, 'scale.max_range': {'scale.min_range': 0.0},
          'scan.min_range': {'scan.max_range': 1e4}, 'scan.max_range': {'scan.min_range': 0.0},
          'scan.min_height': {'scan.max_height': 1e3}, 'scan.max_height': {'scan.min_height': -1e3},
          'cloud.voxel': {'cloud.max_range': 1e-27}}
BASE_LINK = pose_to_matrix([0.3, 0, 0.6, -0.5, 0.5, -0.5, 0.5])
ASSUME = {'scale.unanchored': 'assume', 'scale.assumed_scale': 0.4, 'scale.assumed_shift': -0.01}


def ends():
    """List every value at the ends of every runtime parameter's range, as its name and others."""
    for parameter in parameters():
        name = parameter.name
        if not parameter.runtime:
            continue
        if isinstance(parameter.value, bool):
            values = [False, True]
        elif parameter.choices:
            values = list(parameter.choices)
        else:
            values = [parameter.minimum, parameter.maximum]
            if isinstance(parameter.value, int):
                values = [int(value) for value in values]
            elif parameter.minimum == 0:
                values.append(1e-30)
        for value in values:
            limits = LIMITS.get(name, {})
            if limits.get(next(iter(limits), '')) == value:
                value += math.copysign(0.001, -value)
            yield {name: value, **limits}


TOGETHER = [
    {'depth.stride': 16, 'cloud.stride': 64},  # 48 rows
    {'depth.stride': 16, 'cloud.stride': 64, 'cloud.organized': False, 'cloud.stddev': True},
    {'scale.min_range': 9999.0, 'scale.max_range': 1e4},
    {'scale.min_range': 0.0, 'scale.max_range': 0.1},
    {'depth.encoding': '16UC1', 'depth.max': 1e4},
    {'depth.encoding': '16UC1', 'depth.min': 0.001, 'depth.max': 0.1},
    {'depth.min': 0.001, 'depth.max': 1e4, 'scale.refine': False},
    {'scale.max_stddev': 1e-30, 'cloud.stddev': True, 'cloud.organized': False},
    {'scale.assumed_scale': 1e9, 'scale.assumed_shift': -1e4, 'depth.max': 1e4},
    {'scale.assumed_scale': 1e-9, 'scale.assumed_shift': 1e4, 'depth.min': 0.001},
    {'cloud.edge_threshold': 1e-30, 'cloud.organized': False},
    {'cloud.voxel': 0.05, 'cloud.stddev': True, 'scan.frame': 'base_link'},
    {'cloud.voxel': 100.0, 'cloud.frame': 'base_link', 'cloud.stride': 64},
    {'cloud.voxel': 1.25, 'depth.max': 1e4, 'scan.frame': 'base_link', 'scan.max_range': 1e4},
    {'cloud.max_range': 1e-30, 'cloud.outlier_radius': 1e-30, 'scan.frame': 'base_link'},
]


def checked_outputs(frame, config):
    """Check shapes, types and that each number is finite or NaN where NaN stands for nothing."""
    stride = config.depth.stride
    rows, columns = -(-48 // stride), -(-64 // stride)
    assert frame.relative.shape == (rows, columns) and frame.picture.shape == (rows, columns, 3)
    assert frame.image_rect.shape == (rows, columns, 3)
    if frame.depth is None:
        assert frame.fit.state is State.UNANCHORED and not frame.fit.assumed
        return
    kind = np.uint16 if config.depth.encoding == '16UC1' else np.float32
    assert (frame.depth.dtype, frame.depth.shape) == (kind, (rows, columns))
    assert frame.stddev_m.shape == (rows, columns)
    assert not np.isinf(frame.depth).any() and not np.isinf(frame.stddev_m).any()
    if kind is np.float32:
        known = frame.depth[np.isfinite(frame.depth)]
        assert ((known >= 0.999 * config.depth.min) & (known <= 1.001 * config.depth.max)).all()
    fields = 5 if config.cloud.stddev else 4
    assert (frame.scan is None) == (config.scan.frame == '')
    if config.cloud.organized and not config.cloud.voxel:
        step = config.cloud.stride
        assert frame.points.shape == (-(-48 // step), -(-64 // step), fields)
    else:
        assert frame.points.shape[::2] == (1, fields) and np.isfinite(frame.points[..., :3]).all()
    assert not np.isinf(frame.points[..., [0, 1, 2] + [4] * (fields > 4)]).any()


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    'values',
    [*ends(), *TOGETHER],
    ids=lambda values: ','.join(f'{name}={value}' for name, value in values.items()),
)
def test_every_runtime_parameter_works_at_both_ends_of_its_range(values):
    predictor = ExactPredictor(camera=SMALL_CAMERA, input_size=42)
    # With points, while held or withheld, and with a line that is only assumed.
    for more, points in (({}, (True, False)), (ASSUME, (False,))):
        config = with_values(Config(), {**more, **values})
        pipeline = DepthPipeline(predictor, config)
        for i, seen in enumerate(points):
            frame = pipeline.process(
                SMALL_IMAGE,
                SMALL_CAMERA,
                sensor_points() if seen else None,
                SCENE_T_CAMERA_LIDAR,
                stamp_ns=i * 100_000_000,
                outputs=EVERYTHING,
                poses={'base_link': BASE_LINK},
            )
            checked_outputs(frame, config)


def test_what_should_stand_in_a_frame_that_is_not_known_is_not_made():
    config = with_values(Config(), {'cloud.frame': 'base_link', 'scan.frame': 'map'})
    pipeline = DepthPipeline(ExactPredictor(camera=SMALL_CAMERA, input_size=42), config)

    def made(**poses):
        frame = pipeline.process(
            SMALL_IMAGE, SMALL_CAMERA, sensor_points(), SCENE_T_CAMERA_LIDAR,
            outputs=EVERYTHING, poses=poses,
        )
        assert frame.depth is not None
        return frame.points_frame, frame.points is None, frame.scan is None

    assert made() == ('', True, True)
    assert made(map=BASE_LINK) == ('', True, False)
    assert made(map=BASE_LINK, base_link=BASE_LINK) == ('base_link', False, False)


def test_every_runtime_number_has_a_range():
    for parameter in parameters():
        if parameter.runtime and type(parameter.value) in (int, float):
            assert parameter.minimum is not None and parameter.maximum is not None, parameter.name


def test_stages_are_timed():
    stages = set(process(DepthPipeline(ExactPredictor())).timings_ms)
    assert {'preprocess', 'network', 'anchors', 'fit', 'metric', 'pack', 'download'} <= stages


def test_nothing_leaks_into_autograd():
    pipeline = DepthPipeline(ExactPredictor())
    prediction = pipeline.predict(scene_image(), SCENE_CAMERA)
    assert not prediction.values.requires_grad and isinstance(prediction.values, torch.Tensor)


def test_the_limit_of_the_network_input_is_a_parameter():
    """140 x 182 of 140 pixels' shorter side, and one pixel less."""
    camera = SCENE_CAMERA.scaled(640, 480)
    image = np.zeros((480, 640, 3), np.uint8)
    for limit, fits in ((140 * 182, True), (140 * 182 - 1, False)):
        config = with_values(Config(), {'limits.network_pixels': limit})
        pipeline = DepthPipeline(RowPredictor(input_size=140), config)
        if fits:
            assert pipeline.predict(image, camera).values.shape == (480, 640)
        else:
            with pytest.raises(BadFrameError, match='input of 182x140'):
                pipeline.predict(image, camera)


def drive(values=None, images=9, step_m=MOVING_M, known=True, **given):
    """Run images of a camera that moves to the right; return the last frame and its true depth."""
    pipeline = DepthPipeline(NearnessPredictor(), with_values(Config(), values or {}))
    for i in range(images):
        T_world_camera = pose(x=step_m * i)
        image, depth_m = look(T_world_camera)
        frame = pipeline.process(
            image,
            given.get('camera', CAMERA),
            stamp_ns=i * SECOND // 10,
            T_fixed_camera=T_world_camera if known else None,
            outputs=EVERYTHING,
        )
    return frame, depth_m


@pytest.mark.parametrize('method', ['auto', 'motion', 'lidar,motion'])
def test_the_motion_of_the_camera_alone_gives_metres(method):
    frame, depth_m = drive({'scale.method': method})
    assert (frame.fit.state, frame.fit.method) == (State.FITTED, 'motion')
    assert 'inliers from motion' in frame.fit.reason
    assert frame.fit.scale == pytest.approx(1 / 1.6, rel=0.05)
    assert frame.fit.shift == pytest.approx(-0.1 / 1.6, abs=0.005)
    error = np.abs(frame.depth / depth_m - 1)[~edges(depth_m, 3)]
    assert np.median(error) < 0.02 and np.quantile(error, 0.9) < 0.05
    # What all anchors have in common, the length of odometry's way, is in no residual.
    assert frame.sigma > 0.02
    unsure = drive({'scale.method': method, 'scale.odometry_sigma': 0.1})[0]
    assert unsure.sigma > 0.1


def test_motion_and_lidar_share_one_fit():
    pipeline = DepthPipeline(ExactPredictor())
    for i in range(9):
        frame = pipeline.process(
            cv2.resize(look(pose(x=MOVING_M * i))[0], (640, 480)),
            SCENE_CAMERA,
            sensor_points(i * SECOND // 10),
            SCENE_T_CAMERA_LIDAR,
            stamp_ns=i * SECOND // 10,
            T_fixed_camera=pose(x=MOVING_M * i),
        )
    # The images are not those of the scene that the lidar sees: the lidar is believed.
    assert frame.fit.state is State.FITTED and frame.fit.method == 'lidar'
    assert 'motion says' in frame.fit.reason
    assert_true_depth(frame.depth)


@pytest.mark.parametrize(
    ('values', 'given', 'reason'),
    [
        ({}, {'step_m': 0.0}, 'no anchors; no anchors from motion: the camera stands still'),
        ({}, {'images': 1}, 'no anchors; no anchors from motion: this is the first image'),
        ({}, {'known': False}, 'no anchors'),
        ({'scale.method': 'lidar'}, {}, 'no anchors'),
        ({}, {'camera': Camera.uncalibrated(320, 240)}, 'the camera is not calibrated'),
    ],
)
def test_without_motion_the_reason_says_why(values, given, reason):
    frame, _ = drive(values, **given)
    assert (frame.fit.state, frame.fit.reason) == (State.UNANCHORED, reason)
    assert frame.depth is None and frame.relative is not None
