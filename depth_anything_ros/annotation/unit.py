# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One bag, or a part of it, from start to end: the unit of work of a machine or of many."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
import math
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader
import torch

from depth_anything_ros.annotation.bag_output import BagOutput
from depth_anything_ros.annotation.folder_output import FolderOutput
from depth_anything_ros.annotation.folder_output import TOPICS as KITTI
from depth_anything_ros.annotation.output import Answer, Output
from depth_anything_ros.annotation.recording import RecordedImage, Recording
from depth_anything_ros.annotation.stages import Stages
from depth_anything_ros.annotation.topics import CameraTopics, find_cameras
from depth_anything_ros.annotation.unfinished import made_whole, StopMaking
from depth_anything_ros.annotation.unit_report import CameraReport, Failure, Unit, UnitReport
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.network.predictor import Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline
from depth_anything_ros.poses import Matrix
from depth_anything_ros.ros.bags import open_bag
from depth_anything_ros.ros.frame_step import FrameStep
from depth_anything_ros.ros.output_messages import outputs_for
from depth_anything_ros.ros.surroundings import Surroundings

LoadPredictor = Callable[[ModelConfig, RuntimeConfig], Predictor]
MOST_NAMED = 1000  # failures, one by one; beyond, they are counted


@dataclass(frozen=True)
class Request:
    """What is wanted of every bag; may be pickled.

    Attributes:
        topics: of output_messages.TOPICS, those that are written to a bag; depth/scale always is.
        keep: whether the original topics are kept in it.
        cameras: topics of images; empty is all.
        remapped: pairs of an input of the node and its topic.
        camera_info: serialised CameraInfo for cameras that have none in the bag; None is none.
        format: mcap, a bag; or kitti, a folder of pictures (folder_output.py).
    """

    topics: frozenset[str] = frozenset({'depth/image', 'depth/camera_info', 'depth/stddev'})
    keep: bool = True
    cameras: tuple[str, ...] = ()
    remapped: tuple[tuple[str, str], ...] = ()
    camera_info: bytes | None = None
    format: str = 'mcap'

    @property
    def keeps(self) -> bool:
        """Whether original messages are written."""
        return self.keep and self.format == 'mcap'


def annotate_unit(
    unit: Unit,
    request: Request,
    config: Config,
    load: LoadPredictor,
    out: Path,
    on_frame: Callable[[int, int], None] = lambda done, of: None,
    stopped: Callable[[], bool] = lambda: False,
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

    Raises:
        DatasetError: the bag cannot be read or has no camera, or the output cannot be written.
        DepthAnythingError: the network cannot be loaded.
    """
    if Path(unit.path).resolve() in (out.resolve(), *out.resolve().parents):
        raise DatasetError(f'{out} is in {unit.path}, which is read: write beside it')
    report = UnitReport(unit, str(out))
    with open_bag(unit.path) as bag:
        cameras, report.notes = find_cameras(bag, request.cameras, dict(request.remapped))
        work = _Work(cameras, report)
        before_ns = None if unit.start_ns is None else unit.start_ns - round(1e9 * unit.before_s)
        recording = Recording(bag, cameras, config, work.refuse, before_ns, unit.stop_ns)
        for camera, around in zip(cameras, recording.surroundings):
            if 'camera_info' not in camera.inputs:
                report.notes.append(_uncalibrated(camera, around, request.camera_info))
        connections = list(bag.connections) if request.keeps else recording.connections
        outputs = outputs_for(KITTI if request.format == 'kitti' else request.topics)
        total = _expected(bag, report, before_ns)
        steps = _steps(recording, config, load, work)
        with made_whole(out) as room:
            with _output(room, bag, cameras, request, config) as output, Stages() as stages:

                def keep(connection: Connection, time_ns: int, data: bytes) -> None:
                    if request.keeps and unit.holds(time_ns):
                        stages.write(partial(output.keep, connection, time_ns, data))

                for done, image in enumerate(recording.images(connections, keep), 1):
                    if stopped():
                        break
                    step, topic = steps[image.camera], cameras[image.camera].topic
                    is_wanted = work.begin(image)
                    try:
                        gathered = step.gather(step.predict(image.data))
                    except BadFrameError as error:
                        work.refuse(topic, image.time_ns, error, image.stamp_ns)
                    else:
                        header = gathered.seen.header
                        pose = _pose(recording.surroundings[image.camera], header, image)
                        stages.measure(
                            partial(step.measure, gathered, outputs),
                            partial(work.write, output, image, header, pose)
                            if is_wanted else _drop,
                        )
                    on_frame(done, total)
                else:
                    report.finished = True
            report.write()  # before the output is there: with it there is always its report
            if not report.finished:
                raise StopMaking
    return report


def _expected(bag: Reader, report: UnitReport, from_ns: int | None) -> int:
    """Return about how many images there are from a time to the end of the unit."""
    count = sum(c.msgcount for c in bag.connections if c.topic in report.cameras)
    stop_ns = report.unit.stop_ns
    first_ns = bag.start_time if from_ns is None else max(from_ns, bag.start_time)
    last_ns = bag.end_time if stop_ns is None else min(stop_ns, bag.end_time)
    return round(count * (last_ns - first_ns) / max(bag.end_time - bag.start_time, 1))


def _output(
    path: Path, bag: Reader, cameras: list[CameraTopics], request: Request, config: Config
) -> AbstractContextManager[Output]:
    if request.format == 'kitti':
        return FolderOutput(path, cameras, with_poses=bool(config.scale.fixed_frame))
    return BagOutput(path, bag, cameras, request.topics | {'depth/scale'}, request.keep)


def _pose(around: Surroundings, header: Any, image: RecordedImage) -> Matrix | None:
    """Return where the camera is where that is known; what is missing of it the frame says."""
    try:
        return around.transforms.way(header.frame_id, image.stamp_ns)
    except BadFrameError:
        return None


def _drop(frame: DepthFrame) -> None:
    """Write nothing: it was only to bring what is estimated over time to where it would be."""


def _uncalibrated(camera: CameraTopics, around: Surroundings, camera_info: bytes | None) -> str:
    """Calibrate a camera that has no camera_info beside it; return what is to be said of that."""
    if camera_info is None:
        return f'{camera.topic} has no camera_info beside it: --camera-info FILE gives it one'
    around.add('camera_info', camera_info)
    return f'{camera.topic} is calibrated by --camera-info'


def _steps(
    recording: Recording, config: Config, load: LoadPredictor, work: _Work
) -> list[FrameStep]:
    predictor = load(config.model, config.runtime)
    torch.set_num_threads(1)  # as the node does, which makes the same numbers
    return [
        FrameStep(
            DepthPipeline(predictor, camera.configured(config)),
            around,
            partial(work.miss, camera.topic),
        )
        for camera, around in zip(recording.cameras, recording.surroundings)
    ]


class _Work:
    """Counts what becomes of images and messages."""

    def __init__(self, cameras: list[CameraTopics], report: UnitReport) -> None:
        self._report, self._is_counted = report, True
        report.cameras = {camera.topic: CameraReport() for camera in cameras}
        self._reports = list(report.cameras.values())

    def refuse(
        self, topic: str, time_ns: int, error: BadFrameError, stamp_ns: int | None = None
    ) -> None:
        """Count a message of the unit that cannot be used, and name the first ones."""
        if not self._report.unit.holds(time_ns):
            return
        camera = self._report.cameras.get(topic)
        (self._report.refused if camera is None else camera.failed)[error.reason] += 1
        if len(self._report.failures) < MOST_NAMED:
            failure = Failure(topic, time_ns, stamp_ns, error.reason, str(error))
            self._report.failures.append(failure)

    def begin(self, image: RecordedImage) -> bool:
        """Tell whether an image is of the unit; others are worked through and not counted."""
        self._is_counted = self._report.unit.holds(image.time_ns)
        return self._is_counted

    def miss(self, topic: str, error: BadFrameError) -> None:
        """Count what the frame in hand has to do without."""
        if self._is_counted:
            self._report.cameras[topic].incomplete[error.reason] += 1

    def write(
        self,
        output: Output,
        image: RecordedImage,
        header: Any,
        pose: Matrix | None,
        frame: DepthFrame,
    ) -> None:
        """Write what is known of an image, and count it."""
        output.write_frame(Answer(image, header, frame, pose))
        camera = self._reports[image.camera]
        camera.frames += 1
        camera.states[frame.fit.state.value] += 1
        if math.isfinite(frame.sigma):
            camera.add_sigma(frame.sigma)
