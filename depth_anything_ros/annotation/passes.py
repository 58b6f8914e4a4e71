# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""A bag through the node's own step: once, and once more where images wait for what comes later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
import math
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader

from depth_anything_ros.annotation.folder_output import TOPICS as KITTI
from depth_anything_ros.annotation.output import Answer, Output
from depth_anything_ros.annotation.recording import RecordedImage, Recording, Refuse
from depth_anything_ros.annotation.request import Request
from depth_anything_ros.annotation.second_pass import CameraGaps, Measured, Met
from depth_anything_ros.annotation.stages import Stages
from depth_anything_ros.annotation.topics import CameraTopics
from depth_anything_ros.annotation.unit_report import Failure, UnitReport
from depth_anything_ros.config import Config
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.scale import PassRecord, State
from depth_anything_ros.network.predictor import Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline, Outputs, Prediction
from depth_anything_ros.poses import Matrix
from depth_anything_ros.ros.frame_step import FrameStep, Gathered
from depth_anything_ros.ros.output_messages import outputs_for
from depth_anything_ros.ros.surroundings import Surroundings

MOST_NAMED = 1000  # failures, one by one; beyond, they are counted

OnFrame = Callable[[int, int], None]
Stopped = Callable[[], bool]


class Passes:
    """One bag, of which all that is found is counted in a report."""

    def __init__(
        self,
        bag: Reader,
        cameras: list[CameraTopics],
        request: Request,
        config: Config,
        predictor: Predictor,
        report: UnitReport,
        side_by_side: bool = True,
    ) -> None:
        """Learn what holds in the bag at all times.

        Args:
            bag: an open one.
            cameras: of it, which the report has too.
            request: what is wanted.
            config: the node's parameters.
            predictor: the network.
            report: on the unit.
            side_by_side: whether the network is at one image while another is measured.

        Raises:
            DatasetError: the bag is corrupt.
            ConfigError: camera.mask cannot be read.
        """
        self._bag, self._cameras, self._request = bag, cameras, request
        self._config, self._predictor, self._report = config, predictor, report
        self._unit, self._is_counted = report.unit, True
        self._side_by_side = side_by_side
        self._outputs = outputs_for(KITTI if request.format == 'kitti' else request.topics)
        start_ns = self._unit.start_ns
        self._from_ns = None if start_ns is None else start_ns - round(1e9 * self._unit.before_s)
        self._expected = _expected(bag, report, self._from_ns)
        self._seen = 0
        self._answers = [0 for _ in cameras]
        self._measured: list[list[Measured]] = [[] for _ in cameras]
        self._reports = list(report.cameras.values())
        for camera in cameras:
            if 'camera_info' not in camera.inputs:
                report.notes.append(_calibrated_by(camera, request))
        self._recording, self._steps = self._begin(self._refuse, self._miss)

    def first(self, output: Output, on_frame: OnFrame, stopped: Stopped) -> bool:
        """Write all answers, or all that need no second pass.

        Returns:
            Whether it came to its end.
        """
        recording, keeps = self._recording, self._request.keeps
        connections = list(self._bag.connections) if keeps else recording.connections
        with Stages(self._side_by_side) as stages:

            def keep(connection: Connection, time_ns: int, data: bytes) -> None:
                if keeps and self._unit.holds(time_ns):
                    stages.write(partial(output.keep, connection, time_ns, data))

            for number, image in enumerate(recording.images(connections, keep)):
                if stopped():
                    return False
                step, topic = self._steps[image.camera], self._cameras[image.camera].topic
                self._is_counted = self._unit.holds(image.time_ns)
                try:
                    seen = step.look(image.data)
                    prediction = step.predict(seen)
                except BadFrameError as error:
                    self._refuse(topic, image.time_ns, error, image.stamp_ns)
                else:
                    gathered = step.gather(seen)
                    pose = _pose(recording.surroundings[image.camera], seen.header, image)
                    met = Met(number, self._next_answer(image), image, gathered, pose)
                    stages.measure(
                        partial(_measured, step, gathered, prediction, self._outputs),
                        partial(self._take, output, met),
                    )
                self._seen = number + 1
                on_frame(self._seen, self._expected)
        return True

    def second(
        self, output: Output, folder: Path, on_frame: OnFrame, stopped: Stopped
    ) -> bool:
        """Read the bag again, and write the answers that are left.

        Args:
            output: as in the first pass.
            folder: where images may lie meanwhile.
            on_frame: told how many images are done in both passes, of how many.
            stopped: asked before each image.

        Returns:
            Whether it came to its end.
        """
        done = self._seen
        total = done + sum(one.waits for images in self._measured for one in images)
        if done == total:
            return True
        recording, steps = self._begin(_nothing, _nothing)  # what is wrong has been told
        cameras = [
            CameraGaps(images, step, self._config, folder)
            for images, step in zip(self._measured, steps)
        ]
        self._measured.clear()
        again = [Counter[State]() for _ in cameras]

        def take(met: Met, frame: DepthFrame) -> None:
            again[met.image.camera][frame.fit.state] += 1
            self._write(output, met, frame)

        with Stages(self._side_by_side) as stages:
            for number, image in enumerate(recording.images(recording.connections)):
                if stopped():
                    return False
                step, gaps = steps[image.camera], cameras[image.camera]
                if not gaps.needs(number):
                    continue
                gathered = step.gather(step.look(image.data))
                header, around = gathered.seen.header, recording.surroundings[image.camera]
                pose = _pose(around, header, image)
                met = Met(number, gaps.answer_of(number), image, gathered, pose)
                for one, bridged in gaps.add(met):
                    if stopped():
                        return False
                    prediction = step.predict(one.gathered.seen)
                    stages.measure(
                        partial(step.measure, one.gathered, prediction, self._outputs, bridged),
                        partial(take, one),
                    )
                    on_frame(done := done + 1, total)
        for camera, states in zip(self._cameras, again):
            if states:
                said = ', '.join(f'{n} {state.value}' for state, n in sorted(states.items()))
                self._report.notes.append(
                    f'{camera.topic}: {states.total()} images had no fit of their own; with what '
                    f'came later they are {said}'
                )
        return True

    def _begin(
        self, refuse: Refuse, miss: Callable[[str, BadFrameError], Any]
    ) -> tuple[Recording, list[FrameStep]]:
        recording = Recording(
            self._bag, self._cameras, self._config, refuse, self._from_ns, self._unit.stop_ns
        )
        steps, camera_info = [], self._request.camera_info
        for camera, around in zip(self._cameras, recording.surroundings):
            if 'camera_info' not in camera.inputs and camera_info is not None:
                around.add('camera_info', camera_info)
            pipeline = DepthPipeline(self._predictor, camera.configured(self._config))
            steps.append(FrameStep(pipeline, around, partial(miss, camera.topic)))
        return recording, steps

    def _refuse(
        self, topic: str, time_ns: int, error: BadFrameError, stamp_ns: int | None = None
    ) -> None:
        """Count a message of the unit that cannot be used, and name the first ones."""
        if not self._unit.holds(time_ns):
            return
        camera = self._report.cameras.get(topic)
        (self._report.refused if camera is None else camera.failed)[error.reason] += 1
        if len(self._report.failures) < MOST_NAMED:
            failure = Failure(topic, time_ns, stamp_ns, error.reason, str(error))
            self._report.failures.append(failure)

    def _miss(self, topic: str, error: BadFrameError) -> None:
        """Count what the frame in hand has to do without."""
        if self._is_counted:
            self._report.cameras[topic].incomplete[error.reason] += 1

    def _next_answer(self, image: RecordedImage) -> int | None:
        """Number an answer; None where it is only to bring what is estimated over time along."""
        if not self._is_counted:
            return None
        self._answers[image.camera] += 1
        return self._answers[image.camera] - 1

    def _take(
        self, output: Output, met: Met, found: tuple[DepthFrame, PassRecord | None]
    ) -> None:
        """Write an answer unless it waits for the second pass."""
        frame, record = found
        if self._request.smooth and record is not None:  # there is none without a camera
            measured = Measured(met.number, met.answer, record)
            self._measured[met.image.camera].append(measured)
            if measured.waits:
                return
        self._write(output, met, frame)

    def _write(self, output: Output, met: Met, frame: DepthFrame) -> None:
        """Write what is known of an image of the unit, and count it."""
        if met.answer is None:
            return
        header = met.gathered.seen.header
        output.write_frame(Answer(met.image, header, frame, met.answer, met.T_fixed_camera))
        camera = self._reports[met.image.camera]
        camera.frames += 1
        camera.states[frame.fit.state.value] += 1
        if math.isfinite(frame.sigma):
            camera.add_sigma(frame.sigma)


def _measured(
    step: FrameStep, gathered: Gathered, prediction: Prediction, outputs: Outputs
) -> tuple[DepthFrame, PassRecord | None]:
    return step.measure(gathered, prediction, outputs), step.record


def _nothing(*_: object) -> None:
    """Say nothing."""


def _expected(bag: Reader, report: UnitReport, from_ns: int | None) -> int:
    """Return about how many images there are from a time to the end of the unit."""
    count = sum(c.msgcount for c in bag.connections if c.topic in report.cameras)
    stop_ns = report.unit.stop_ns
    first_ns = bag.start_time if from_ns is None else max(from_ns, bag.start_time)
    last_ns = bag.end_time if stop_ns is None else min(stop_ns, bag.end_time)
    return round(count * (last_ns - first_ns) / max(bag.end_time - bag.start_time, 1))


def _pose(around: Surroundings, header: Any, image: RecordedImage) -> Matrix | None:
    """Return where the camera is where that is known; what is missing of it the frame says."""
    try:
        return around.transforms.way(header.frame_id, image.stamp_ns)
    except BadFrameError:
        return None


def _calibrated_by(camera: CameraTopics, request: Request) -> str:
    """Return what is to be said of a camera that has no camera_info beside it."""
    if request.camera_info is None:
        return f'{camera.topic} has no camera_info beside it: --camera-info FILE gives it one'
    return f'{camera.topic} is calibrated by --camera-info'
