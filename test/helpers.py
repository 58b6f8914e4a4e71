# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Fakes and scene builders that the tests share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
import dataclasses
from pathlib import Path
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.training.config import NetworkConfig, Phase, TrainConfig
from depth_anything_ros.world.render import pixel_rays

TEST = Path(__file__).resolve().parent
REAL_DATA = TEST.parents[1] / 'shared' / 'data'

needs_real_data = pytest.mark.skipif(
    not REAL_DATA.is_dir(), reason='real frames (../shared/data) are not beside the checkout'
)

SCENE_CAMERA = Camera.from_calibration(640, 480, [[500.0, 0, 322], [0, 510.0, 236], [0, 0, 1]])

# The lidar sits 0.2 m right of, 0.4 m above and 0.1 m behind the camera and looks along it:
# x forward, y left, z up in a frame turned a further 3 degrees about the vertical.
_TURN = np.deg2rad(3.0)
SCENE_T_CAMERA_LIDAR = np.array(
    [
        [np.sin(_TURN), -np.cos(_TURN), 0, 0.2],
        [0, 0, -1, -0.4],
        [np.cos(_TURN), np.sin(_TURN), 0, -0.1],
        [0, 0, 0, 1],
    ]
)


def scene_depth(x, y):
    """Return the true depth of a small dense scene along rays (x, y, 1) from the camera.

    Ground 1.5 m below the camera, a wall at 18 m, a box face at 6 m and another at 9 m, each a
    fronto-parallel rectangle standing on the ground.

    Args:
        x: ray slopes to the right, any shape.
        y: ray slopes downwards, same shape.

    Returns:
        Depth in metres, same shape.
    """
    depth_m = np.full(np.shape(x), 18.0)
    with np.errstate(divide='ignore'):
        ground_m = np.where(y > 0, 1.5 / np.maximum(y, 1e-9), np.inf)
    depth_m = np.minimum(depth_m, ground_m)
    for z, left, right, top in ((9.0, -4.0, -1.0, -0.5), (6.0, 0.5, 2.0, 0.3)):
        hit = (x * z > left) & (x * z < right) & (y * z > top) & (y * z < 1.5)
        depth_m = np.where(hit & (depth_m > z), z, depth_m)
    return depth_m


def textured_view(camera: Camera, T_scene_camera=None, plain=None):
    """Return what another camera sees of the scene above, every surface with a random texture.

    Args:
        camera: pinhole or distorted.
        T_scene_camera: 4x4 pose of its optical frame in that of the scene's camera; None, the same.
        plain: (left, right, top, bottom) in m of a part of the far wall without texture.

    Returns:
        HxW uint8 gray image and HxW depth in metres of that camera.
    """
    rays = pixel_rays(camera.K, camera.width, camera.height, camera.D, camera.model)
    rays = rays if camera.is_distorted else rays @ camera.R
    T = np.eye(4) if T_scene_camera is None else T_scene_camera
    R, centre = T[:3, :3], T[:3, 3]
    towards = rays @ R.T
    depth_m = np.full(camera.size, np.inf)
    surfaces = [(2, 18.0, None), (1, 1.5, None)]
    surfaces += [(2, 9.0, (-4.0, -1.0, -0.5, 1.5)), (2, 6.0, (0.5, 2.0, 0.3, 1.5))]
    for axis, where, face in surfaces:
        with np.errstate(divide='ignore', invalid='ignore'):
            along = (where - centre[axis]) / towards[..., axis]
            point = centre + along[..., None] * towards
        hit = along > 0
        if face is not None:
            left, right, top, bottom = face
            hit &= (point[..., 0] > left) & (point[..., 0] < right)
            hit &= (point[..., 1] > top) & (point[..., 1] < bottom)
        depth_m = np.where(hit & (along < depth_m), along, depth_m)
    point = centre + depth_m[..., None] * towards
    # Along its own axes each surface is a map; the third coordinate tells one from another.
    x, y = point[..., 0] + 3.1 * point[..., 2], point[..., 1] + 0.7 * point[..., 2]
    patterns = np.random.default_rng(0).integers(0, 255, (2, 512, 512)).astype(np.float32)
    gray = np.zeros(camera.size, np.float32)
    for pattern, step_m in zip(patterns, (0.15, 0.5)):
        u, v = (np.float32(c / step_m % 511) for c in (x, y))
        gray += 0.5 * cv2.remap(pattern, u, v, cv2.INTER_LINEAR)
    if plain is not None:
        left, right, top, bottom = plain
        inside = (point[..., 0] > left) & (point[..., 0] < right) & (point[..., 2] > 17.9)
        gray[inside & (point[..., 1] > top) & (point[..., 1] < bottom)] = 128
    return gray.astype(np.uint8), depth_m


def scene_depth_image(camera: Camera = SCENE_CAMERA):
    """Return the scene's true depth in metres at the pixel centres of a pinhole camera."""
    rays = camera.rays()
    return scene_depth(rays[..., 0], rays[..., 1])


class ExactPredictor:
    """A network whose output is an exact affine map of the scene's true inverse depth.

    Like a network it knows only what the image shows. Where that is black, as in the border of a
    rectified image, it answers with a surface that is not there.
    """

    BLACK_M = 3.0

    def __init__(self, scale=0.4, shift=-0.01, camera=SCENE_CAMERA, input_size=518):
        """Make one for which 1 / z = scale * p + shift."""
        self.spec = ModelSpec('exact', 'inverse_depth', metric=False, input_size=input_size)
        self.device = torch.device('cpu')
        self._scale, self._shift, self._camera = scale, shift, camera

    def __call__(self, image):
        """Return (1 / z - shift) / scale at the network's pixel centres."""
        height, width = image.shape[-2:]
        depth_m = scene_depth_image(self._camera.scaled(width, height))
        mean, std = (torch.tensor(x).view(3, 1, 1) for x in (self.spec.mean, self.spec.std))
        is_black = (image[0] * std + mean).amax(dim=0) < 0.5 / 255
        depth_m = np.where(is_black.numpy(), self.BLACK_M, depth_m)
        return torch.from_numpy((1 / depth_m - self._shift) / self._scale).float()


class NearnessPredictor:
    """A network that reads inverse depth off the red of what moving_camera.look() draws."""

    def __init__(self, input_size=224):
        self.spec = ModelSpec('nearness', 'inverse_depth', metric=False, input_size=input_size)
        self.device = torch.device('cpu')

    def __call__(self, image):
        """Return the red of a normalised image."""
        return image[0, 0] * self.spec.std[0] + self.spec.mean[0]


class RowPredictor:
    """A stand-in for a network on street images: nearness grows below the horizon."""

    def __init__(self, horizon=0.47, input_size=140):
        """Put the horizon at this fraction of the image height."""
        self.spec = ModelSpec('row', 'inverse_depth', metric=False, input_size=input_size)
        self.device = torch.device('cpu')
        self._horizon = horizon

    def __call__(self, image):
        """Return 0.02 at and above the horizon, growing linearly below."""
        height, width = image.shape[-2:]
        row = (torch.arange(height) + 0.5) / height
        return (0.02 + (row - self._horizon).clamp_min(0))[:, None].repeat(1, width)


def scene_lidar(rings=24, columns=120, seed=0):
    """Return the scene's surface points Nx3 in the lidar's frame, and their ring numbers.

    The points are seen from the camera, so that all of them are visible in the image.
    """
    v = np.linspace(20, 460, rings)
    u = np.linspace(5, 634, columns)
    u, v = np.meshgrid(u, v)
    K = SCENE_CAMERA.K
    x, y = (u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]
    z = scene_depth(x, y)
    points_camera = np.stack([x * z, y * z, z, np.ones_like(z)], axis=-1).reshape(-1, 4)
    points_lidar = points_camera @ np.linalg.inv(SCENE_T_CAMERA_LIDAR).T
    ring = np.repeat(np.arange(rings), columns)
    return points_lidar[:, :3].astype(np.float32), ring


def scene_image():
    """Return a 480x640x3 uint8 RGB picture of the scene (its content is not looked at)."""
    shade = (255 * np.exp(-scene_depth_image() / 8)).astype(np.uint8)
    return np.stack([shade, 255 - shade, shade // 2], axis=-1)


def write_scene_folder(folder: Path):
    """Write the scene as one frame in KITTI object style, for play_frames."""
    cv2.imwrite(str(folder / '000000.png'), scene_image()[..., ::-1])
    points, _ = scene_lidar()
    np.hstack([points, np.zeros((len(points), 1), np.float32)]).tofile(folder / '000000.bin')
    P2 = np.hstack([SCENE_CAMERA.K, np.zeros((3, 1))])
    lines = {'P2': P2, 'R0_rect': np.eye(3), 'Tr_velo_to_cam': SCENE_T_CAMERA_LIDAR[:3]}
    text = [f'{key}: ' + ' '.join(f'{x:.12e}' for x in m.ravel()) for key, m in lines.items()]
    (folder / '000000.txt').write_text('\n'.join(text))


def edges(depth_m, radius):
    """Return where a depth image is within radius pixels of a depth edge."""
    window = np.ones((3, 3), np.uint8)
    # On the ground, the steepest surface, inverse depth changes by 0.0026 over the window.
    jump = cv2.dilate(1 / depth_m, window) - cv2.erode(1 / depth_m, window)
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return cv2.dilate((jump > 0.004).astype(np.uint8), kernel) > 0


TINY = NetworkConfig(hidden_size=24, layers=4, heads=2, neck_sizes=(8, 8, 8, 8), fusion_size=8,
                     input_size=28)


def tiny_run(world, out, steps=6, **changes):
    """Return a training run of seconds, on a folder that is held out too."""
    phases = (Phase(2, 4, ((28, 42),), 0.0, 1e-3), Phase(steps - 2, 2, ((42, 56),), 1e-3, 0.0))
    config = TrainConfig((world,), world, out, phases, TINY, eval_every=3, eval_count=2, bf16=False,
                         workers=0)
    return dataclasses.replace(config, **changes)


def header(stamp_ns=0, frame_id='camera'):
    """Return a stand-in for std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(
        stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id
    )


@contextmanager
def spinning(node):
    """Spin a ROS node on a thread until the block ends; what its callbacks raise is raised here."""
    from rclpy.executors import SingleThreadedExecutor

    stop = threading.Event()
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin():
        while not stop.is_set():
            executor.spin_once(timeout_sec=0.05)

    with ThreadPoolExecutor(1) as threads:
        spun = threads.submit(spin)
        try:
            yield
        finally:
            stop.set()
            spun.result()
            executor.remove_node(node)


@contextmanager
def program(*command, ready=None, stdin=False):
    """Run a Python program until the block ends; it must stop cleanly on SIGINT.

    Args:
        command: script (or -m module) and its arguments.
        ready: a line of its output that contains this is waited for.
        stdin: whether its standard input is a pipe.

    Yields:
        The process; its lines hold all that it said, when the block has ended.
    """
    process = subprocess.Popen(
        [sys.executable, *map(str, command)],
        stdin=subprocess.PIPE if stdin else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    process.lines = []
    # Read all along: a program that says much would wait for ever for room in a pipe nobody reads.
    reading = threading.Thread(target=lambda: process.lines.extend(process.stdout), daemon=True)
    try:
        while ready is not None and ready not in ''.join(process.lines[-1:]):
            process.lines.append(process.stdout.readline())
            said = ''.join(process.lines)
            assert process.lines[-1], f'{command} ended before "{ready}":\n{said}'
        reading.start()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()  # a test leaves nothing behind
            raise
        if reading.ident is not None:
            reading.join(timeout=60)  # what it started itself may hold its pipe
    if process.returncode not in (0, -signal.SIGKILL):
        said = ''.join(process.lines)
        raise AssertionError(f'{command} returned {process.returncode}:\n{said}')


def blind(camera: Camera = SCENE_CAMERA):
    """Return where the depth camera of the tests sees nothing: a band across a third of it."""
    column = (np.arange(camera.width) + 0.5) / camera.width
    return np.broadcast_to((column > 0.5) & (column < 0.83), camera.size)
