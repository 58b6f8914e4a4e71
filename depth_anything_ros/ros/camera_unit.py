# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""One camera of the node: its topics, its frame step, and what is counted of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.lifecycle import LifecycleNode

from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.scale import ScaleFit, State
from depth_anything_ros.pipeline import DepthFrame, DepthPipeline, Outputs
from depth_anything_ros.prediction import Prepared
from depth_anything_ros.ros.diagnostics import STALLED_S, Statistics
from depth_anything_ros.ros.frame_step import FrameStep, Seen
from depth_anything_ros.ros.inputs import Inputs
from depth_anything_ros.ros.messages import serialized_stamp_ns, stamp_to_ns
from depth_anything_ros.ros.output_messages import outputs_for
from depth_anything_ros.ros.outputs import OutputPublishers
from depth_anything_ros.ros.quiet_log import QuietLog
from depth_anything_ros.ros.sensors import Input, Sensors
from depth_anything_ros.ros.surroundings import Surroundings
from depth_anything_ros.ros.transforms import FrameTree, Transforms


@dataclass(frozen=True, eq=False)
class Looked:
    """An image on its way through the network.

    Attributes:
        seen: the image.
        prepared: the same, ready for the network.
        wanted: what somebody listens to.
    """

    seen: Seen
    prepared: Prepared
    wanted: Outputs


class CameraUnit:
    """A camera from its image topic to its outputs, all but the network and the shared sensors.

    Attributes:
        name: of the camera; empty where it is the only one.
        pipeline: its states of scale and motion.
        cameras: its camera models, while the node is active.
    """

    def __init__(
        self,
        node: LifecycleNode,
        name: str,
        pipeline: DepthPipeline,
        batch: int,
        log: QuietLog,
    ) -> None:
        """Create the publishers.

        Args:
            node: the node that publishes.
            name: of the camera; empty where it is the only one.
            pipeline: of this camera alone.
            batch: how many images the network takes at once.
            log: of the node.

        Raises:
            ConfigError: a qos_overrides parameter is wrong.
        """
        self._node, self.name, self.pipeline, self._log = node, name, pipeline, log
        self._batch = batch
        self._prefix = f'{name}/' if name else ''
        self._inputs: Inputs | None = None
        self._step: FrameStep | None = None
        self._fit_state: State | None = None
        self._seen_image = False
        self._taken = self._published = 0  # images; each counter is one thread's alone
        full_name = node.get_fully_qualified_name() + (f': {name}' if name else '')
        transport = '/compressed' * (pipeline.config.image_transport == 'compressed')
        self._statistics = Statistics(
            full_name,
            node.resolve_topic_name(f'{self._prefix}image') + transport,
            pipeline.predictor.device,
            f'{self._prefix}image',
        )
        self._outputs = OutputPublishers(node, full_name, self._prefix)

    def destroy(self) -> None:
        """Remove the publishers."""
        self._outputs.destroy()

    def listen(
        self,
        sensors: Sensors,
        tree: FrameTree | None,
        submit: Callable[[CameraUnit, bytes | None], None],
    ) -> None:
        """Subscribe.

        Args:
            sensors: what is measured beside all cameras.
            tree: TF; None where there is none.
            submit: called with each serialised image, or with None for the warm-up that a first
                camera_info makes possible.

        Raises:
            ConfigError: a qos_overrides parameter is wrong.
        """
        config, self._submit = self.pipeline.config, submit
        around = Surroundings(
            config, Transforms(config.scale, tree), self._topic_of, sensors, self.name
        )
        around.cameras.on_first = self.ask_for_warm_up
        self.cameras = around.cameras
        self._step = FrameStep(self.pipeline, around, self.refuse)
        self._fit_state, self._seen_image = None, False
        images = Input(around.image_kind, self, 1, config.image_transport)
        inputs = {'image': images, **around.own}
        self._inputs = Inputs(self._node, inputs, self.refuse, self._prefix)

    def close(self) -> None:
        """Stop listening; what has arrived is still there."""
        if self._inputs is not None:
            self._inputs.close()
        self._inputs = None

    # On the executor's thread ------------------------------------------------------------------

    def add(self, data: bytes) -> None:
        """Take a serialised image."""
        self._seen_image = True
        self._statistics.received()
        self._submit(self, data)

    def ask_for_warm_up(self) -> None:
        """Have the first image's size made ready before it comes; never in place of an image."""
        if not self._seen_image:
            self._submit(self, None)

    def supersede(self, data: bytes | None) -> None:
        """Count an image that a newer one has overtaken."""
        if data is not None:
            self._statistics.dropped('superseded')

    def refuse(self, error: BadFrameError) -> None:
        """Count what a frame has to do without, and say why now and then."""
        self.lack(error)
        self._warn(error.reason, str(error))

    def lack(self, error: BadFrameError) -> None:
        """Count what a frame has to do without."""
        self._statistics.incomplete(error.reason)

    def status(self, now_ns: int, matched: dict[str, int], busy_s: float) -> DiagnosticStatus:
        """Return what is to be said on /diagnostics.

        Args:
            now_ns: ROS time.
            matched: shared input -> how many publishers are connected.
            busy_s: how long the longest of the threads has been at an image, whosever.
        """
        matched = {**({} if self._inputs is None else self._inputs.matched()), **matched}
        in_hand = self._taken != self._published
        mine_s = busy_s if in_hand or busy_s > STALLED_S else 0.0
        status = self._statistics.status(now_ns, matched, mine_s)
        if status.level == DiagnosticStatus.ERROR:
            self._warn('error', status.message)
        return status

    # On the worker's thread --------------------------------------------------------------------

    def look(self, data: bytes | None) -> Looked | None:
        """Take an image apart, and make it ready for the network.

        Args:
            data: serialised; None is no image, but the time to make its size ready.

        Returns:
            None where there is nothing for the network to do.
        """
        assert self._step is not None
        if data is None:
            self._warm_up()
            return None
        listened = self._outputs.listened()
        if not listened:
            self._statistics.unwanted()
            return None
        self._taken += 1
        try:
            stamp_ns = serialized_stamp_ns(data)
            check_age((self._now_ns() - stamp_ns) / 1e9, self.pipeline.config.max_age)
            due = self._outputs.due(listened, stamp_ns, self.pipeline.config)
            if due:
                seen = self._step.look(data)
                return Looked(seen, self._step.prepare(seen), outputs_for(due))
            self._statistics.dropped('rate')
        except BadFrameError as error:
            self._warn(error.reason, str(error))
            self._statistics.dropped(error.reason, str(error))
        self._taken -= 1
        return None

    def _warm_up(self) -> None:
        """Run a black image of the size that camera_info tells through everything."""
        self._taken += 1
        with suppress(BadFrameError):  # the image will meet it too, and have it told
            self.pipeline.warm_up(self.cameras.newest(), self._batch)
        self._taken -= 1

    def measure(self, looked: Looked, said: Any) -> tuple[DepthFrame, Any]:
        """Make metres of what the network said; return the frame and its image's header."""
        assert self._step is not None
        prediction = self._step.finish(looked.prepared, said)
        frame = self._step.measure(self._step.gather(looked.seen), prediction, looked.wanted)
        return frame, looked.seen.header

    # On the publication's thread ---------------------------------------------------------------

    def publish(self, frame: DepthFrame, header: Any) -> None:
        """Publish a frame."""
        self._outputs.publish(frame, header)
        self._statistics.published(frame, stamp_to_ns(header.stamp), self._now_ns())
        self._tell_state(frame.fit)
        self._published += 1

    def _tell_state(self, fit: ScaleFit) -> None:
        if fit.state is not self._fit_state:
            text = f'scale {fit.state.value} ({fit.method}): {fit.reason}'
            tell = self._warn if fit.state is State.UNANCHORED else self._inform
            tell(f'scale {fit.state.value}', text)
            self._fit_state = fit.state

    def _inform(self, kind: str, text: str) -> None:
        self._log.info(f'{self.name} {kind}', self._labelled(text))

    def _warn(self, kind: str, text: str) -> None:
        self._log.warning(f'{self.name} {kind}', self._labelled(text))

    def _labelled(self, text: str) -> str:
        return f'{self.name}: {text}' if self.name else text

    def _topic_of(self, name: str) -> str:
        return self._node.resolve_topic_name(self._prefix + name)

    def _now_ns(self) -> int:
        return int(self._node.get_clock().now().nanoseconds)


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
