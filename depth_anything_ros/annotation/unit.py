# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One bag, or a part of it, from start to end: the unit of work of a machine or of many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import math
from pathlib import Path

from rosbags.interfaces import Connection
import torch

from depth_anything_ros.annotation.bag_output import BagOutput
from depth_anything_ros.annotation.recording import RecordedImage, Recording
from depth_anything_ros.annotation.topics import CameraTopics, find_cameras
from depth_anything_ros.annotation.unfinished import made_whole, StopMaking
from depth_anything_ros.annotation.unit_report import CameraReport, Failure, Unit, UnitReport
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BadFrameError, DatasetError
from depth_anything_ros.network.predictor import Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline
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
        topics: of output_messages.TOPICS, those that are written; depth/scale always is.
        keep: whether the original topics are kept.
        cameras: topics of images; empty is all.
        remapped: pairs of an input of the node and its topic.
        camera_info: serialised CameraInfo for cameras that have none in the bag; None is none.
    """

    topics: frozenset[str] = frozenset({'depth/image', 'depth/camera_info', 'depth/stddev'})
    keep: bool = True
    cameras: tuple[str, ...] = ()
    remapped: tuple[tuple[str, str], ...] = ()
    camera_info: bytes | None = None


def annotate_unit(
    unit: Unit,
    request: Request,
    config: Config,
    load: LoadPredictor,
    out: Path,
    on_frame: Callable[[int, int], None] = lambda done, of: None,
    stopped: Callable[[], bool] = lambda: False,
) -> UnitReport:
    """Write the depth of every image of a bag.

    Args:
        unit: what is annotated.
        request: what is wanted.
        config: the node's parameters.
        load: makes the network; one that keeps it serves many units.
        out: folder that does not exist yet.
        on_frame: told how many images are done, of how many in the bag.
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
        connections = list(bag.connections) if request.keep else recording.connections
        topics, outputs = request.topics | {'depth/scale'}, outputs_for(request.topics)
        total = sum(c.msgcount for c in bag.connections if c.topic in report.cameras)
        steps = _steps(recording, config, load, work)
        with made_whole(out) as room, BagOutput(room, bag, cameras, topics, request.keep) as output:

            def keep(connection: Connection, time_ns: int, data: bytes) -> None:
                if unit.start_ns is None or time_ns >= unit.start_ns:
                    output.keep(connection, time_ns, data)

            for done, image in enumerate(recording.images(connections, keep), 1):
                if stopped():
                    raise StopMaking
                step, is_wanted = steps[image.camera], image.time_ns >= (unit.start_ns or 0)
                try:
                    seen = step.predict(image.data)
                except BadFrameError as error:
                    work.refuse(cameras[image.camera].topic, image.time_ns, error, image.stamp_ns)
                else:
                    frame = step.measure(seen, outputs)
                    if is_wanted:
                        output.write_frame(image, seen, frame)
                        work.count(image, frame)
                on_frame(done, total)
            report.finished = True
    return report


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
        self._report = report
        report.cameras = {camera.topic: CameraReport() for camera in cameras}
        self._reports = list(report.cameras.values())

    def refuse(
        self, topic: str, time_ns: int, error: BadFrameError, stamp_ns: int | None = None
    ) -> None:
        """Count a message that cannot be used, and name the first ones."""
        camera = self._report.cameras.get(topic)
        (self._report.refused if camera is None else camera.failed)[error.reason] += 1
        if len(self._report.failures) < MOST_NAMED:
            failure = Failure(topic, time_ns, stamp_ns, error.reason, str(error))
            self._report.failures.append(failure)

    def miss(self, topic: str, error: BadFrameError) -> None:
        """Count what a frame has to do without."""
        self._report.cameras[topic].incomplete[error.reason] += 1

    def count(self, image: RecordedImage, frame: DepthFrame) -> None:
        """Count an image that was answered."""
        camera = self._reports[image.camera]
        camera.frames += 1
        camera.states[frame.fit.state.value] += 1
        if math.isfinite(frame.sigma):
            camera.sigmas.append(frame.sigma)
