# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A few images and what belongs to them, taken apart as the node does it, without its network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import mean, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from depth_anything_ros.annotation.camera_watch import CameraWatch, SourceWatch
from depth_anything_ros.annotation.recording import RecordedImage
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.camera import Camera
from depth_anything_ros.doctor.facts import Looked, SourceSeen
from depth_anything_ros.doctor.listening import Kept
from depth_anything_ros.doctor.topic_names import raw_name
from depth_anything_ros.doctor.view import View
from depth_anything_ros.errors import BadFrameError, DepthAnythingError
from depth_anything_ros.metric_depth.extrinsics import ExtrinsicJudge, outline
from depth_anything_ros.metric_depth.quarter_turns import better_turn, seeing_turn
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.onnx_file import open_onnx
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.prediction import edge_view
from depth_anything_ros.ros.messages import decode_image, deserialize
from depth_anything_ros.ros.sensors import Sensors
from depth_anything_ros.ros.surroundings import Surroundings
from depth_anything_ros.ros.transforms import FrameTree, Transforms

SETTLING_S = 0.3  # after an image, for what belongs to it and is under way
_ESTABLISHED = 0.5  # of the score: nobody need look for another pose


def look_at(view: View, messages: Iterable[Kept], tree: FrameTree | None) -> Looked:
    """Take images apart, each with what had come when its turn would have been.

    Args:
        view: parameters, and topics of the inputs.
        messages: of all inputs, the newest.
        tree: TF; None where it cannot be read here.
    """
    turns = sorted(messages, key=lambda m: m.arrived_s + SETTLING_S * (m.name == 'image'))
    count = sum(message.name == 'image' for message in turns)
    if not count:
        return Looked()
    config = view.config
    around = Surroundings(
        config,
        Transforms(config.scale, tree),
        lambda name: raw_name(view.inputs[name].topic),
        Sensors(config),
    )
    topic = view.inputs['image'].topic
    topics = CameraTopics(raw_name(topic), topic, raw_name(topic) != topic, {})
    watch = CameraWatch(topics, around, config, count, count)
    edges = _Edges(around, view)
    for message in turns:
        if message.name == 'image':
            stamp_ns, data = message.stamp_ns, message.data
            watch.add(RecordedImage(0, stamp_ns, stamp_ns, data))
            edges.add(stamp_ns, data)
            continue
        try:
            around.add(message.name, message.data)
        except BadFrameError:
            pass  # too large; what is missed by it is told
    looked = Looked(
        watch.looked_at,
        watch.size,
        watch.form,
        watch.frame_id,
        sources={name: _source(each, watch.looked_at) for name, each in watch.sources.items()},
    )
    return edges.judged(looked)


def is_metric(view: View) -> bool | None:
    """Tell whether the checkpoint predicts metres by itself; None where it is not here."""
    try:
        path = locate(view.config.model.checkpoint, download=False)
        opened = open_onnx if path.suffix == '.onnx' else open_checkpoint
        return opened(path, view.config.model).spec.metric
    except DepthAnythingError:
        return None


def _source(watch: SourceWatch, looked_at: int) -> SourceSeen:
    some = [count for count in watch.anchors if count]
    covered = [each for count, each in zip(watch.anchors, watch.covered) if count]
    return SourceSeen(
        len(some) / max(1, looked_at),
        median(some) if some else 0.0,
        mean(each.columns for each in covered) if covered else 0.0,
        mean(each.pixels for each in covered) if covered else 0.0,
        median(watch.offsets_s) if watch.offsets_s else None,
        {watch.keys.get(text, ''): text for text, _ in reversed(watch.reasons.most_common())},
    )


class _Edges:
    """Whether there is a picture and a camera, and whether edges of sweeps lie on its edges."""

    def __init__(self, around: Surroundings, view: View) -> None:
        self._around, self._view = around, view
        self._judge, self._refused = ExtrinsicJudge(), list[str]()
        self._views: list[tuple[Any, Sweep]] = []
        self._camera: Camera | None = None
        self._image_error, self._camera_error = '', ('', '')

    def add(self, stamp_ns: int, data: bytes) -> None:
        """Look at an image."""
        around, scale = self._around, self._view.config.scale
        try:
            message = deserialize(data, around.image_kind)
            image = decode_image(message, self._view.config.limits)
        except BadFrameError as error:
            self._image_error = str(error)
            return
        try:
            self._camera = camera = around.cameras.for_image(image, stamp_ns)
        except BadFrameError as error:
            self._camera_error = error.reason, str(error)
            return
        try:
            sweep = around.sweep(message.header.frame_id, stamp_ns, scale.max_time_offset)
        except BadFrameError:
            return  # which CameraWatch has told
        view = edge_view(camera)
        if sweep is not None and view is not None:
            edges, pinhole = outline(view(image)), camera.rectified()
            self._views.append((edges, sweep))
            anchors = sweep.anchors(pinhole, scale)
            self._refused.append(self._judge.judge(edges, anchors, pinhole, stamp_ns))

    def judged(self, looked: Looked) -> Looked:
        """Add what was found."""
        camera = self._camera
        if camera is None:
            key, error = self._camera_error
            return replace(
                looked, image_error=self._image_error, camera_key=key, camera_error=error
            )
        looked = replace(
            looked,
            focal_px=(float(camera.K[0, 0]), float(camera.K[1, 1])),
            centre_px=(float(camera.K[0, 2]), float(camera.K[1, 2])),
            model=camera.model if camera.is_distorted else 'pinhole',
            score=self._judge.score,
            refused=self._refused[-1] if sum(map(bool, self._refused)) > 1 else '',
        )
        views, pinhole, scale = self._views, camera.rectified(), self._view.config.scale
        if not views or self._judge.score >= _ESTABLISHED:
            return looked
        if not any(len(sweep.anchors(pinhole, scale)) for _, sweep in views):
            return replace(looked, seen_turned=_pose(seeing_turn(views[-1][1], pinhole, scale)))
        return replace(looked, turned=_pose(better_turn(views, pinhole, scale)))


def _pose(T: NDArray[np.float64] | None) -> tuple[float, ...] | None:
    return None if T is None else tuple(float(x) for x in matrix_to_pose(T))
