# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was observed, once; the checks read nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
import math
from typing import Any, TYPE_CHECKING

from depth_anything_ros.config import Config

if TYPE_CHECKING:  # it takes OpenCV along, which may be what is broken
    from depth_anything_ros.annotation.topic_facts import TopicFacts


@dataclass(frozen=True)
class Probe:
    """What a process of its own found out about one package.

    Attributes:
        values: what it said.
        error: why it said nothing, in one line; empty where it did.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    error: str = ''


@dataclass(frozen=True)
class SharedMemory:
    """Room for messages between processes of this machine.

    Attributes:
        profile: file that FASTRTPS_DEFAULT_PROFILES_FILE or FASTDDS_DEFAULT_PROFILES_FILE names.
        segment_bytes: what that file gives each process; 0 where it is not there or has none.
        size_bytes: of /dev/shm.
        free_bytes: of these.
        dead_bytes: left behind by processes that were killed.
    """

    profile: str
    segment_bytes: int
    size_bytes: int
    free_bytes: int
    dead_bytes: int


@dataclass(frozen=True)
class Machine:
    """What is installed.

    Attributes:
        executable: of this Python.
        python: its version, major and minor.
        probes: by name: ros, packages, onnxruntime, openvino, network.
        config: the node's parameters.
        environment: variables of ROS and of its middleware.
        memory: shared.
    """

    executable: str
    python: tuple[int, int]
    probes: Mapping[str, Probe]
    config: Config
    environment: Mapping[str, str]
    memory: SharedMemory


@dataclass(frozen=True)
class Endpoint:
    """A publisher, or a subscription.

    Attributes:
        node: full name of its node.
        kind: type of its messages.
        clash: which policies of quality of service do not match the other side; empty for none.
    """

    node: str
    kind: str
    clash: str = ''


@dataclass(frozen=True)
class InputSeen:
    """One input of the node.

    Attributes:
        topic: that it is on.
        kind: type that is expected.
        publishers: of the topic.
        facts: of the messages that came; None where none did.
        largest_bytes: of these.
        zero: messages with a stamp of zero.
        missed: messages whose stamp the camera_info beside them has and they have not.
        expected: stamps of the camera_info.
    """

    topic: str
    kind: str
    publishers: tuple[Endpoint, ...] = ()
    facts: TopicFacts | None = None
    largest_bytes: int = 0
    zero: int = 0
    missed: int = 0
    expected: int = 0

    @property
    def count(self) -> int:
        """Return how many messages came."""
        return 0 if self.facts is None else self.facts.messages

    @property
    def fitting(self) -> bool:
        """Tell whether one of the publishers is of the expected type."""
        return any(publisher.kind == self.kind for publisher in self.publishers)


@dataclass(frozen=True)
class SourceSeen:
    """What a source of metres had for the images that were looked at.

    Attributes:
        share: of the images that it has anchors for.
        anchors: the middle number of these.
        columns: share of the image's columns near one, the mean.
        pixels: as much of the pixels.
        offset_s: of its nearest message against the image, the middle one; None where not told.
        reasons: why it has none for the others, key -> line, the most frequent first; points that
            are not in the image have no key.
    """

    share: float
    anchors: float
    columns: float
    pixels: float
    offset_s: float | None
    reasons: Mapping[str, str]


@dataclass(frozen=True)
class Looked:
    """What became of the images that were taken apart as the node does it.

    Attributes:
        count: of them.
        size: width and height.
        form: encoding or format.
        frame_id: of the images.
        image_error: why they cannot be decoded.
        camera_key: of the reason for which there is no camera (no_camera_info ...); empty for none.
        camera_error: that reason.
        focal_px: x and y of the camera, zero where there is none.
        centre_px: of it.
        model: of its distortion; pinhole without.
        sources: by name.
        score: 0 to 1, how well edges of sweeps and images agree; NaN where nothing is known.
        refused: why the extrinsic is refused.
        turned: pose with which the edges do agree, if it is a quarter turn off; None where not.
        seen_turned: pose with which points would be seen, where none are; None where not.
    """

    count: int = 0
    size: tuple[int, int] = (0, 0)
    form: str = ''
    frame_id: str = ''
    image_error: str = ''
    camera_key: str = ''
    camera_error: str = ''
    focal_px: tuple[float, float] = (0.0, 0.0)
    centre_px: tuple[float, float] = (0.0, 0.0)
    model: str = ''
    sources: Mapping[str, SourceSeen] = field(default_factory=dict)
    score: float = math.nan
    refused: str = ''
    turned: tuple[float, ...] | None = None
    seen_turned: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Chain:
    """The way of TF from the camera to another frame.

    Attributes:
        target: the other frame, and whose it is.
        way: frames between them, or what is missing.
        late_s: how long after an image it was known at the image's time, the middle one; infinite
            where it never was.
        why: what TF says where it is not known.
    """

    target: str
    way: str
    late_s: float
    why: str = ''


@dataclass(frozen=True)
class Clock:
    """What comes on /clock.

    Attributes:
        wanted: use_sim_time.
        publishers: names of nodes.
        count: messages.
        went_s: how far its time went.
        ahead_s: newest image stamp minus its newest time; NaN where one of them is unknown.
    """

    wanted: bool = False
    publishers: tuple[str, ...] = ()
    count: int = 0
    went_s: float = 0.0
    ahead_s: float = math.nan


@dataclass(frozen=True)
class NodeSeen:
    """The running node.

    Attributes:
        name: with its namespace.
        count: nodes of this name.
        state: of its lifecycle; empty where it does not answer.
        level: of its report on /diagnostics, 0 to 2.
        message: of that report.
        grown: counter on /diagnostics -> by how much it grew.
        received_hz: images that reach it; NaN where it did not say.
        scale: what its newest depth/scale says, by key.
        listeners: topic of an output -> who listens.
        elsewhere: input -> topic it listens to instead of the one asked about.
    """

    name: str
    count: int = 1
    state: str = ''
    level: int = 0
    message: str = ''
    grown: Mapping[str, int] = field(default_factory=dict)
    received_hz: float = math.nan
    scale: Mapping[str, str] = field(default_factory=dict)
    listeners: Mapping[str, tuple[Endpoint, ...]] = field(default_factory=dict)
    elsewhere: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """What was seen of the robot.

    Attributes:
        config: the node's parameters.
        domain: ROS_DOMAIN_ID.
        nodes: full names of all others.
        topics: name -> type, of all that have a publisher.
        inputs: name as in the contract (image, camera_info, points ...) -> what is there.
        looked: at some images.
        has_tf: whether TF can be read here.
        chains: of TF, from the camera.
        clock: what comes on /clock.
        node: the running one; None without.
        unasked: depth nodes that run and were not asked about.
        metric: whether the network predicts metres by itself; None where that is not known.
    """

    config: Config
    domain: int
    nodes: tuple[str, ...]
    topics: Mapping[str, str]
    inputs: Mapping[str, InputSeen]
    looked: Looked = Looked()
    has_tf: bool = True
    chains: tuple[Chain, ...] = ()
    clock: Clock = Clock()
    node: NodeSeen | None = None
    unasked: tuple[str, ...] = ()
    metric: bool | None = None
