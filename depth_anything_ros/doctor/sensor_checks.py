# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was seen of the sensors that tell what a metre is -> findings."""

from __future__ import annotations

from collections.abc import Sequence
import math

from depth_anything_ros.annotation.cures import GIVE_HEIGHT, GIVE_POSE
from depth_anything_ros.doctor.facts import Chain, Graph
from depth_anything_ros.doctor.findings import failed, Finding, LINES, note, ok, skipped
from depth_anything_ros.doctor.image_checks import silent
from depth_anything_ros.doctor.machine_checks import split
from depth_anything_ros.doctor.topic_names import carrying, remapped
from depth_anything_ros.metric_depth.sources import takes

# Source of scale.method -> the inputs that it comes on.
INPUTS = {
    'lidar': ('points', 'scan'),
    'depth': ('sensor_depth/image',),
    'stereo': ('right/image',),
    'range': ('range',),
}
ON_ITS_WAY_S = 0.05  # that the node waits for a transform
LATE_S = 0.5  # after which it takes a frame for one that has stopped
_FEW_COLUMNS = 0.1  # of the image
_HALF = 0.5  # of the images that were looked at
_ESTABLISHED = 0.5  # of the score
_SHOWN = 3  # topics in one line


def sensor_findings(graph: Graph) -> list[Finding]:
    """Judge what comes of the sensors beside the camera."""
    return [_sensor(graph), _stamps(graph), _tf(graph), _coverage(graph), _extrinsic(graph)]


def pose_parameter(pose: Sequence[float]) -> str:
    """Return the argument that tells the node where a sensor is."""
    return f'-p "scale.T_camera_sensor:=[{", ".join(f"{x:.4f}" for x in pose)}]"'


def _sensor(graph: Graph) -> Finding:
    line, scale = 'sensor', graph.config.scale
    named = [] if scale.method in ('auto', 'none') else scale.method.split(',')
    inputs = {n: graph.inputs[n] for names in INPUTS.values() for n in names if n in graph.inputs}
    for source in named:
        needed = [name for name in INPUTS.get(source, ()) if name in inputs]
        if needed and not any(inputs[name].fitting for name in needed):
            return _missing(graph, needed, f'scale.method asks for {source}, and ')
    for seen in inputs.values():
        if seen.fitting and not seen.count:
            return silent(line, seen)
    for name, had in graph.looked.sources.items():
        for key, reason in had.reasons.items():
            elsewhere = key in ('no_transform', '') or key.endswith('out_of_time')
            if had.share < _HALF and not elsewhere:
                return split(line, f'{name}: {reason}')
    told = [f'{name} on {seen.topic}' for name, seen in inputs.items() if seen.count]
    scaling = [x for x in told if not x.startswith('range ')]
    if takes(scale.method, 'camera_height') and (scale.camera_height or scale.ground_frame):
        scaling.append('the ground below the camera')
    if takes(scale.method, 'motion') and scale.fixed_frame:
        scaling.append(f"the camera's motion in {scale.fixed_frame}")
    if graph.metric:
        scaling.append('the network itself')
    if scale.method == 'none':
        return note(line, 'scale.method is none: only what the network says')
    if not scaling:
        return _missing(graph, [n for n in inputs if n != 'range'], '')
    return ok(line, ', '.join(dict.fromkeys([*scaling, *told])))


def _missing(graph: Graph, needed: Sequence[str], before: str) -> Finding:
    found = [
        (name, topic)
        for name in needed
        for topic in carrying(graph.topics, name, graph.inputs[name].topic)
    ]
    topics = ', '.join(graph.inputs[name].topic for name in needed) or 'any input'
    said = f'{before}nothing that tells what a metre is comes on {topics}'
    if not found:
        return failed(
            'sensor',
            f'{said}, and no other topic carries such messages',
            f"start the sensor's driver, or {GIVE_HEIGHT}, or take a metric checkpoint",
        )
    return failed(
        'sensor',
        f'{said}, but there is {", ".join(topic for _, topic in found[:_SHOWN])}',
        remapped(*found[0], graph.topics),
    )


def _stamps(graph: Graph) -> Finding:
    line, told = 'sensor_stamps', []
    if graph.inputs['image'].zero:
        return skipped(line, 'images have no stamps')
    for name, source in graph.looked.sources.items():
        for key, reason in source.reasons.items():
            if key.endswith('out_of_time') and source.share < _HALF:
                return split(line, f'{name}: {reason}')
        if source.offset_s is not None:
            told.append(f'{name} {source.offset_s:+.3f} s of the image')
    for name in ('points', 'scan', 'sensor_depth/image', 'right/image', 'range'):
        seen = graph.inputs.get(name)
        if seen is not None and seen.zero:
            return failed(
                line, f'{seen.zero} messages on {seen.topic} are stamped 0',
                'let its driver set header.stamp',
            )
    return ok(line, ', '.join(told)) if told else skipped(line, 'no sensor with stamps came')


def _tf(graph: Graph) -> Finding:
    line = 'tf'
    if not graph.chains:
        fixed = any(graph.config.scale.T_camera_sensor)
        return skipped(line, 'scale.T_camera_sensor is set' if fixed else 'nothing is asked of it')
    if not graph.has_tf:
        return failed(
            line,
            f'TF cannot be read here, and nothing else says where {graph.chains[0].target} is',
            f'install tf2 (tf2_msgs, tf2_py), or {GIVE_POSE}',
        )
    for chain in graph.chains:
        if math.isinf(chain.late_s):
            return _unknown(chain)
        if chain.late_s > LATE_S:
            return failed(
                line,
                f'TF to {chain.target} is known {chain.late_s:.1f} s after the image ({chain.way})',
                'let its publisher send sooner or stamp right; what never moves belongs on '
                '/tf_static',
            )
    worst = max(graph.chains, key=lambda chain: chain.late_s)
    if worst.late_s > ON_ITS_WAY_S:
        return note(
            line,
            f'TF to {worst.target} is known {worst.late_s:.2f} s after the image; the node waits '
            f'{ON_ITS_WAY_S:g} s beside the network',
        )
    return ok(line, '; '.join(chain.way for chain in graph.chains))


def _unknown(chain: Chain) -> Finding:
    if chain.way.startswith('missing'):
        return failed(
            'tf',
            f'TF does not reach {chain.target}: {chain.way}',
            'publish that transform (ros2 run tf2_ros static_transform_publisher), or '
            f'{GIVE_POSE}',
        )
    return failed(
        'tf',
        f'{chain.why or "TF is never known at the time of an image"} ({chain.way})',
        'let its publisher send in time, by the clock of the camera',
    )


def _coverage(graph: Graph) -> Finding:
    line, looked, told = 'coverage', graph.looked, []
    for name, source in looked.sources.items():
        if not source.share and '' in source.reasons and not looked.camera_error:
            if looked.seen_turned is not None:
                return failed(
                    line,
                    f'{name}: {source.reasons[""]}, but they are if the sensor is turned by '
                    'quarters: the pose is none of an optical frame (z forward, x right)',
                    f'correct TF, or {pose_parameter(looked.seen_turned)}',
                )
            return failed(line, f'{name}: {source.reasons[""]}', LINES[line].cure)
        if source.share:
            told.append((source, f'{name} {source.anchors:.0f} anchors, near {source.columns:.0%} '
                                 f'of the columns, {source.pixels:.0%} of the pixels'))
    if not told:
        return skipped(line, 'no points could be projected')
    said = '; '.join(text for _, text in told)
    if max(source.columns for source, _ in told) < _FEW_COLUMNS:
        return note(line, said)
    return ok(line, said)


def _extrinsic(graph: Graph) -> Finding:
    line, looked, image = 'extrinsic', graph.looked, graph.inputs['image']
    if image.zero or (image.facts is not None and image.facts.back):
        return skipped(line, 'by the stamps of the images no sweep is theirs')
    if looked.turned is not None:
        return failed(
            line,
            'edges of the sweeps lie on edges of the images when the sensor is turned by quarters, '
            f'not as it is (agreement {looked.score:.2f})',
            f'correct TF, or {pose_parameter(looked.turned)}',
        )
    if looked.refused:
        return failed(line, looked.refused, LINES[line].cure)
    reason = '' if graph.node is None else graph.node.scale.get('reason', '')
    if 'check the extrinsic' in reason:
        return failed(line, reason, LINES[line].cure)
    score = looked.score
    if graph.node is not None and 'extrinsic_score' in graph.node.scale:
        told = float(graph.node.scale['extrinsic_score'])
        score = told if math.isfinite(told) else score
    if math.isnan(score):
        return skipped(line, 'too few edges, or no sweeps')
    if score < _ESTABLISHED:
        return note(line, f'edges say neither yes nor no ({score:.2f} of 1)')
    return ok(line, f'edges agree ({score:.2f} of 1)')
