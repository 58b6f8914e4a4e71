# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Draw a few frames of a recorded demo: image, depth, truth, error, cloud over the true plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.camera import Camera
from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.evaluation.demo_score import score
from depth_anything_ros.ros.bags import open_bag, read_serialized, TYPES
from depth_anything_ros.ros.cdr import stamp_of
from depth_anything_ros.ros.depth_messages import decode_depth
from depth_anything_ros.ros.images import depth_plane
from depth_anything_ros.ros.messages import decode_camera, decode_image

Picture = NDArray[np.uint8]  # HxWx3 BGR
Array = NDArray[Any]

PANEL_WIDTH = 308
NEAR_M, FAR_M = 1.0, 80.0  # ends of the colour scale of depth, logarithmic
LARGEST_ERROR = 0.3
PLAN_RANGE_M = 40.0
_COMPRESSED = '/compressedDepth'  # the same image, as image_transport names it
_TYPES = {
    '/depth/image': 'Image',
    f'/depth/image{_COMPRESSED}': 'CompressedImage',
    '/depth/image_rect': 'Image',
    '/depth/camera_info': 'CameraInfo',
    '/depth/points': 'PointCloud2',
    '/truth/depth': 'Image',
}
_GRAY, _PAPER, _INK, _ORANGE = (110, 110, 110), (255, 255, 255), (60, 60, 60), (0, 110, 255)


def draw_contact_sheet(bag: Path, path: Path, rows: int = 6) -> None:
    """Write a PNG with frames spread evenly over a bag that the demo recorded.

    Args:
        bag: with depth/image_rect, depth/image, depth/camera_info, depth/points; the columns
            truth and error only where it has truth/depth.
        path: of the picture.
        rows: how many frames.

    Raises:
        DatasetError: the bag has no depth image, or is corrupt.
    """
    frames = [_decoded(bag, frame) for frame in _read(bag, rows)]
    with_truth = any(frame.truth_m is not None for frame in frames)
    titles = ['image', f'depth, {NEAR_M:g} (red) to {FAR_M:g} m (blue)']
    if with_truth:
        titles += ['truth', f'relative error, 0 (black) to {LARGEST_ERROR:.0%} (white)']
    seen = 'cloud over true plan' if with_truth else 'cloud'
    titles.append(f'{seen} from above, grid of 10 m')
    sheet = [_titles(titles)]
    for frame in frames:
        sheet.append(np.hstack(_panels(frame, with_truth)))
    cv2.imwrite(str(path), np.vstack(sheet))


def _read(bag: Path, count: int) -> list[dict[str, Any]]:
    """Return count times topic -> message, of equal stamps."""
    with open_bag(bag) as reader:
        connections = [
            c for c in reader.connections
            if c.topic in _TYPES and c.msgtype == f'sensor_msgs/msg/{_TYPES[c.topic]}'
        ]
        by_stamp: dict[int, dict[str, Any]] = {}
        # The recorded depth says which frames; the rest is read only for those.
        depth = [c for c in connections if c.topic.removesuffix(_COMPRESSED) == '/depth/image']
        stamps = list(dict.fromkeys(stamp_of(d) for _, _, d in read_serialized(reader, depth)))
        if not stamps:
            raise DatasetError(f'{bag} has no /depth/image: record the outputs of the node')
        chosen = {stamps[i] for i in np.linspace(0, len(stamps) - 1, count).round().astype(int)}
        for connection, _, data in read_serialized(reader, connections):
            stamp_ns = stamp_of(data)
            if stamp_ns in chosen:
                message = TYPES.deserialize_cdr(data, connection.msgtype)
                topic = connection.topic.removesuffix(_COMPRESSED)
                by_stamp.setdefault(stamp_ns, {})[topic] = message
    complete = {'/depth/image', '/depth/image_rect', '/depth/camera_info'}
    return [frame for _, frame in sorted(by_stamp.items()) if complete <= set(frame)]


@dataclass(frozen=True, eq=False)
class _Frame:
    """What a row shows; None where the bag has none."""

    image: Picture
    depth_m: Array
    camera: Camera
    truth_m: Array | None
    cloud: Array | None


def _decoded(bag: Path, frame: dict[str, Any]) -> _Frame:
    """Take the messages of one stamp apart, all of them of one size."""
    size: tuple[int, ...] | None = None

    def decoded(topic: str, decode: Callable[[Any], Any], shape: Callable[[Any], Any]) -> Any:
        nonlocal size
        if topic not in frame:
            return None
        try:
            found = decode(frame[topic])
        except BadFrameError as error:
            raise DatasetError(f'{bag} is corrupt at {topic}: {error}') from error
        size = size or shape(found)
        if shape(found) != size:
            raise DatasetError(
                f'{bag}: {topic} is {shape(found)}, but /depth/image is {size}: record it again'
            )
        return found

    depth_m = decoded('/depth/image', lambda m: decode_depth(m).depth_m, np.shape)
    image = decoded('/depth/image_rect', decode_image, lambda image: image.shape[:2])
    return _Frame(
        np.ascontiguousarray(image[..., ::-1]),
        depth_m,
        decoded('/depth/camera_info', partial(decode_camera, rectified=True), lambda c: c.size),
        decoded('/truth/depth', depth_plane, np.shape),
        decoded('/depth/points', _grid, lambda points: size),  # with a stride of its own
    )


def _panels(frame: _Frame, with_truth: bool) -> list[Picture]:
    image, depth_m, truth_m = frame.image, frame.depth_m, frame.truth_m
    size = (PANEL_WIDTH, round(PANEL_WIDTH * image.shape[0] / image.shape[1]))
    panels = [image, colour_depth(depth_m)]
    if truth_m is not None:
        panels += [colour_depth(truth_m), colour_error(depth_m, truth_m)]
    elif with_truth:
        panels += [np.full_like(image, 255)] * 2
    panels = [_u8(cv2.resize(panel, size, interpolation=cv2.INTER_AREA)) for panel in panels]
    if truth_m is not None:
        found = score(depth_m, truth_m)
        _write(panels[3], f'AbsRel {found.abs_rel:.3f}  delta1 {found.delta1:.3f}', (6, 16))
    true_points = None if truth_m is None else frame.camera.rays() * truth_m[..., None]
    panels.append(plan(size, frame.cloud, true_points))
    return [np.pad(p, ((2, 2), (2, 2), (0, 0)), constant_values=255) for p in panels]


def colour_depth(depth_m: Array) -> Picture:
    """Colour depth in metres on a logarithmic scale, near red, far blue, unknown gray."""
    with np.errstate(divide='ignore', invalid='ignore'):
        level = np.log(FAR_M / depth_m) / np.log(FAR_M / NEAR_M)
    return _ramp(level, cv2.COLORMAP_TURBO)


def colour_error(depth_m: Array, truth_m: Array) -> Picture:
    """Colour the relative error |z* - z| / z, unknown gray."""
    return _ramp(np.abs(depth_m - truth_m) / truth_m / LARGEST_ERROR, cv2.COLORMAP_HOT)


def _ramp(level: Array, colours: int) -> Picture:
    known = np.isfinite(level)
    index = (np.where(known, level, 0).clip(0, 1) * 255).astype(np.uint8)
    picture = cv2.applyColorMap(index, colours)
    picture[~known] = _GRAY
    return _u8(picture)


def _u8(picture: Array) -> Picture:
    return np.asarray(picture, dtype=np.uint8)


def upright(points: Array) -> Array:
    """Return which points of an organised cloud stand on surfaces steeper than 45 degrees.

    Neither the camera's height nor, for a few degrees, its pitch matters.

    Args:
        points: HxWx3 in an optical frame (y down, z forward), NaN for none.

    Returns:
        HxW bool.
    """
    down, up = points[1:, :, :], points[:-1, :, :]
    rise, run = np.abs(down[..., 1] - up[..., 1]), np.abs(down[..., 2] - up[..., 2])
    steep = np.zeros(points.shape[:2], dtype=bool)
    steep[1:] = rise > run  # false where NaN
    return steep


def plan(size: tuple[int, int], cloud: Array | None, truth: Array | None) -> Picture:
    """Draw what stands upright from above: the cloud orange over the truth in ink.

    Args:
        size: width, height in pixels; the camera is at the middle of the bottom, looking up.
        cloud: HxWx3 in an optical frame, metres.
        truth: the same of the true depth, of any other size.
    """
    width, height = size
    pixels_per_m = height / PLAN_RANGE_M
    picture = np.full((height, width, 3), 255, np.uint8)
    for metres in range(10, int(PLAN_RANGE_M), 10):
        row = int(height - metres * pixels_per_m)
        cv2.line(picture, (0, row), (width, row), (225, 225, 225))
    for points, colour, dot in ((truth, _INK, 1), (cloud, _ORANGE, 0)):
        if points is None:
            continue
        x, _, z = points[upright(points)].T
        u = np.round(width / 2 + x * pixels_per_m).astype(int)
        v = np.round(height - z * pixels_per_m).astype(int)
        inside = (u >= dot) & (u < width - dot) & (v >= dot) & (v < height - dot)
        for du in range(-dot, dot + 1):
            for dv in range(-dot, dot + 1):
                picture[v[inside] + dv, u[inside] + du] = colour
    return picture


def _grid(message: Any) -> Array:
    """Return x y z of an organised float32 cloud of ours, rows x columns x 3."""
    step, size = int(message.point_step), int(message.height) * int(message.width)
    if step % 4 or step < 12 or len(message.data) != size * step:
        raise BadFrameError(
            'truncated_points',
            f'cloud of {message.height}x{message.width} points of {step} bytes has '
            f'{len(message.data)}',
        )
    values = np.frombuffer(message.data, '<f4')
    return values.reshape(message.height, message.width, step // 4)[..., :3]


def _titles(titles: list[str]) -> Picture:
    strip = np.full((24, (PANEL_WIDTH + 4) * len(titles), 3), 255, np.uint8)
    for i, title in enumerate(titles):
        _write(strip, title, (i * (PANEL_WIDTH + 4) + 4, 16), _INK)
    return strip


def _write(
    picture: Picture, text: str, at: tuple[int, int], colour: tuple[int, ...] = _PAPER
) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, colour, 1, cv2.LINE_AA)
