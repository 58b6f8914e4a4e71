# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A camera without anchors learns from one beside it what metres are, as far as both see."""

from types import SimpleNamespace

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ScaleConfig, with_values
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.neighbours import DOUBT, measured_points
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthPipeline, Outputs
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.rig import Rig
from depth_anything_ros.ros.transforms import Transforms, TransformUnavailable
from helpers import header, NearnessPredictor, textured_view

CAMERA = Camera.from_calibration(320, 240, [[200.0, 0, 160], [0, 200.0, 120], [0, 0, 1]])
EVERYTHING = Outputs(depth=True, stddev=True)
MS = 1_000_000


def turned(degrees, x_m=0.0):
    """Return the pose in the scene of a camera that looks to the right by so much."""
    angle = np.deg2rad(degrees)
    T = np.eye(4)
    T[0, [0, 2]], T[2, [0, 2]] = (np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))
    T[0, 3] = x_m
    return T


class View:
    """A camera somewhere in the scene, whose red says inverse depth in a way of its own."""

    def __init__(self, T_scene_camera, gain, offset, **values):
        _, self.truth_m = textured_view(CAMERA, T_scene_camera)
        red = np.clip(offset + gain / self.truth_m, 0, 255).round()
        self.image = np.repeat(red[..., None], 3, axis=2).astype(np.uint8)
        self.T = np.linalg.inv(T_scene_camera)  # the lidar's axes are the scene's
        self.pipeline = DepthPipeline(NearnessPredictor(), with_values(Config(), values))
        scale = ScaleConfig(T_camera_sensor=tuple(matrix_to_pose(self.T)))
        self.transforms = Transforms(scale, None)

    def sweep(self):
        """Return a lidar's points of what it sees."""
        v, u = np.mgrid[5:240:10, 2:320:3]
        z_m = self.truth_m[v, u].ravel()
        pixels = np.stack([u.ravel(), v.ravel(), np.ones(u.size)], axis=-1)
        xyz = np.c_[pixels @ np.linalg.inv(CAMERA.K).T * z_m[:, None], np.ones(len(z_m))]
        points = (xyz @ np.linalg.inv(self.T).T)[:, :3].astype(np.float32)
        return SensorPoints(points, 0, 'lidar', ring=np.repeat(np.arange(len(v)), v.shape[1]))

    def process(self, points=None, stamp_ns=0, ask=lambda: None):
        """Run one frame."""
        prediction = self.pipeline.predict(self.image, CAMERA)
        return self.pipeline.measure(
            prediction, points, self.T, stamp_ns=stamp_ns, outputs=EVERYTHING, neighbour=ask
        )


def told(rig, view, frame, name='front', stamp_ns=0):
    """Tell the rig what a view measured."""
    rig.tell(name, frame, header(stamp_ns, name), view.transforms)


def asking(rig, view, stamp_ns=0, max_offset_s=0.1):
    """Return what asks the rig for a camera on the left."""
    return lambda: rig.ask('left', 'left', stamp_ns, max_offset_s, view.transforms)


@pytest.fixture(scope='module')
def front():
    """Return a camera that has measured, and what."""
    view = View(turned(0), 420, 20)
    frame = view.process(view.sweep())
    assert frame.fit.state is State.FITTED
    return view, frame


def test_points_of_a_depth_image_are_where_they_are():
    depth_m = np.full((240, 320), 4.0, np.float32)
    depth_m[:120] = np.nan
    for depth in (depth_m, np.nan_to_num(depth_m * 1000).astype(np.uint16)):
        xyz_m = measured_points(depth, CAMERA)
        assert 0 < len(xyz_m) < 20_000 and (xyz_m[:, 2] == 4).all() and (xyz_m[:, 1] >= 0).all()
        # The corner below right: (319 - 160) * 4 / 200 and (239 - 120) * 4 / 200.
        assert xyz_m[-1] == pytest.approx([3.18, 2.38, 4.0])


@pytest.mark.parametrize('degrees, x_m', [(-40, 0.0), (35, 0.3)])
def test_what_both_see_gives_metres_and_the_sigma_that_it_costs(front, degrees, x_m):
    rig, view = Rig(), View(turned(degrees, x_m), 600, 40)
    told(rig, *front)
    frame = view.process(ask=asking(rig, view))
    assert (frame.fit.state, frame.fit.method) == (State.FITTED, 'neighbour')
    # 1/z = (255 p - 40) / 600: its own line, not 255 / 420 and -20 / 420 of the one beside it.
    assert frame.fit.scale == pytest.approx(255 / 600, rel=0.1)
    seen = (view.truth_m < 12) & np.isfinite(frame.depth)
    off = np.abs(np.log(frame.depth / view.truth_m))[seen]
    assert seen.mean() > 0.3 and np.median(off) < 0.1
    assert frame.fit.doubt == DOUBT and frame.sigma >= DOUBT


def test_where_nothing_is_seen_by_both_there_are_no_metres(front):
    rig, view = Rig(), View(turned(-120), 600, 40)
    told(rig, *front)
    frame = view.process(ask=asking(rig, view))
    assert frame.fit.state is State.UNANCHORED and frame.depth is None


def test_who_has_metres_of_its_own_asks_nobody(front):
    def never():
        raise AssertionError

    view = View(turned(0), 420, 20)
    assert view.process(view.sweep(), ask=never).fit.method == 'lidar'
    assert view.process(None, 1900 * MS, ask=never).fit.state is State.HELD
    for values in ({'scale.camera_height': 1.5}, {'scale.method': 'lidar'}):
        View(turned(0), 420, 20, **values).process(ask=never)
    with pytest.raises(AssertionError):
        view.process(None, 2100 * MS, ask=never)


def test_what_is_from_another_time_or_from_a_neighbour_is_not_handed_on(front):
    view, frame = front
    rig = Rig()
    told(rig, view, frame, stamp_ns=150 * MS)
    assert asking(rig, view)() is None
    assert asking(rig, view, 100 * MS)() is not None
    assert rig.ask('front', 'front', 100 * MS, 0.1, view.transforms) is None  # not from itself
    fit = SimpleNamespace(state=State.FITTED, method='neighbour')
    second_hand = SimpleNamespace(fit=fit, depth=frame.depth, sigma=0.1)
    told(rig, view, second_hand)
    assert asking(rig, view)() is None


def test_cameras_of_which_nobody_knows_where_they_are_say_so(front):
    view, frame = front
    rig = Rig()
    told(rig, view, frame)
    with pytest.raises(TransformUnavailable, match='leave neighbour out of scale.method'):
        rig.ask('left', 'left', 0, 0.1, Transforms(ScaleConfig(), None))
