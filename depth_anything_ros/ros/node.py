# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: wiring between topics and the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial, wraps
import gc
import re
import signal
import sys
import threading
import time
import traceback
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
import numpy as np
import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from rclpy.timer import Timer
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, LaserScan, PointCloud2
from std_msgs.msg import Header
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BadFrameError, DepthAnythingError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.metric_depth.scale import GroundPlane, ScaleFit, State
from depth_anything_ros.network.predictor import load_predictor, Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline
from depth_anything_ros.ros import parameters
from depth_anything_ros.ros.diagnostics import Statistics
from depth_anything_ros.ros.inputs import (
    CameraStore,
    PointStore,
    Transforms,
    TransformUnavailable,
)
from depth_anything_ros.ros.messages import (
    decode_image,
    decode_points,
    decode_scan,
    deserialize,
    serialized_stamp_ns,
    stamp_to_ns,
)
from depth_anything_ros.ros.outputs import OutputPublishers
from depth_anything_ros.ros.worker import NewestItemWorker, OneAhead

LoadPredictor = Callable[[ModelConfig, RuntimeConfig], Predictor]
Transition = Callable[['DepthNode', LifecycleState], TransitionCallbackReturn]

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)
QUIET_S = 5.0  # between two warnings of the same reason


def _transition(callback: Transition) -> Transition:
    """Report what a transition raises, since rclpy swallows it."""

    @wraps(callback)
    def wrapped(node: DepthNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return callback(node, state)
        except DepthAnythingError as error:
            node.get_logger().error(str(error))
            return FAILURE
        except Exception:
            node.get_logger().error(traceback.format_exc())
            return ERROR

    return wrapped


class DepthNode(LifecycleNode):
    """Camera image in; metric depth image and point cloud out.

    Attributes:
        failed: whether autostart could not bring the node to active.
    """

    def __init__(self, load: LoadPredictor = load_predictor, **node_options: Any) -> None:
        """Declare the parameters; everything else waits for configure.

        Args:
            load: makes the network out of model.* and runtime.*; tests hand in their own.
            node_options: passed on to rclpy's LifecycleNode.

        Raises:
            ConfigError: a parameter override is of the wrong type or out of range.
        """
        super().__init__('depth_anything', **node_options)
        self._load = load
        self._config = parameters.declare(self)
        parameters.on_change(self, lambda: self._config, self._apply)
        self._pipeline: DepthPipeline | None = None
        self._outputs: OutputPublishers | None = None
        self._worker: NewestItemWorker[Any] | None = None
        self._inputs: dict[str, Subscription] = {}
        self._timers: list[Timer] = []
        self._fit_state: State | None = None
        self._uncalibrated: Camera | None = None
        self._quiet_until: dict[str, float] = {}
        self.failed = False
        if self._config.autostart:
            self._autostart = self.create_timer(0.0, self._start_by_itself)

    # Lifecycle ---------------------------------------------------------------------------------

    @_transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, run them once, create the publishers."""
        config = self._config
        predictor = self._load(config.model, config.runtime)
        # The network has threads of its own. What surrounds it is many steps of microseconds:
        # shared among threads they win 3 ms a frame on an idle machine, and on a busy one each
        # step waits for a thread that is not scheduled, which has cost seconds.
        torch.set_num_threads(1)
        self._pipeline = DepthPipeline(predictor, config)
        size = config.model.input_size or predictor.spec.input_size
        warm_up = Camera.from_calibration(size, size, np.diag([size, size, 1.0]))
        self._pipeline.predict(np.zeros((size, size, 3), np.uint8), warm_up)
        self._statistics = Statistics(predictor.device)
        self._outputs = OutputPublishers(self)
        self._diagnostics = self.create_lifecycle_publisher(DiagnosticArray, '/diagnostics', 10)
        self.get_logger().info(
            f'{predictor.spec.name} on {predictor.device}, '
            f'{getattr(predictor, "backend", "a network of its own")}, predicts '
            + ('metric depth' if predictor.spec.metric else 'relative inverse depth')
        )
        return super().on_configure(state)

    @_transition
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the inputs and start the worker."""
        config = self._config
        image_topic = self.resolve_topic_name('image')
        rectified = config.camera.rectified == 'true' or (
            config.camera.rectified == 'auto'
            and re.search(r'(^|[/_])rect([/_]|$)', image_topic) is not None
        )
        self._cameras, self._points = CameraStore(rectified), PointStore()
        self._transforms = Transforms(self, config.scale)
        self._fit_state = None
        self._publication = OneAhead(self._publish)
        self._worker = NewestItemWorker(self._process, lambda: self._drop('superseded'))
        raw = config.image_transport == 'raw'
        self._image_kind = Image if raw else CompressedImage
        # What is large arrives serialised: only what is used is taken apart, off the executor.
        self._subscribe(
            'image',
            self._image_kind,
            'image' if raw else f'{image_topic}/compressed',
            1,
            self._on_image,
            raw=True,
        )
        self._subscribe('camera_info', CameraInfo, 'camera_info', 5, self._cameras.add)
        if config.scale.method in ('auto', 'lidar'):
            for kind, topic, decode in (
                (PointCloud2, 'points', decode_points), (LaserScan, 'scan', decode_scan)
            ):
                self._subscribe(
                    topic, kind, topic, 10, partial(self._on_points, kind, decode), raw=True
                )
        self._timers.append(self.create_timer(1.0, self._tell_diagnostics))
        return super().on_activate(state)

    @_transition
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and working; what is loaded stays loaded."""
        self._stop()
        return super().on_deactivate(state)

    @_transition
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, device memory too."""
        self._release()
        return super().on_cleanup(state)

    @_transition
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and release from whatever state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    @_transition
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after a failed transition."""
        self._stop()
        self._release()
        return SUCCESS

    def close(self) -> None:
        """Stop the worker and release everything, whatever the state; then destroy the node."""
        self._stop()
        self._release()
        self.destroy_node()

    def raise_crash(self) -> None:
        """Raise what ended the worker's thread: a bug must not look like a quiet camera."""
        if self._worker is not None and self._worker.crash is not None:
            raise self._worker.crash

    def _start_by_itself(self) -> None:
        self.destroy_timer(self._autostart)
        self.failed = self.trigger_configure() is not SUCCESS or (
            self.trigger_activate() is not SUCCESS
        )

    def _stop(self) -> None:
        for timer in self._timers:
            self.destroy_timer(timer)
        for subscription in self._inputs.values():
            self.destroy_subscription(subscription)
        self._timers, self._inputs = [], {}
        if self._worker is not None:
            self._worker.stop()
            self._publication.stop()
            self._transforms.close()
            self._worker = None

    def _release(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
            self.destroy_lifecycle_publisher(self._diagnostics)
        self._outputs = self._pipeline = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    # Inputs ------------------------------------------------------------------------------------

    def _subscribe(
        self,
        name: str,
        kind: Any,
        topic: str,
        depth: int,
        callback: Callable[..., None],
        *,
        raw: bool = False,
    ) -> None:
        self._inputs[name] = self.create_subscription(
            kind,
            topic,
            callback,
            QoSProfile(depth=depth, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            raw=raw,
        )

    def _on_image(self, data: bytes) -> None:
        self._statistics.received()
        if self._worker is not None:
            self._worker.submit(data)

    def _on_points(self, kind: Any, decode: Callable[[Any], SensorPoints], data: bytes) -> None:
        self._points.add(
            serialized_stamp_ns(data), data, lambda data: decode(deserialize(data, kind))
        )

    def _apply(self, config: Config) -> None:
        self._config = config
        if self._pipeline is not None:
            self._pipeline.config = config

    # One frame, on the worker's thread ---------------------------------------------------------

    def _process(self, data: bytes) -> None:
        assert self._pipeline is not None and self._outputs is not None
        wanted = self._outputs.wanted()
        if wanted is None:
            return
        config, stamp_ns = self._config, serialized_stamp_ns(data)
        if 0 < config.max_age < (self._now_ns() - stamp_ns) / 1e9:
            self._drop('too_old')
            return
        try:
            message = deserialize(data, self._image_kind)
            image = decode_image(message)
        except BadFrameError as error:
            self._refuse(error)
            return
        # Whatever else is missing or broken, the picture and relative depth go on without metres.
        missing: list[str] = []
        camera = self._camera_of(image, stamp_ns, missing)
        prediction = self._pipeline.predict(image, camera)
        points, T_camera_sensor = self._points_for(message.header.frame_id, stamp_ns, missing)
        ground = self._ground_for(camera, message.header.frame_id, stamp_ns, missing)
        frame = self._pipeline.measure(
            prediction, points, T_camera_sensor, stamp_ns=stamp_ns, ground=ground, outputs=wanted
        )
        if missing:
            reason = '; '.join([frame.fit.reason, *missing])
            frame = replace(frame, fit=replace(frame.fit, reason=reason))
        self._publication.submit((frame, message.header))

    # Publication, on a thread of its own while the network is at the next frame ----------------

    def _publish(self, item: tuple[DepthFrame, Header]) -> None:
        assert self._outputs is not None
        frame, header = item
        self._outputs.publish(frame, header)
        self._statistics.published(frame, stamp_to_ns(header.stamp), self._now_ns())
        self._tell_state(frame.fit)

    def _camera_of(self, image: Any, stamp_ns: int, missing: list[str]) -> Camera:
        try:
            return self._cameras.for_image(image, stamp_ns)
        except BadFrameError as error:
            missing.append(self._refuse(error))
            height, width = image.shape[:2]
            if self._uncalibrated is None or self._uncalibrated.size != (height, width):
                self._uncalibrated = Camera.uncalibrated(width, height)
            return self._uncalibrated

    def _points_for(self, camera_frame: str, stamp_ns: int, missing: list[str]) -> tuple[Any, Any]:
        try:
            points = self._points.nearest(stamp_ns, self._config.scale.max_time_offset)
            if points is not None:
                return self._transforms.sensor(points, camera_frame, stamp_ns)
        except (BadFrameError, TransformUnavailable) as error:
            missing.append(self._refuse(error))
        return None, None

    def _ground_for(
        self, camera: Camera, camera_frame: str, stamp_ns: int, missing: list[str]
    ) -> GroundPlane | None:
        try:
            return self._transforms.ground(camera, camera_frame, stamp_ns)
        except TransformUnavailable as error:
            missing.append(self._refuse(error))
            return None

    # Telling -----------------------------------------------------------------------------------

    def _tell_state(self, fit: ScaleFit) -> None:
        if fit.state is not self._fit_state:
            text = f'scale {fit.state.value} ({fit.method}): {fit.reason}'
            if fit.state is State.UNANCHORED:  # rclpy wants one line of code for one severity
                self.get_logger().warning(text)
            else:
                self.get_logger().info(text)
            self._fit_state = fit.state

    def _tell_diagnostics(self) -> None:
        publishers = {name: each.get_publisher_count() for name, each in self._inputs.items()}
        self._diagnostics.publish(
            self._statistics.report(self.get_name(), self._now_ns(), publishers)
        )

    def _drop(self, reason: str) -> None:
        self._statistics.dropped(reason)

    def _refuse(self, error: BadFrameError | TransformUnavailable) -> str:
        """Count a message that cannot be used, say why now and then, and return the reason."""
        self._drop(error.reason)
        now = time.monotonic()
        if now >= self._quiet_until.get(error.reason, 0.0):
            self._quiet_until[error.reason] = now + QUIET_S
            self.get_logger().warning(str(error))
        return str(error)

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def main(args: list[str] | None = None, load: LoadPredictor = load_predictor) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0, or 1 after one line that says why the node could not start.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):  # launch may send SIGINT twice
        signal.signal(number, lambda *_: stop.set())
    node = None
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = DepthNode(load)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not (stop.is_set() or node.failed):
            executor.spin_once(timeout_sec=0.1)
            node.raise_crash()
        return int(node.failed)
    except (DepthAnythingError, RCLError) as error:
        print(f'depth_node: {str(error).splitlines()[0]}', file=sys.stderr)
        return 1
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # also during the interpreter's own teardown
        if node is not None:
            node.close()
        rclpy.try_shutdown()


if __name__ == '__main__':
    sys.exit(main())
