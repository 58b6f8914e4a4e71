# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: wiring between topics and the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
import gc
import sys
import traceback
from typing import Any, NoReturn, TypeVar

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
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
from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.network.predictor import load_predictor, Predictor
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline
from depth_anything_ros.ros import parameters
from depth_anything_ros.ros.diagnostics import Statistics
from depth_anything_ros.ros.frame_step import FrameStep
from depth_anything_ros.ros.inputs import Inputs
from depth_anything_ros.ros.lifecycle import reported, SUCCESS, Transitions
from depth_anything_ros.ros.messages import (
    serialized_stamp_ns,
    stamp_to_ns,
)
from depth_anything_ros.ros.outputs import OutputPublishers
from depth_anything_ros.ros.quiet_log import QuietLog
from depth_anything_ros.ros.shared_memory import remove_dead_segments
from depth_anything_ros.ros.stopping import Stop
from depth_anything_ros.ros.worker import NewestItemWorker, OneAhead, Worker

T = TypeVar('T')
_WARM_UP = bytes(8)  # among serialised images, by identity
LoadPredictor = Callable[[ModelConfig, RuntimeConfig], Predictor]


class DepthNode(LifecycleNode):
    """Camera image in; metric depth image and point cloud out."""

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
        self._pipeline: DepthPipeline | None = None
        self._outputs: OutputPublishers | None = None
        self._workers: list[Worker[Any]] = []
        self._crash: BaseException | None = None
        self._inputs: Inputs | None = None
        self._step: FrameStep | None = None
        self._timers: list[Timer] = []
        self._fit_state: State | None = None
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
            pipeline = DepthPipeline(predictor, config)
            pipeline.warm_up()
        finally:
            self._loading = False
        self._transitions.on_executor(lambda: self._announce(predictor, pipeline))
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

    def _announce(self, predictor: Predictor, pipeline: DepthPipeline) -> None:
        pipeline.config = self._config  # which may have been changed while the network was loaded
        self._pipeline = pipeline
        image_topic = self.resolve_topic_name('image')
        compressed = '/compressed' * (self._config.image_transport == 'compressed')
        self._statistics = Statistics(
            self.get_fully_qualified_name(), image_topic + compressed, predictor.device
        )
        self._outputs = OutputPublishers(self)
        self._diagnostics = self.create_lifecycle_publisher(DiagnosticArray, '/diagnostics', 10)
        self.get_logger().info(
            f'{predictor.spec.name} on {predictor.device}, '
            f'{getattr(predictor, "backend", "a network of its own")}, predicts '
            f'{"metric" if predictor.spec.metric else "relative"} '
            f'{predictor.spec.space.replace("_", " ")}'
        )

    def _listen(self) -> None:
        self._fit_state = None
        assert self._pipeline is not None
        self._inputs = Inputs(self, self._config, self._on_image, self._refuse)
        self._step = FrameStep(self._pipeline, self._inputs.surroundings, self._refuse)
        self._publication = OneAhead(self._publish)
        self._worker = NewestItemWorker(self._process, self._supersede)
        self._seen_image = False
        self._inputs.surroundings.cameras.on_first = self._warm_up
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
        if self._inputs is not None:
            self._inputs.close()

    def _release(self) -> None:
        self._transitions.on_executor(self._stop_publishing)
        self._pipeline = self._step = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _stop_publishing(self) -> None:
        if self._outputs is not None:
            self._outputs.destroy()
            self.destroy_lifecycle_publisher(self._diagnostics)
        self._outputs = None

    # Inputs ------------------------------------------------------------------------------------

    def _on_image(self, data: bytes) -> None:
        self._seen_image = True
        self._statistics.received()
        self._worker.submit(data)

    def _warm_up(self) -> None:
        """Have the first image's size made ready before it comes; never in place of an image."""
        if not self._seen_image:
            self._worker.submit(_WARM_UP)

    def _supersede(self, data: bytes) -> None:
        if data is not _WARM_UP:
            self._statistics.dropped('superseded')

    def _apply(self, config: Config) -> None:
        self._config = config
        if self._pipeline is not None:
            self._pipeline.config = config

    # One frame, on the worker's thread ---------------------------------------------------------

    def _process(self, data: bytes) -> None:
        assert self._step is not None and self._outputs is not None
        if data is _WARM_UP:
            assert self._pipeline is not None and self._inputs is not None
            with suppress(BadFrameError):  # the image will meet it too, and have it told
                self._pipeline.warm_up(self._inputs.surroundings.cameras.newest())
            return
        wanted = self._outputs.wanted()
        if wanted is None:
            self._statistics.unwanted()
            return
        try:
            check_age((self._now_ns() - serialized_stamp_ns(data)) / 1e9, self._config.max_age)
            seen = self._step.look(data)
            prediction = self._step.predict(seen)
        except BadFrameError as error:
            self._log.warning(error.reason, str(error))
            self._statistics.dropped(error.reason, str(error))
            return
        frame = self._step.measure(self._step.gather(seen), prediction, wanted)
        self._publication.submit((frame, seen.header))

    # Publication, on a thread of its own while the network is at the next frame ----------------

    def _publish(self, item: tuple[DepthFrame, Header]) -> None:
        assert self._outputs is not None
        frame, header = item
        self._outputs.publish(frame, header)
        self._statistics.published(frame, stamp_to_ns(header.stamp), self._now_ns())
        self._tell_state(frame.fit)

    # Telling -----------------------------------------------------------------------------------

    def _tell_state(self, fit: ScaleFit) -> None:
        if fit.state is not self._fit_state:
            text = f'scale {fit.state.value} ({fit.method}): {fit.reason}'
            tell = self._log.warning if fit.state is State.UNANCHORED else self._log.info
            tell(f'scale {fit.state.value}', text)
            self._fit_state = fit.state

    def _tell_diagnostics(self) -> None:
        busy_s = max((worker.busy_s for worker in self._workers), default=0.0)
        matched = {} if self._inputs is None else self._inputs.matched()
        report = self._statistics.report(self._now_ns(), matched, busy_s)
        if report.status[0].level == DiagnosticStatus.ERROR:
            self._log.warning('error', report.status[0].message)
        self._diagnostics.publish(report)

    def _refuse(self, error: BadFrameError) -> None:
        """Count what a frame has to do without, and say why now and then."""
        self._statistics.incomplete(error.reason)
        self._log.warning(error.reason, str(error))

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)


def check_age(age_s: float, max_age_s: float) -> None:
    """Refuse an image that is too old, or that comes from the future.

    Args:
        age_s: of its stamp, on the node's clock.
        max_age_s: how far it may be from now, either way; 0 for however far.

    Raises:
        BadFrameError: it is further.
    """
    if 0 < max_age_s < age_s:
        raise BadFrameError(
            'too_old',
            f'an image is {age_s:.3f} s old and max_age is {max_age_s:g} s: raise max_age, or set '
            'it to 0, which keeps all; for a bag, run on its clock (use_sim_time)',
        )
    if 0 < max_age_s < -age_s:
        raise BadFrameError(
            'from_the_future',
            f'an image is stamped {-age_s:.3f} s ahead of the clock here, more than max_age, '
            f'{max_age_s:g} s: synchronise the clocks (chrony, PTP), or set max_age to 0',
        )


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
