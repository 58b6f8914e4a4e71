# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: wiring between topics and the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
import gc
import sys
import traceback
from typing import Any, NoReturn

from diagnostic_msgs.msg import DiagnosticArray
import rclpy
from rclpy._rclpy_pybind11 import RCLError
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from rclpy.timer import Timer
from std_msgs.msg import Header
import torch

from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BadFrameError, DepthAnythingError, one_line
from depth_anything_ros.network.predictor import load_predictor, Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline
from depth_anything_ros.prediction import predict_all
from depth_anything_ros.ros import parameters
from depth_anything_ros.ros.camera_unit import CameraUnit
from depth_anything_ros.ros.inputs import Inputs
from depth_anything_ros.ros.lifecycle import reported, SUCCESS, Transitions
from depth_anything_ros.ros.live_transforms import TransformListener
from depth_anything_ros.ros.quiet_log import QuietLog
from depth_anything_ros.ros.sensors import Sensors
from depth_anything_ros.ros.shared_memory import remove_dead_segments
from depth_anything_ros.ros.stopping import Stop
from depth_anything_ros.ros.worker import NewestItemsWorker, OneAhead, Worker

Taken = tuple[CameraUnit, bytes | None]  # a serialised image; None is a warm-up
LoadPredictor = Callable[[ModelConfig, RuntimeConfig], Predictor]


class DepthNode(LifecycleNode):
    """Images of one camera or several in; metric depth images and point clouds out."""

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
        self._log = QuietLog(self.get_logger())
        self._transitions = Transitions(self, self._log)
        self._loading = False
        self._units: list[CameraUnit] = []
        self._predictor: Predictor | None = None
        self._workers: list[Worker[Any]] = []
        self._crash: BaseException | None = None
        self._listening = ExitStack()  # what ends it
        self._sensor_inputs: Inputs | None = None
        self._timers: list[Timer] = []
        self._autostart: Future | None = None
        if self._config.autostart:
            self._autostart = self._transitions.begin(self._start_by_itself)

    # Lifecycle: what takes long on the thread of the transition, ROS entities on the executor's --

    @reported
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the weights, run them once, create the publishers."""
        self._loading = True
        try:
            config = self._config
            predictor = self._load(config.model, config.runtime)
            # The network has threads of its own. What surrounds it is many steps of microseconds:
            # shared among threads they win 3 ms a frame on an idle machine, and on a busy one each
            # step waits for a thread that is not scheduled, which has cost seconds.
            torch.set_num_threads(1)
            pipelines = {
                name: DepthPipeline(predictor, parameters.of_camera(self, config, name))
                for name in config.cameras or ('',)
            }
            batch = min(config.runtime.batch, len(pipelines))
            next(iter(pipelines.values())).warm_up(batch=batch)
        finally:
            self._loading = False
        self._transitions.on_executor(lambda: self._announce(predictor, pipelines, batch))
        return super().on_configure(state)

    @reported
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the inputs and start the worker."""
        self._transitions.on_executor(self._listen)
        return super().on_activate(state)

    @reported
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop listening and working; what is loaded stays loaded."""
        self._stop()
        self.raise_crash()
        return super().on_deactivate(state)

    @reported
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release everything, device memory too."""
        self._release()
        return super().on_cleanup(state)

    @reported
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and release from whatever state."""
        self._stop()
        self._release()
        return super().on_shutdown(state)

    @reported
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured after a failed transition."""
        self._stop()
        self._release()
        return SUCCESS

    def close(self) -> None:
        """Stop the workers and release everything, whatever the state; then destroy the node."""
        self._stop()
        self._release()
        self.destroy_node()
        # rclpy leaves it to the garbage collector, and with it the process's shared memory.
        self._state_machine.destroy_when_not_in_use()

    @property
    def failed(self) -> bool:
        """Whether autostart could not bring the node to active."""
        return (
            self._autostart is not None
            and self._autostart.done()
            and self._autostart.result() is not SUCCESS
        )

    @property
    def loading(self) -> bool:
        """Whether a network is being loaded, of which a stop need not wait for the end."""
        return self._loading

    @property
    def in_transition(self) -> bool:
        """Whether a transition is under way."""
        return self._transitions.under_way

    @property
    def crash(self) -> BaseException | None:
        """What ended a worker, a bug; None while all is well."""
        crashes = [self._crash, *(worker.crash for worker in self._workers)]
        return next((crash for crash in crashes if crash is not None), None)

    def raise_crash(self) -> None:
        """Raise what ended a worker: a bug must not look like a quiet camera."""
        if (crash := self.crash) is not None:
            raise crash

    def _start_by_itself(self) -> TransitionCallbackReturn:
        configured = self.trigger_configure()
        return self.trigger_activate() if configured is SUCCESS else configured

    def _announce(
        self, predictor: Predictor, pipelines: dict[str, DepthPipeline], batch: int
    ) -> None:
        with ExitStack() as undo:
            undo.callback(self._stop_publishing)
            for name, pipeline in pipelines.items():
                # The parameters may have been changed while the network was loaded.
                pipeline.config = parameters.of_camera(self, self._config, name)
                self._units.append(CameraUnit(self, name, pipeline, batch, self._log))
            undo.pop_all()
        self._diagnostics = self.create_lifecycle_publisher(DiagnosticArray, '/diagnostics', 10)
        self._predictor, self._batch = predictor, batch
        self.get_logger().info(
            f'{predictor.spec.name} on {predictor.device}, '
            f'{getattr(predictor, "backend", "a network of its own")}, predicts '
            f'{"metric" if predictor.spec.metric else "relative"} '
            f'{predictor.spec.space.replace("_", " ")}'
        )

    def _listen(self) -> None:
        with ExitStack() as undo:
            configs = [unit.pipeline.config for unit in self._units]
            listener = TransformListener(self, configs, self._refuse)
            undo.callback(listener.close)
            sensors = Sensors(self._config)
            self._sensor_inputs = Inputs(self, sensors.inputs, self._refuse)
            undo.callback(self._sensor_inputs.close)
            for unit in self._units:
                unit.listen(sensors, listener.buffer, self._submit)
                undo.callback(unit.close)
            self._listening = undo.pop_all()
        self._publication = OneAhead(self._publish)
        self._worker = NewestItemsWorker(self._process, self._supersede, self._batch)
        self._workers = [self._worker, self._publication]
        # On a clock that always goes: diagnostics matter most where /clock has stopped.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self._timers.append(self.create_timer(1.0, self._tell_diagnostics, clock=steady))

    def _stop(self) -> None:
        self._transitions.on_executor(self._stop_listening)
        for worker in self._workers:  # in this order: the first hands over to the second
            worker.stop()
            self._crash = self._crash or worker.crash
        self._workers = []

    def _stop_listening(self) -> None:
        for timer in self._timers:
            self.destroy_timer(timer)
        self._timers = []
        self._listening.close()
        self._sensor_inputs = None

    def _release(self) -> None:
        self._transitions.on_executor(self._stop_publishing)
        self._predictor = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _stop_publishing(self) -> None:
        for unit in self._units:
            unit.destroy()
        self._units = []
        if self._predictor is not None:
            self.destroy_lifecycle_publisher(self._diagnostics)

    # Inputs ------------------------------------------------------------------------------------

    def _submit(self, unit: CameraUnit, data: bytes | None) -> None:
        self._worker.submit((unit, data), unit.name)

    def _supersede(self, taken: Taken) -> None:
        unit, data = taken
        unit.supersede(data)

    def _apply(self, config: Config) -> None:
        configs = [parameters.of_camera(self, config, unit.name) for unit in self._units]
        for unit, own in zip(self._units, configs):
            unit.pipeline.config = own
        self._config = config

    # Images, on the worker's thread ------------------------------------------------------------

    def _process(self, taken: list[Taken]) -> None:
        assert self._predictor is not None
        looks = [(unit, looked) for unit, data in taken if (looked := unit.look(data)) is not None]
        prepared = [looked.prepared for _, looked in looks]
        said = predict_all(self._predictor, prepared, self._batch)
        for (unit, looked), prediction in zip(looks, said):
            self._publication.submit((unit, *unit.measure(looked, prediction)))

    # Publication, on a thread of its own while the network is at the next images ---------------

    def _publish(self, item: tuple[CameraUnit, DepthFrame, Header]) -> None:
        unit, frame, header = item
        unit.publish(frame, header)

    # Telling -----------------------------------------------------------------------------------

    def _tell_diagnostics(self) -> None:
        busy_s = max((worker.busy_s for worker in self._workers), default=0.0)
        shared = {} if self._sensor_inputs is None else self._sensor_inputs.matched()
        now = self.get_clock().now()
        rows = [unit.status(now.nanoseconds, shared, busy_s) for unit in self._units]
        report = DiagnosticArray(status=rows)
        report.header.stamp = now.to_msg()
        self._diagnostics.publish(report)

    def _refuse(self, error: BadFrameError) -> None:
        """Count what all cameras have to do without, and say why now and then."""
        for unit in self._units:
            unit.lack(error)
        self._log.warning(error.reason, str(error))


def main(
    args: list[str] | None = None, load: LoadPredictor = load_predictor, stop: Stop | None = None
) -> NoReturn:
    """Run the node until SIGINT or SIGTERM, then end the process.

    The exit code is 0, or 1 after one line that says why the node could not start, or after a
    traceback.

    Args:
        args: command line; None is sys.argv.
        load: as in DepthNode.
        stop: takes the signals, where it was there before this module was imported.
    """
    stop = Stop() if stop is None else stop
    stop.orderly()
    freed = remove_dead_segments()
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = DepthNode(load)
    except (DepthAnythingError, RCLError) as error:
        print(f'depth_node: {one_line(str(error).splitlines()[0])}', file=sys.stderr)
        rclpy.try_shutdown()
        stop.end(1)
    if freed:
        node.get_logger().info(f'freed {freed / 1e6:.0f} MB of shared memory of killed processes')
    code = 1
    try:
        spin(node, stop)
        code = int(node.failed)
    except Exception:
        traceback.print_exc()  # now, since what follows may not come to its end
    stop.request()
    node.close()
    if node.crash is not None and code == 0:
        traceback.print_exception(node.crash)
        code = 1
    rclpy.try_shutdown()
    stop.end(code)


def spin(node: DepthNode, stop: Stop) -> None:
    """Answer and receive until the end is asked for, autostart has failed or a worker has.

    A transition comes to its end first, except that nobody waits for a network to load.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    while not (node.failed or (stop.requested and (node.loading or not node.in_transition))):
        executor.spin_once(timeout_sec=0.1)
        node.raise_crash()
