# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""camera.mask: the robot's own body is in no fit and in no output."""

import cv2
import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.errors import BadFrameError, ConfigError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.depth_image import DepthImage
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthPipeline, Outputs
from helpers import (
    edges,
    ExactPredictor,
    SCENE_CAMERA,
    scene_depth_image,
    scene_image,
    scene_lidar,
    SCENE_T_CAMERA_LIDAR,
)

EVERYTHING = Outputs(stddev=True, picture=True, relative=True)
BODY = np.zeros((480, 640), bool)
BODY[330:, 150:500] = True


class SeesBody(ExactPredictor):
    """A network that sees the robot's bonnet half a metre away."""

    def __init__(self, body=BODY):
        super().__init__()
        self._body = body

    def __call__(self, image):
        values = super().__call__(image)
        height, width = values.shape
        body = self._body.astype(np.uint8)
        body = cv2.resize(body, (width, height), interpolation=cv2.INTER_AREA)
        return torch.where(torch.from_numpy(body) > 0, (1 / 0.5 + 0.01) / 0.4, values)


@pytest.fixture
def masked(tmp_path):
    """Return a function that makes the parameters with a mask."""

    def make(body=BODY, name='mask.png', **others):
        path = tmp_path / name
        cv2.imwrite(str(path), np.where(body, 0, 255).astype(np.uint8))
        return with_values(Config(), {'camera.mask': str(path), **others})

    return make


def process(config, predictor=None, camera=SCENE_CAMERA, sources=()):
    xyz_m, ring = scene_lidar()
    return DepthPipeline(predictor or SeesBody(), config).process(
        scene_image(),
        camera,
        SensorPoints(xyz_m, 0, 'lidar', ring=ring),
        SCENE_T_CAMERA_LIDAR,
        sources=sources,
        outputs=EVERYTHING,
    )


def test_no_output_shows_the_body_and_the_rest_is_right(masked):
    frame = process(masked())
    assert frame.fit.state is State.FITTED
    assert frame.fit.scale == pytest.approx(0.4, rel=2e-3)
    for plane in (frame.depth, frame.stddev_m, frame.relative, frame.points[..., 2]):
        assert np.isnan(plane[BODY]).all()
    truth_m = scene_depth_image()
    # A pixel of the network that shows some of the body says nothing of what is beside it.
    beside = cv2.dilate(BODY.astype(np.uint8), np.ones((7, 7))) > 0
    known = ~beside & ~edges(truth_m, 3)
    assert np.isfinite(frame.depth[known]).all()
    np.testing.assert_allclose(frame.depth[known], truth_m[known], rtol=0.005)


def test_without_the_mask_the_body_is_a_wall_before_the_robot():
    frame = process(Config())
    assert np.isfinite(frame.depth[BODY]).any()


def test_points_on_the_body_anchor_nothing(masked):
    # All rings but one fall on the body: what is left is too little for more than a scale.
    body = np.ones((480, 640), bool)
    body[100:110] = False
    frame = process(masked(body), SeesBody(body))
    assert frame.fit.inliers <= 120


def test_a_mask_is_rectified_with_the_image(masked):
    K, D = SCENE_CAMERA.K, [-0.25, 0.06, 0.0, 0.0, 0.0]
    camera = Camera.from_calibration(640, 480, K, D, P=np.hstack([K, np.zeros((3, 1))]))
    frame = process(masked(), ExactPredictor(), camera)
    shown = cv2.undistort(np.where(BODY, 255, 0).astype(np.uint8), K, np.array(D))
    assert np.isnan(frame.depth[shown > 200]).all()
    outside = cv2.dilate((shown > 0).astype(np.uint8), np.ones((9, 9))) == 0
    outside[:60] = outside[-60:] = False
    outside[:, :60] = outside[:, -60:] = False
    assert np.isfinite(frame.depth[outside]).mean() > 0.99


def test_a_depth_camera_that_sees_the_body_does_not_bring_it_back(masked):
    depth_m = np.where(BODY, 0.6, scene_depth_image()).astype(np.float32)
    frame = process(masked(), sources=[DepthImage(depth_m, SCENE_CAMERA, np.eye(4))])
    assert np.isnan(frame.depth[BODY]).all()


@pytest.mark.parametrize('size', [(480, 641), (479, 640), (960, 1280), (640, 480)])
def test_a_mask_of_another_size_is_one_line(masked, size):
    with pytest.raises(BadFrameError, match='camera.mask is of .* images are of 640x480') as raised:
        process(masked(np.zeros(size, bool)))
    assert raised.value.reason == 'bad_mask'


def test_a_mask_of_nothing_changes_nothing_and_one_of_all_is_unanchored(masked):
    nothing = process(masked(np.zeros((480, 640), bool)))
    np.testing.assert_array_equal(nothing.depth, process(Config()).depth)
    everything = process(masked(np.ones((480, 640), bool)))
    assert everything.fit.state is State.UNANCHORED and everything.depth is None
    assert np.isnan(everything.relative).all()


@pytest.mark.parametrize('content', [None, b'', b'no picture'])
def test_a_file_that_is_no_mask_is_one_line(tmp_path, content):
    path = tmp_path / 'mask.png'
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match='camera.mask .* is no picture') as raised:
        DepthPipeline(ExactPredictor(), with_values(Config(), {'camera.mask': str(path)}))
    assert '\n' not in str(raised.value)


def test_a_folder_is_no_mask(tmp_path):
    with pytest.raises(ConfigError, match='camera.mask'):
        DepthPipeline(ExactPredictor(), with_values(Config(), {'camera.mask': str(tmp_path)}))


def test_the_network_is_warm_whatever_the_size_of_the_mask(masked):
    class Counts(ExactPredictor):
        shapes = []

        def __call__(self, image):
            self.shapes.append(tuple(image.shape))
            return super().__call__(image)

    for config in (masked(), Config()):
        DepthPipeline(Counts(), config).warm_up()
    assert Counts.shapes == [(1, 3, 518, 686), (1, 3, 518, 518)]
