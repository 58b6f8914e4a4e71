# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One bag, or a part of it, from start to end: the unit of work of a machine or of many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
import os
from pathlib import Path

import cv2
from rosbags.rosbag2 import Reader
import torch

from depth_anything_ros.addresses import is_remote
from depth_anything_ros.annotation.bag_output import BagOutput, left_out
from depth_anything_ros.annotation.folder_output import FolderOutput
from depth_anything_ros.annotation.output import Output
from depth_anything_ros.annotation.passes import OnFrame, Passes, Stopped
from depth_anything_ros.annotation.remote import local_copy
from depth_anything_ros.annotation.request import Request as Request
from depth_anything_ros.annotation.topics import CameraTopics, find_cameras
from depth_anything_ros.annotation.unfinished import made_whole, StopMaking
from depth_anything_ros.annotation.unit_report import CameraReport, Unit, UnitReport
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import DatasetError
from depth_anything_ros.network.predictor import Predictor
from depth_anything_ros.ros.bags import open_bag

LoadPredictor = Callable[[ModelConfig, RuntimeConfig], Predictor]


def annotate_unit(
    unit: Unit,
    request: Request,
    config: Config,
    load: LoadPredictor,
    out: Path,
    on_frame: OnFrame = lambda done, of: None,
    stopped: Stopped = lambda: False,
    cores: int | None = None,
) -> UnitReport:
    """Write the depth of every image of a bag, and the report beside it.

    Args:
        unit: what is annotated.
        request: what is wanted.
        config: the node's parameters.
        load: makes the network; one that keeps it serves many units.
        out: folder that does not exist yet.
        on_frame: told how many images are done, of about how many.
        stopped: asked before each image; true leaves the output unfinished, as far as it is.
        cores: that may be used, which changes no byte; None is all that this process has.

    Raises:
        DatasetError: the bag cannot be read or has no camera, or the output cannot be written.
        DepthAnythingError: the network cannot be loaded.
    """
    inside = (out.resolve(), *out.resolve().parents)
    if not is_remote(unit.path) and Path(unit.path).resolve() in inside:
        raise DatasetError(f'{out} is in {unit.path}, which is read: write beside it')
    report = UnitReport(unit, str(out))
    with local_copy(unit.path) as path, open_bag(path, recover=True) as bag:
        if bag.loss:
            report.notes.append(f'{unit.path} is broken: {bag.loss}')
        cameras, notes = find_cameras(bag, request.cameras, dict(request.remapped))
        report.notes += notes + (left_out(bag) if request.keeps else [])
        report.cameras = {camera.topic: CameraReport() for camera in cameras}
        predictor = load(config.model, config.runtime)
        torch.set_num_threads(1)  # as the node does, which makes the same numbers
        cv2.setNumThreads(1)
        passes = Passes(
            bag, cameras, request, config, predictor, report, _side_by_side(predictor, cores)
        )
        with made_whole(out) as room:
            with _output(room, bag, cameras, request, config) as output:
                report.finished = passes.first(output, on_frame, stopped) and (
                    not request.smooth or passes.second(output, room.parent, on_frame, stopped)
                )
            report.write()  # before the output is there: with it there is always its report
            if not report.finished:
                raise StopMaking
    return report


def _side_by_side(predictor: Predictor, cores: int | None) -> bool:
    """Tell whether two images may be worked on at once: there is a second core, or a card."""
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    return cores > 1 or predictor.device.type != 'cpu'


def _output(
    path: Path, bag: Reader, cameras: list[CameraTopics], request: Request, config: Config
) -> AbstractContextManager[Output]:
    if request.format == 'kitti':
        return FolderOutput(path, cameras, with_poses=bool(config.scale.fixed_frame))
    return BagOutput(path, bag, cameras, request.topics | {'depth/scale'}, request.keep)
