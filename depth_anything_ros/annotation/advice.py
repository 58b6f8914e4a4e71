# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which state the depth of a camera of a bag would have, why, and what would mend it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
import shlex
from statistics import mean, median

from depth_anything_ros.annotation.camera_watch import CameraWatch, SourceWatch
from depth_anything_ros.annotation.coverage import Coverage
from depth_anything_ros.annotation.topic_facts import Frames, TopicFacts
from depth_anything_ros.config import Config
from depth_anything_ros.metric_depth.fitting import MIN_AFFINE

_ENOUGH = 0.5  # share of the images that must be anchored
_LEAST_WAY_M = 0.3  # without which motion has no parallax


@dataclass(frozen=True)
class SourceFacts:
    """What one source has for a camera.

    Attributes:
        share: of the images that were looked at, those it has anchors for.
        anchors: of each of these, the middle number.
        coverage: of each of these, the mean.
        offset_s: of its nearest sweep against the image, the middle one; None for other sources.
        largest_offset_s: the largest of them, of either sign.
        reasons: why it has nothing for the others, the most frequent first.
    """

    share: float
    anchors: float
    coverage: Coverage | None
    offset_s: float | None
    largest_offset_s: float | None
    reasons: list[str]


@dataclass(frozen=True)
class CameraFacts:
    """One camera, and what would become of it.

    Attributes:
        topic: of its images in the bag.
        form: their encoding or format.
        size: width and height in pixels.
        frame_id: of the images.
        images: in the bag.
        looked_at: of these, such as were taken apart.
        calibration: whether it has one, from where, and what is wrong with it.
        inputs: name as in the node's contract -> topic in the bag.
        sources: by name.
        chains: topic of a sensor -> the way of TF from the camera's frame to its frame, or what
            is missing.
        state: FITTED, METRIC or UNANCHORED.
        why: in one line.
        advice: what would mend it, a line each.
        commands: what to call, annotate and the node.
        pictures: JPEGs with anchors.
    """

    topic: str
    form: str
    size: tuple[int, int]
    frame_id: str
    images: int
    looked_at: int
    calibration: str
    inputs: Mapping[str, str]
    sources: dict[str, SourceFacts]
    chains: dict[str, str]
    state: str
    why: str
    advice: list[str]
    commands: list[str]
    pictures: list[bytes]

    @property
    def ready(self) -> bool:
        """Whether it would be in metres."""
        return self.state != 'UNANCHORED'


@dataclass(frozen=True)
class Context:
    """What is known of the whole bag.

    Attributes:
        bag: its path.
        topics: facts by name.
        sensors: topic of each cloud, scan and range -> the input that it can be.
        depth_images: topics of depth images.
        sizes: topic of a CameraInfo -> width and height that it describes.
        frames: of TF.
        config: the node's parameters.
        metric: whether the network predicts metres by itself.
        from_file: whether a calibration was given for cameras that have none.
        several: whether there are other cameras.
    """

    bag: str
    topics: Mapping[str, TopicFacts]
    sensors: Mapping[str, str]
    depth_images: list[str]
    sizes: Mapping[str, tuple[int, int]]
    frames: Frames
    config: Config
    metric: bool
    from_file: bool
    several: bool


def camera_facts(watch: CameraWatch, about: Context) -> CameraFacts:
    """Draw the conclusions from what was seen of a camera."""
    chains = {
        topic: about.frames.chain(watch.frame_id.lstrip('/'), facts.frame_id.lstrip('/'))
        for topic, facts in about.topics.items()
        if (topic in about.sensors or topic in about.depth_images) and facts.frame_id
        and watch.frame_id
    }
    sources = {name: _source(each, watch.looked_at) for name, each in watch.sources.items()}
    state, why = _state(watch, sources, about)
    return CameraFacts(
        watch.topics.topic,
        watch.form,
        watch.size,
        watch.frame_id,
        watch.count,
        watch.looked_at,
        _calibration(watch, about),
        dict(watch.topics.inputs),
        sources,
        chains,
        state,
        why,
        _advice(watch, chains, about) if state == 'UNANCHORED' else [],
        _commands(watch, about),
        watch.pictures,
    )


def _source(watch: SourceWatch, looked_at: int) -> SourceFacts:
    some = [count for count in watch.anchors if count]
    covered = None
    if watch.covered:
        covered = Coverage(*(
            mean(getattr(each, name) for each in watch.covered)
            for name in ('columns', 'rows', 'pixels')
        ))
    offsets_s = watch.offsets_s
    return SourceFacts(
        len(some) / max(1, looked_at),
        median(some) if some else 0,
        covered,
        median(offsets_s) if offsets_s else None,
        max(offsets_s, key=abs) if offsets_s else None,
        [f'{reason} ({count} of {looked_at})' for reason, count in watch.reasons.most_common(3)],
    )


def _state(
    watch: CameraWatch, sources: Mapping[str, SourceFacts], about: Context
) -> tuple[str, str]:
    """Return the state that most images would have, and why."""
    seen = max(1, watch.looked_at)
    if not watch.calibrated:
        refused = watch.refused.most_common(1)
        return 'UNANCHORED', refused[0][0] if refused else 'none of its images can be read'
    if watch.anchored >= _ENOUGH * seen:
        having = {name: s for name, s in sources.items() if s.share}
        few = all(s.anchors < MIN_AFFINE for s in having.values())
        told = ', '.join(f'{s.anchors:.0f} from {name}' for name, s in having.items())
        alone = '; so few fit the scale alone' if few else ''
        return 'FITTED', f'{watch.anchored} of {seen} images have anchors ({told}){alone}'
    if about.metric:
        return 'METRIC', 'the network predicts metres'
    if 'motion' in sources and watch.way_m > _LEAST_WAY_M:
        return 'FITTED', f'it moves by {watch.way_m:.1f} m in {about.config.scale.fixed_frame}'
    if watch.on_ground >= _ENOUGH * seen:
        return 'FITTED', 'its height above the ground is known; the ground must show in its images'
    reasons = Counter[str]()
    for each in watch.sources.values():
        reasons.update(each.reasons)
    if reasons:
        return 'UNANCHORED', reasons.most_common(1)[0][0]
    return 'UNANCHORED', 'nothing in the bag that is known as an input tells what a metre is'


def _calibration(watch: CameraWatch, about: Context) -> str:
    source = watch.topics.inputs.get('camera_info')
    if source is None:
        source = '--camera-info' if about.from_file else None
    if source is None:
        return 'none'
    if watch.calibrated == watch.looked_at and watch.camera is not None:
        kind = watch.camera.model if watch.camera.is_distorted else 'pinhole'
        return f'{kind}, from {source}'
    reasons = [reason for reason, _ in watch.refused.most_common(1)]
    good = f'of {watch.calibrated} of {watch.looked_at} images' if watch.calibrated else 'unusable'
    return f'{good}, from {source}: {reasons[0] if reasons else "no image could be read"}'


def _advice(watch: CameraWatch, chains: Mapping[str, str], about: Context) -> list[str]:
    """Return what would anchor a camera, the nearest thing first."""
    found = []
    if not watch.calibrated:
        fitting = [topic for topic, size in about.sizes.items() if size == watch.size]
        found += [f'its calibration may be this: -r camera_info:={topic}' for topic in fitting]
        if not fitting:
            found.append('calibrate it: --camera-info FILE (YAML of camera_calibration)')
    inputs = watch.topics.inputs
    for topic, kind in about.sensors.items():
        if inputs.get(kind) != topic:
            what = 'corrects a metric checkpoint' if kind == 'range' else 'may anchor it'
            found.append(f'{topic} {what}: -r {kind}:={topic}')
    for topic in about.depth_images:
        if inputs.get('sensor_depth/image') != topic:
            found.append(f'{topic} may anchor it: -r sensor_depth/image:={topic}')
    for name, chain in chains.items():
        if name in inputs.values() and chain.startswith('missing') and name in about.sensors:
            found.append(
                f'TF does not say where {about.topics[name].frame_id} ({name}) is in '
                f'{watch.frame_id}: -p "scale.T_camera_sensor:=[x, y, z, qx, qy, qz, qw]"'
            )
    offsets_s = [abs(x) for each in watch.sources.values() for x in each.offsets_s]
    late = any('max_time_offset' in r for each in watch.sources.values() for r in each.reasons)
    if late or (offsets_s and median(offsets_s) > about.config.scale.max_time_offset):
        found.append('sweeps are too far from the images in time: -p scale.max_time_offset:=0.5, '
                     'with scale.fixed_frame where the robot moves')
    if not about.config.scale.fixed_frame:
        around = about.frames.around(watch.frame_id.lstrip('/'))
        found += [
            f'a moving camera is anchored by its odometry: -p scale.fixed_frame:={frame}'
            for frame in ('odom', 'map') if frame in around
        ][:1]
    if not about.config.scale.camera_height:
        found.append('a camera over flat ground is anchored by its height: '
                     '-p scale.camera_height:=METRES -p scale.camera_pitch:=RADIANS')
    return found


def _commands(watch: CameraWatch, about: Context) -> list[str]:
    """Return how to annotate this camera, and how to start the node on what the bag plays."""
    topics = watch.topics
    own = {name: topic for name, topic in topics.inputs.items() if not name.endswith('info')}
    annotate = ['annotate', about.bag, 'OUT']
    annotate += ['--camera', topics.topic] * about.several
    for name, topic in own.items():
        annotate += ['-r', f'{name}:={topic}']
    node = ['ros2', 'run', 'depth_anything_ros', 'depth_node', '--ros-args']
    for name in ('image', *topics.inputs):
        node += ['-r', f'{name}:={topics.topic_of(name)}']
    if topics.compressed:
        node += ['-p', 'image_transport:=compressed']
    return [shlex.join(annotate), shlex.join(node)]
