# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Depth from a camera that moves through a textured place of known depth."""

from dataclasses import replace

import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ScaleConfig
from depth_anything_ros.metric_depth.anchors import Anchors
from depth_anything_ros.metric_depth.motion import MotionTracker
from depth_anything_ros.metric_depth.sources import gather
from moving_camera import CAMERA, look, pose, SECOND

PERIOD_NS = SECOND // 10
SIDEWAYS = [pose(x=0.08 * i) for i in range(8)]
FORWARD = [pose(x=0.5, y=-0.3, z=0.2 * i) for i in range(8)]
# To the left about the vertical, nodding and rolling, 8 degrees a second.
TURNING = [pose(x=0.08 * i, z=0.04 * i, turn_deg=(0.2 * i, -0.7 * i, 0.3 * i)) for i in range(8)]


class Drive:
    """A tracker, and images that are given to it one after the other."""

    def __init__(self, camera=CAMERA, **config):
        self.tracker, self.stamp_ns = MotionTracker(), 0
        self.camera, self.config = camera, ScaleConfig(**config)

    def see(self, T, T_believed=None, image=None, period_ns=PERIOD_NS, **scene):
        """Give it what is seen from a pose; return what motion tells, and the true depth."""
        self.stamp_ns += period_ns
        picture, depth_m = look(T, self.camera, **scene)
        T_believed = T if T_believed is None else T_believed
        motion = self.tracker.update(
            picture if image is None else image,
            self.camera,
            T_believed,
            self.stamp_ns,
            self.config,
        )
        return motion, depth_m

    def along(self, way):
        """Give it all of a way; return what motion tells at its end, and the true depth there."""
        for T in way:
            told = self.see(T)
        return told


def off(anchors, depth_m):
    """Return the log ratio of the depth of anchors and the true one."""
    u, v = np.rint(anchors.u).astype(int), np.rint(anchors.v).astype(int)
    return np.log(anchors.z_m / depth_m[v, u])


def assert_tells_depth(motion, depth_m, enough=60):
    """Check that there are anchors, near and far, that they are true and honest."""
    anchors = motion.known
    assert motion.note == '' and motion.name == 'motion' and anchors.names == ('motion',)
    assert len(anchors) > enough and (anchors.ring == -1).all()
    assert anchors.z_m.min() < 5 and anchors.z_m.max() > 9
    error = np.abs(off(anchors, depth_m))
    assert np.median(error) < 0.03
    assert (error < 1.645 * anchors.sigma).mean() > 0.85
    assert (anchors.sigma > 0.02).all() and (anchors.sigma < 0.3).all()  # odometry's 2 % at least


@pytest.mark.parametrize(
    'way', [SIDEWAYS, FORWARD, TURNING], ids=['sideways', 'forward', 'turning']
)
def test_depth_of_a_known_place(way):
    assert_tells_depth(*Drive().along(way))


def test_every_image_of_a_drive_has_anchors_once_there_are_three_views():
    drive = Drive()
    counts = [len(drive.see(T)[0].known) for T in SIDEWAYS]
    assert counts[0] == 0 and min(counts[5:]) > 60


def test_distorted_and_turned_cameras_give_anchors_of_the_rectified_image():
    P = np.array([[240.0, 0, 165, 0], [0, 240.0, 115, 0], [0, 0, 1, 0]])
    turn = pose(turn_deg=(0, 4.0, 1.0))
    camera = Camera.from_calibration(
        320, 240, CAMERA.K, [-0.2, 0.05, 1e-3, -1e-3, 0], R=turn[:3, :3], P=P
    )
    motion, _ = Drive(camera).along(TURNING)
    rectified = camera.rectified()
    T = TURNING[-1] @ turn.T
    assert_tells_depth(motion, look(T, rectified)[1], enough=50)
    # Taken for pixels of the raw image, they would be off.
    right, wrong = (
        np.median(np.abs(off(motion.known, look(*seen)[1])))
        for seen in ((T, rectified), (TURNING[-1], CAMERA))
    )
    assert wrong > 3 * right


def test_large_images_are_followed_at_half_size_and_anchored_at_full():
    camera = CAMERA.scaled(960, 720)
    motion, depth_m = Drive(camera).along(SIDEWAYS)
    assert_tells_depth(motion, depth_m)
    assert motion.known.u.max() > 640 and motion.known.v.max() > 480


def test_sigma_grows_with_depth_and_falls_with_the_way():
    anchors = Drive(odometry_sigma=0.0).along(SIDEWAYS)[0].known
    near, far = (np.median(anchors.sigma[chosen]) for chosen in (anchors.z_m < 5, anchors.z_m > 10))
    # Of log depth it is z times a constant, whatever the constant is.
    ratio = np.median(anchors.z_m[anchors.z_m > 10]) / np.median(anchors.z_m[anchors.z_m < 5])
    assert far / near == pytest.approx(ratio, rel=0.4)


def test_odometry_that_is_a_fifth_too_long_makes_depth_a_fifth_too_long():
    drive = Drive()
    for T in SIDEWAYS:
        believed = T.copy()
        believed[:3, 3] *= 1.2
        motion, depth_m = drive.see(T, believed)
    assert np.median(off(motion.known, depth_m)) == pytest.approx(np.log(1.2), abs=0.03)


def test_odometry_that_is_a_fifth_too_long_is_named_where_another_source_is_there():
    class Lidar:
        name = 'lidar'

        def anchors(self, camera, config):
            v, u = np.mgrid[4:240:8, 4:320:8]
            u, v = u.ravel().astype(np.float32), v.ravel().astype(np.float32)
            z_m = depth_m[v.astype(int), u.astype(int)].astype(np.float32)
            return Anchors(u, v, z_m, np.full(len(u), -1), np.full(len(u), 0.01, np.float32))

    drive = Drive()
    for T in SIDEWAYS:
        believed = T.copy()
        believed[:3, 3] *= 1.2
        motion, depth_m = drive.see(T, believed)
    verdict = gather([motion, Lidar()], CAMERA, ScaleConfig())
    assert verdict.outvoted == {'motion': pytest.approx(np.log(1.2), abs=0.03)}


def test_what_moves_is_left_out():
    drive, still = Drive(), Drive()
    for i, T in enumerate(SIDEWAYS):
        motion, depth_m = drive.see(T, box_m=(0.0, -0.04 * i))
        standing = still.see(T)[0]
    assert len(of_the_box(standing.known)) > 12 > 3 > len(of_the_box(motion.known))
    u, v = motion.known.u, motion.known.v
    elsewhere = motion.known[~on_box(u, v)]
    assert len(elsewhere) > 40 and np.median(np.abs(off(elsewhere, depth_m))) < 0.03


def on_box(u, v):
    """Tell what is at, or right beside, the box in the last image of the way to the side."""
    x = SIDEWAYS[-1][0, 3]
    left, right = 158.5 + 260 * (-x) / 5, 158.5 + 260 * (2.4 - x) / 5
    return (u > left - 6) & (u < right + 6) & (v > 121 - 255 * 0.9 / 5)


def of_the_box(anchors):
    """Return anchors inside the box's face."""
    inside = on_box(anchors.u + 14, anchors.v) & on_box(anchors.u - 14, anchors.v)
    return anchors[inside & (anchors.v < 121 + 255 * 1.2 / 5) & (anchors.v > 121)]


def test_a_camera_that_stands_still_has_no_anchors_and_says_why():
    notes = {Drive.see(drive, pose())[0].note for drive in [Drive()] for _ in range(8)}
    assert notes == {
        'no anchors from motion: this is the first image',
        'no anchors from motion: the camera stands still',
    }


def test_a_camera_that_turns_on_the_spot_has_no_anchors_and_says_why():
    drive = Drive()
    told = [drive.see(pose(turn_deg=(0, 3.0 * i, 0)))[0] for i in range(12)]
    assert not any(len(motion.known) for motion in told)
    assert told[-1].note == 'no anchors from motion: the camera only turns'
    # And as soon as it goes on, what it saw while turning is of use.
    way = [pose(x=0.08 * i, turn_deg=(0, 33.0, 0)) for i in range(1, 6)]
    motion, depth_m = drive.along(way)
    assert len(motion.known) > 30 and np.median(np.abs(off(motion.known, depth_m))) < 0.03


def test_a_camera_that_has_stood_for_long_has_none_either():
    drive = Drive()
    drive.along(SIDEWAYS)
    told = [drive.see(SIDEWAYS[-1], period_ns=SECOND // 2)[0] for _ in range(23)]
    assert len(told[0].known) > 60 and not len(told[-1].known)
    assert told[-1].note == 'no anchors from motion: the camera stands still'


def test_wheels_that_spin_on_the_spot_measure_nothing():
    drive = Drive()
    for T in SIDEWAYS:
        motion, _ = drive.see(pose(), T)
    assert len(motion.known) < 5 and 'parallax' in motion.note


DISTURBED = {
    'the camera is another one': lambda drive: setattr(drive, 'camera', replace(CAMERA)),
    'time ran backwards': lambda drive: setattr(
        drive, 'stamp_ns', drive.stamp_ns - 6 * PERIOD_NS
    ),
    'time stands still': lambda drive: setattr(
        drive, 'stamp_ns', drive.stamp_ns - PERIOD_NS
    ),
    'there was no image with a pose for 5.1 s': lambda drive: setattr(
        drive, 'stamp_ns', drive.stamp_ns + 5 * SECOND
    ),
}


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('why', DISTURBED)
def test_starts_anew_where_the_past_tells_nothing(why):
    drive = Drive()
    drive.along(SIDEWAYS[:6])
    DISTURBED[why](drive)
    assert drive.see(SIDEWAYS[6])[0].note == f'no anchors from motion: {why}'
    assert_recovers(drive)


def assert_recovers(drive):
    """Check that a drive that goes on is soon of use again."""
    way = [SIDEWAYS[6] @ pose(x=0.08 * i) for i in range(1, 7)]
    assert_tells_depth(*drive.along(way), enough=40)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize(
    ('image', 'note'),
    [
        (np.zeros((240, 320, 3), np.uint8), 'the corners were lost'),
        (np.full((240, 320, 3), 255, np.uint8), 'the corners were lost'),
        (look(pose(x=3.0), seed=7)[0], 'images and odometry contradict each other'),
    ],
    ids=['dark', 'bright', 'cut'],
)
def test_images_in_which_nothing_is_found_again(image, note):
    drive = Drive()
    drive.along(SIDEWAYS[:6])
    assert drive.see(SIDEWAYS[6], image=image)[0].note == f'no anchors from motion: {note}'
    if image.std() == 0:
        assert 'dark, blurred or bare' in drive.see(SIDEWAYS[6], image=image)[0].note
    assert_recovers(drive)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('jump', [pose(x=1.0), pose(x=-0.4, turn_deg=(0, 90, 0)), pose(z=-30.0)])
def test_odometry_that_jumps(jump):
    drive = Drive()
    drive.along(SIDEWAYS[:6])
    motion, _ = drive.see(SIDEWAYS[6], jump @ SIDEWAYS[6])
    assert not len(motion.known) and 'odometry jumped' in motion.note
    for i in range(1, 7):  # a loop was closed, and it goes on from there
        T = SIDEWAYS[6] @ pose(x=0.08 * i)
        told = drive.see(T, jump @ T)
    assert_tells_depth(*told, enough=40)


def test_a_pose_that_is_none():
    drive = Drive()
    drive.along(SIDEWAYS[:6])
    motion, _ = drive.see(SIDEWAYS[6], np.full((4, 4), np.nan))
    assert not len(motion.known) and 'odometry jumped' in motion.note
    assert_recovers(drive)


def test_odometry_that_contradicts_the_images_gives_no_anchors():
    drive, notes = Drive(), []
    for T in FORWARD:
        motion, _ = drive.see(T, pose(y=T[2, 3]))  # it goes forward and is said to go down
        notes.append(motion.note)
        assert len(motion.known) < 10
    assert 'no anchors from motion: images and odometry contradict each other' in notes


def test_a_turn_that_odometry_does_not_know_of_is_noticed():
    drive = Drive()
    drive.along(SIDEWAYS[:6])
    told = [drive.see(T @ pose(turn_deg=(0, 5.0, 0)), T)[0] for T in SIDEWAYS[6:]]
    assert 'contradict' in told[0].note or 'lost' in told[0].note


def test_range_limits_are_those_of_the_configuration():
    motion, _ = Drive().along(SIDEWAYS)
    anchors = motion.anchors(CAMERA, ScaleConfig(min_range=4.0, max_range=6.0))
    assert 0 < len(anchors) < len(motion.known)
    assert anchors.z_m.min() >= 4 and anchors.z_m.max() <= 6
