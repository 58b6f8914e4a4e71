# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A few images and what belongs to them, taken apart as the node does it, without its network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean, median
from typing import Any

import numpy as np

from depth_anything_ros.annotation.camera_watch import CameraWatch, SourceWatch
from depth_anything_ros.annotation.recording import RecordedImage
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.camera import Camera
from depth_anything_ros.doctor.facts import Looked, SourceSeen
from depth_anything_ros.doctor.topic_names import raw_name
from depth_anything_ros.doctor.view import View
from depth_anything_ros.errors import BadFrameError, DepthAnythingError
from depth_anything_ros.metric_depth.extrinsics import ExtrinsicJudge, outline
from depth_anything_ros.metric_depth.quarter_turns import better_turn, seeing_turn
from depth_anything_ros.metric_depth.sources import Sweep
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.onnx_file import open_onnx
from depth_anything_ros.pipeline import edge_view
from depth_anything_ros.poses import matrix_to_pose
from depth_anything_ros.ros.messages import decode_image, deserialize
from depth_anything_ros.ros.surroundings import Surroundings
from depth_anything_ros.ros.transforms import FrameTree, Transforms

Messages = Sequence[tuple[int, bytes]]  # stamp in nanoseconds, CDR
_ESTABLISHED = 0.5  # of the score: nobody need look for another pose


def look_at(view: View, messages: Mapping[str, Messages], tree: FrameTree | None) -> Looked:
    """Take the newest images apart.

    Args:
        view: parameters, and topics of the inputs.
        messages: input -> what came, in the order in which it came.
        tree: TF; None where it cannot be read here.
    """
    images = messages.get('image', ())
    if not images:
        return Looked()
    config = view.config
    around = Surroundings(
        config, Transforms(config.scale, tree), lambda n: raw_name(view.inputs[n].topic), most=1000
    )
    for name, came in messages.items():
        for _, data in came if name != 'image' else ():
            try:
                around.add(name, data)
            except BadFrameError:
                pass  # too large; what is missed by it is told
    topic = view.inputs['image'].topic
    topics = CameraTopics(raw_name(topic), topic, raw_name(topic) != topic, {})
    watch = CameraWatch(topics, around, config, len(images), len(images))
    for stamp_ns, data in images:
        watch.add(RecordedImage(0, stamp_ns, stamp_ns, data))
    looked = Looked(
        watch.looked_at,
        watch.size,
        watch.form,
        watch.frame_id,
        sources={name: _source(each, watch.looked_at) for name, each in watch.sources.items()},
    )
    return _with_camera(looked, images, around, view)


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


def _with_camera(looked: Looked, images: Messages, around: Surroundings, view: View) -> Looked:
    """Add why there is no picture or camera; else what the camera is, and whether edges agree."""
    views: list[tuple[Any, Sweep]] = []
    judge, refused, camera = ExtrinsicJudge(), '', None
    scale = view.config.scale
    for stamp_ns, data in images:
        try:
            message = deserialize(data, around.image_kind)
            image = decode_image(message, view.config.limits)
        except BadFrameError as error:
            looked = replace(looked, image_error=str(error))
            continue
        try:
            camera = around.cameras.for_image(image, stamp_ns)
        except BadFrameError as error:
            looked = replace(looked, camera_key=error.reason, camera_error=str(error))
            continue
        try:
            sweep = around.sweep(message.header.frame_id, stamp_ns, scale.max_time_offset)
        except BadFrameError:
            continue
        seen = edge_view(camera)
        if sweep is not None and seen is not None:
            edges = outline(seen(image))
            views.append((edges, sweep))
            anchors = sweep.anchors(camera.rectified(), scale)
            refused = judge.judge(edges, anchors, camera.rectified(), stamp_ns) or refused
    if camera is None:
        return looked
    looked = replace(looked, image_error='', camera_key='', camera_error='')
    return _with_extrinsic(_described(looked, camera), views, camera, judge.score, refused, view)


def _described(looked: Looked, camera: Camera) -> Looked:
    K = camera.K
    return replace(
        looked,
        focal_px=(float(K[0, 0]), float(K[1, 1])),
        centre_px=(float(K[0, 2]), float(K[1, 2])),
        model=camera.model if camera.is_distorted else 'pinhole',
    )


def _with_extrinsic(
    looked: Looked,
    views: list[tuple[Any, Sweep]],
    camera: Camera,
    score: float,
    refused: str,
    view: View,
) -> Looked:
    looked = replace(looked, score=score, refused=refused)
    if not views or score >= _ESTABLISHED:
        return looked
    pinhole, scale = camera.rectified(), view.config.scale
    seen = any(len(sweep.anchors(pinhole, scale)) for _, sweep in views)
    if not seen:
        return replace(looked, seen_turned=_pose(seeing_turn(views[-1][1], pinhole, scale)))
    return replace(looked, turned=_pose(better_turn(views, pinhole, scale)))


def _pose(T: Any) -> tuple[float, ...] | None:
    return None if T is None else tuple(float(x) for x in np.asarray(matrix_to_pose(T)))
