# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The sensors of the synthetic robot, its odometry and the traffic, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.world.cameras import beside, noisy, stereo_depth, time_of_flight
from depth_anything_ros.world.drive import (
    CAMERA,
    CONE_RAD,
    SENSORS,
    T_CAMERA_LIDAR,
    T_CAMERA_RANGE,
    WorldDrive,
)
from depth_anything_ros.world.lidar import rangefinder
from depth_anything_ros.world.odometry import dead_reckoning
from depth_anything_ros.world.primitives import Builder, Material, Primitives, Semantic, Shape
from depth_anything_ros.world.render import Render
from depth_anything_ros.world.scene import Light, random_scene, Scene, Sky
from depth_anything_ros.world.traffic import Traffic
from depth_anything_ros.world.trajectory import camera_path, look

EYE = Camera(100, 80, np.array([[100.0, 0, 49.5], [0, 100.0, 39.5], [0, 0, 1]]))
WHITE, BLACK = 255, 1


def picture(depth_m, gray=None):
    """Return a picture of a depth; gray as given, or a texture of 100 and 200."""
    shape = np.shape(depth_m)
    if gray is None:
        gray = 100 + 100 * (np.indices(shape).sum(axis=0) % 2)
    image = np.repeat(np.broadcast_to(gray, shape)[..., None], 3, axis=2).astype(np.uint8)
    return Render(image, np.asarray(depth_m, np.float32), np.zeros(shape, np.uint8))


def facing(depth_m):
    """Return the depth of a wall before the camera."""
    return np.full(EYE.size, float(depth_m))


def scene_of(*boxes):
    """Build a scene of boxes (centre, half size)."""
    builder = Builder(np.random.default_rng(0))
    for centre, half in boxes:
        builder.add(Shape.BOX, centre, half, Material((0.5, 0.5, 0.5)), Semantic.OBJECT)
    lamp = Light((0.0, 0.0, 500.0), 1.0, 0.3, math.inf, (1.0, 1.0, 1.0))
    sky = Sky((1.0, 1.0, 1.0), (0.5, 0.7, 1.0), 0.0, 0.0)
    return Scene('street', 0, builder.build(), lamp, sky, (-5, 5, -1, 1), (0, 1), 1.5, 3.0)


# Depth cameras ----------------------------------------------------------------------------------


@pytest.mark.parametrize('z_m', [1.0, 4.0])
def test_noise_of_time_of_flight_is_constant_and_of_stereo_grows_with_the_square(z_m):
    for measure, sigma_m in ((time_of_flight, 0.01), (stereo_depth, 0.0025 * z_m**2)):
        off = measure(picture(facing(z_m)), EYE, np.random.default_rng(1)) - z_m
        off = off[5:-5, 20:-5]
        assert np.isfinite(off).all()
        assert off.std() == pytest.approx(sigma_m, rel=0.05) and abs(off.mean()) < sigma_m / 10


def test_light_comes_back_from_what_is_white_near_and_not_grazing():
    def seen(depth_m, gray):
        found = time_of_flight(picture(depth_m, gray), EYE, np.random.default_rng(0))
        return np.isfinite(found[30:50, 30:70]).mean()

    # Of what white at 4 m sends back, .02 are wanted: (4 / z)^2 * white > .02.
    assert seen(facing(4), WHITE) == 1 and seen(facing(4), BLACK) == 0
    assert seen(facing(1), BLACK) == 1  # 16 * 1 / 255 = .06
    assert seen(facing(7.9), WHITE) == 1 and seen(facing(8.1), WHITE) == 0  # range
    assert seen(facing(0.1), WHITE) == 0
    # A floor h below: z = 100 h / (v - 39.5); the cosine is that of a ray to the vertical, about
    # h / z. With .5 m, gray .2, at z = 2.5 m: .2 * 4^2 / 2.5^2 * .2 = .1, at 5 m: .0128.
    below = np.maximum(np.arange(80) - 39.5, 0.01)[:, None]
    floor = np.broadcast_to(100 * 0.5 / below, EYE.size)
    found = time_of_flight(picture(floor, 51), EYE, np.random.default_rng(0))
    rows = np.isfinite(found[:, 45:55]).all(axis=1)
    # .2 * 16 * .5 / z^3 = .02 at 4.3 m, 11.6 rows below the horizon.
    assert rows[53:].all() and not rows[:50].any()


def test_edges_are_holes_and_slopes_are_not():
    step = facing(2)
    step[:, 50:] = 3
    for measure in (time_of_flight, stereo_depth):
        seen = np.isfinite(measure(picture(step), EYE, np.random.default_rng(0)))[10:-10]
        assert not seen[:, 49:51].any() and seen[:, 10:48].all() and seen[:, 52:].all()
    # Inverse depth falls by 8 % from column to column here, though straight.
    slope = np.broadcast_to(1 / (0.2 + 0.02 * np.arange(100)), EYE.size)
    seen = np.isfinite(stereo_depth(picture(slope), EYE, np.random.default_rng(0)))
    assert seen[10:-10, 20:90].all()


def test_stereo_is_blind_on_the_left_and_without_texture():
    found = stereo_depth(picture(facing(0.5)), EYE, np.random.default_rng(0))
    # Disparity is 100 px * .05 m / .5 m = 10 px.
    assert not np.isfinite(found[:, :10]).any() and np.isfinite(found[5:-5, 10:-5]).all()
    plain = 100 + 100 * (np.indices(EYE.size).sum(axis=0) % 2)
    plain[:, 60:] = 128
    seen = np.isfinite(stereo_depth(picture(facing(2), plain), EYE, np.random.default_rng(0)))
    assert seen[10:-10, 10:60].all() and not seen[10:-10, 65:].any()
    sky = facing(np.inf)
    assert not np.isfinite(stereo_depth(picture(sky), EYE, np.random.default_rng(0))).any()


def test_second_camera_stands_to_the_right():
    pose = look((1, 2, 3), math.pi / 2)  # looks along y, so that right is along x
    np.testing.assert_allclose(beside(pose, 0.12)[:3, 3], [1.12, 2, 3], atol=1e-12)
    np.testing.assert_array_equal(beside(pose, 0.12)[:3, :3], pose[:3, :3])


def test_noise_of_an_image():
    found = noisy(np.full((200, 200, 3), 100), np.random.default_rng(0)) - 100.0
    assert abs(found.mean()) < 0.02 and found.std() == pytest.approx(2.02, rel=0.02)
    assert noisy(np.full((50, 50), 255), np.random.default_rng(0)).max() == 255


# Rangefinder ------------------------------------------------------------------------------------


def test_rangefinder_finds_the_nearest_in_its_cone():
    wall = ((3.5, 0, 0), (0.5, 50, 50))  # its face is at x = 3
    assert rangefinder(scene_of(wall), np.eye(4)) == pytest.approx(3.0, abs=1e-4)
    # A post at 2 m, 12 degrees to the left, is in a cone of 30 degrees and not in one of 15.
    post = ((2.0, 2.0 * math.tan(math.radians(12)), 0), (0.1, 0.1, 5))
    both = scene_of(wall, post)
    assert rangefinder(both, np.eye(4), math.radians(30)) == pytest.approx(1.93, abs=0.03)
    assert rangefinder(both, np.eye(4), math.radians(15)) == pytest.approx(3.0, abs=1e-4)
    assert rangefinder(scene_of(wall), np.eye(4), range_m=(0.2, 2.9)) == math.inf
    assert rangefinder(scene_of(wall), np.eye(4), range_m=(3.1, 6.0)) == -math.inf
    behind = scene_of(((-3.5, 0, 0), (0.5, 50, 50)))
    assert rangefinder(behind, np.eye(4)) == math.inf
    ranges = [rangefinder(scene_of(wall), np.eye(4), noise_m=0.1, seed=i) for i in range(200)]
    assert np.std(ranges) == pytest.approx(0.1, rel=0.15)


# Odometry ---------------------------------------------------------------------------------------


def straight(steps):
    """Yield poses that go along x by 1 m each."""
    for i in range(steps):
        pose = np.eye(4)
        pose[0, 3] = i
        yield pose


def test_odometry_without_errors_is_the_way():
    way = [look((i, 0.1 * i * i, 1), 0.1 * i) for i in range(5)]
    np.testing.assert_allclose(list(dead_reckoning(way)), way, atol=1e-9)


def test_odometry_adds_up_what_is_wrong():
    assert list(dead_reckoning(straight(11), 0.02))[-1][0, 3] == pytest.approx(10.2)
    # Turned by 90 degrees to the left after each step: 1 m ahead, 1 m to the left, 1 m back.
    poses = list(dead_reckoning(straight(4), turn_rad=(0, 0, math.pi / 2)))
    np.testing.assert_allclose(
        [pose[:2, 3] for pose in poses], [[0, 0], [1, 0], [1, 1], [0, 1]], atol=1e-9
    )
    slipped = list(dead_reckoning(straight(1001), slip=0.5, slipping=0.1, seed=3))
    steps = np.diff([pose[0, 3] for pose in slipped])
    assert set(np.round(steps, 6)) == {1.0, 1.5}
    assert np.mean(steps > 1.2) == pytest.approx(0.1, abs=0.03)


# Traffic ----------------------------------------------------------------------------------------


def test_primitives_turn_and_move_as_one():
    builder = Builder(np.random.default_rng(0))
    for x in (0.0, 2.0):
        builder.add(Shape.BOX, (x, 0, 1), (1, 2, 3), Material((1, 1, 1)), Semantic.VEHICLE, 0.1)
    moved = builder.build().moved(10, 20, math.pi / 2)
    np.testing.assert_allclose(moved.centre_m, [[10, 20, 1], [10, 22, 1]], atol=1e-5)
    np.testing.assert_allclose(moved.yaw_rad, 0.1 + math.pi / 2)
    both = Primitives.together([builder.build(), moved])
    assert len(both) == 4 and torch.equal(both.centre_m[2:], moved.centre_m)


def middles(scene, what):
    """Return the centres of what is of a class, N x 2."""
    p = scene.primitives
    return p.centre_m[p.semantic == what][:, :2].numpy()


def street(seed):
    """Return a street, the way of the camera, and its traffic."""
    scene = random_scene(seed, 'street')
    path = camera_path(scene, seed)
    return scene, path, Traffic(scene, path, seed)


@pytest.mark.parametrize('seed', [1, 2, 10_001_008])
def test_nobody_drives_or_walks_into_the_camera(seed):
    scene, path, traffic = street(seed)
    for time_s in range(0, 40, 4):
        now = traffic.at(float(time_s))
        x, y, _ = path(float(time_s))[:3, 3]
        moving = np.concatenate([middles(now, Semantic.PERSON), middles(now, Semantic.VEHICLE)])
        assert np.linalg.norm(moving - [x, y], axis=1).min() > 0.6
    # Nothing else is touched.
    for what in (Semantic.BUILDING, Semantic.GROUND, Semantic.VEGETATION):
        np.testing.assert_array_equal(middles(now, what), middles(scene, what))


def test_vehicles_keep_their_speed_and_come_again():
    scene, _, traffic = street(10_001_008)
    oncoming = [m for m in traffic._movers if m.way(0.0)[1] > 2 and m.way(0.0)[2] == math.pi]
    assert len(oncoming) > 3
    for mover in oncoming:
        xs = np.array([mover.way(0.1 * i)[0] for i in range(1000)])
        steps = np.diff(xs)
        going = steps < 0
        assert going.mean() > 0.99  # but where it comes again from the other end
        np.testing.assert_allclose(steps[going], steps[going].mean(), atol=1e-6)
        assert -1.11 < steps[going].mean() < -0.49 and np.ptp(xs) < 320
        np.testing.assert_allclose(steps[~going], 320 + steps[going].mean(), atol=1e-6)


def test_people_walk_to_and_fro_where_it_is_free():
    walked = 0
    for kind in ('street', 'room', 'corridor'):
        for seed in range(2):
            scene = random_scene(seed, kind)
            traffic = Traffic(scene, camera_path(scene, seed), seed)
            for mover in traffic._movers:
                if (mover.primitives.semantic != Semantic.PERSON).any():
                    continue
                way = np.array([mover.way(0.1 * i) for i in range(600)])
                steps = np.linalg.norm(np.diff(way[:, :2], axis=0), axis=1)
                assert 0.7 < np.median(steps) / 0.1 < 1.7 and steps.max() < 0.17
                clear = [
                    traffic._still.clearance_m(torch.tensor([x, y, 0.9])) for x, y, _ in way[::20]
                ]
                assert min(clear) > 0.2
                walked += 1
    assert walked > 8


# Drives -----------------------------------------------------------------------------------------


def same(one, other):
    """Tell whether two moments are equal in all there is."""
    def flat(moment):
        values = dict(vars(moment))
        values |= {} if moment.sweep is None else vars(values.pop('sweep'))
        return values

    return all(
        np.array_equal(a, b, equal_nan=a is not None) if isinstance(a, np.ndarray) else a == b
        for a, b in zip(flat(one).values(), flat(other).values())
    )


def test_the_same_seed_is_the_same_drive_in_whatever_order():
    first, again, other = (
        WorldDrive(seed, 'room', sensors=SENSORS, traffic=True) for seed in (5, 5, 6)
    )
    again.moment(3.0)
    assert same(first.moment(1.0), again.moment(1.0))
    assert same(first.moment(3.0), again.moment(3.0))
    assert not same(first.moment(3.0), other.moment(3.0))


def test_only_the_sensors_that_are_asked_for():
    seen = WorldDrive(5, 'room', sensors=('depth', 'camera_height')).moment(0.0)
    assert seen.sensor_depth_m is not None
    assert seen.sweep is seen.right_rgb is seen.range_m is seen.T_odom_base is None
    with pytest.raises(DepthAnythingError, match="no sensor 'radar'"):
        WorldDrive(5, 'room', sensors=('radar',))


def test_sensors_agree_with_the_truth():
    drive = WorldDrive(1, 'street', sensors=SENSORS)
    moments = [drive.moment(t) for t in (0.0, 3.0)]
    for seen in moments:
        # The lidar's points and the depth camera's pixels.
        xyz = seen.sweep.points_lidar @ T_CAMERA_LIDAR[:3, :3].T + T_CAMERA_LIDAR[:3, 3]
        xyz = xyz[(np.abs(xyz[:, :2]) < xyz[:, 2:]).all(axis=1)]
        z_m = xyz[:, 2]
        pixels = np.rint(200 * xyz[:, :2] / z_m[:, None] + [153.5, 111.5]).astype(int)
        inside = ((pixels >= 0) & (pixels < [CAMERA.width, CAMERA.height])).all(axis=1)
        u, v = pixels[inside].T
        assert abs(np.nanmedian(z_m[inside] / seen.depth_m[v, u]) - 1) < 0.005
        off = seen.sensor_depth_m / seen.depth_m - 1
        assert np.isfinite(off).mean() > 0.3 and np.nanmax(np.abs(off)) < 0.3
        assert abs(np.nanmedian(off)) < 0.002
        # The range is to the nearest pixel of the cone, about the rangefinder.
        v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
        points = CAMERA.rays() * seen.depth_m[..., None]
        from_sensor = points - T_CAMERA_RANGE[:3, 3]
        distance_m = np.linalg.norm(from_sensor, axis=2)
        within = from_sensor @ T_CAMERA_RANGE[:3, 0] > distance_m * math.cos(CONE_RAD / 2)
        assert seen.range_m == pytest.approx(distance_m[within].min(), rel=0.03)
    # Odometry is off by about a share of the way.
    way = np.linalg.norm(moments[1].T_odom_base[:3, 3] - moments[0].T_odom_base[:3, 3])
    true = [drive._base(t)[:3, 3] for t in (0.0, 3.0)]
    assert 1.005 < way / np.linalg.norm(true[1] - true[0]) < 1.04


def test_the_base_stands_on_the_ground_below_the_camera():
    drive = WorldDrive(1, 'room')
    assert drive.camera_height_m == pytest.approx(random_scene(1, 'room').camera_height_m)
    axis = np.linalg.inv(drive.T_camera_base)[:3, 2]  # the optical axis, in the base's frame
    assert axis[0] > 0.9 and abs(axis[1]) < 1e-9
    assert math.sin(drive.camera_pitch_rad) == pytest.approx(-axis[2])
    assert 0 <= drive.camera_pitch_rad <= 0.12


def test_left_and_right_image_differ_by_the_disparity():
    seen = WorldDrive(1, 'street', sensors=('stereo',)).moment(2.0)
    # u_right = u - f b / z; the far half of the picture is seen by both.
    v, u = np.nonzero((seen.depth_m > 4) & (seen.depth_m < 30))
    there = u - 200 * 0.12 / seen.depth_m[v, u]
    inside = there > 2
    v, u, there = v[inside], u[inside], there[inside]
    low = np.floor(there).astype(int)
    share = (there - low)[:, None]
    right = (1 - share) * seen.right_rgb[v, low] + share * seen.right_rgb[v, low + 1]
    left = seen.image_rgb[v, u].astype(float)
    assert np.median(np.abs(right - left)) < 4
    unmoved = np.abs(seen.right_rgb[v, u] - left)
    assert np.mean(np.abs(right - left)) < 0.6 * np.mean(unmoved)
