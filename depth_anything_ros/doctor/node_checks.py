# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was seen of the running node -> findings."""

from __future__ import annotations

from depth_anything_ros.doctor.facts import Graph, NodeSeen
from depth_anything_ros.doctor.findings import failed, Finding, LINES, note, ok, skipped
from depth_anything_ros.doctor.machine_checks import split
from depth_anything_ros.doctor.topic_names import raw_name

# Why the node drops an image, or makes it without something -> what mends it.
DROPS = {
    'bad_mask': 'draw camera.mask on an image as it arrives',
    'bad_point_layout': "let the sensor's driver declare its fields as they are",
    'bad_range': 'let its driver fill in range, field_of_view, min_range and max_range',
    'bad_region': 'let roi and binning of camera_info leave a part of the image',
    'bad_scan': 'let its driver fill in the angles and ranges of the scan',
    'bad_stamp': 'let the publisher set header.stamp',
    'bad_transform': 'let the publisher of TF send finite numbers and unit quaternions',
    'camera_info_mismatch': 'publish the camera_info of this stream, see size',
    'camera_mismatch': 'publish the camera_info of this stream, see size',
    'camera_info_too_large': 'remap camera_info to a topic that carries it',
    'depth images_out_of_time': 'raise scale.max_time_offset, see sensor_stamps',
    'depth images_too_large': 'raise limits.sensor_memory',
    'from_the_future': 'synchronise the clocks, or set max_age to 0, see stamps',
    'image_too_large': 'raise limits.image_pixels, limits.image_aspect or limits.network_pixels',
    'image_too_long': 'raise limits.image_aspect',
    'no_camera_info': 'remap camera_info, see camera_info',
    'no_transform': 'publish the transform in time, see tf',
    'odd_size': 'use an even image size for this encoding',
    'points_out_of_time': 'raise scale.max_time_offset, see sensor_stamps',
    'points_too_large': 'raise limits.sensor_memory',
    'points_without_xyz': 'remap points to a cloud with x, y and z',
    'ranges_out_of_time': 'raise scale.max_time_offset, see sensor_stamps',
    'ranges_too_large': 'raise limits.sensor_memory',
    'right images_too_large': 'raise limits.sensor_memory',
    'right_image_out_of_time': 'trigger the cameras together, or raise scale.stereo_max_offset',
    'stereo_baseline': 'see P of right/camera_info, or TF between the cameras',
    'stereo_geometry': 'calibrate the cameras as a pair',
    'stereo_no_match': 'synchronise the cameras, and look at their images',
    'stereo_uncalibrated': 'calibrate the cameras as a pair, see right/camera_info',
    'too_many_points': 'raise limits.points, or thin the cloud',
    'too_old': 'raise max_age, or run a recording on its clock (use_sim_time)',
    'truncated_image': "mend the camera's driver: step and data of an image must fit",
    'truncated_points': "mend the sensor's driver: the cloud is shorter than it says",
    'uncalibrated_camera': 'calibrate the camera, see calibration',
    'undecodable_image': 'send JPEG or PNG; see what publishes there',
    'undecodable_message': 'see what publishes there',
    'unknown_distortion': 'rectify the image before the node',
    'unsupported_encoding': 'let the driver send another encoding',
}
_BUSY = 'superseded'  # the network is slower than the camera: no fault
_ASKED_FOR = 'rate'  # depth.rate or cloud.rate


def node_findings(graph: Graph) -> list[Finding]:
    """Judge the running node, where there is one."""
    node = graph.node
    if node is None and graph.unasked:
        names = ', '.join(graph.unasked)
        why = f'{names} not looked at: ask about one with -r __ns:=NAMESPACE -r __node:=NAME'
        return [skipped(line, why) for line in ('node', 'inputs', 'scale', 'drops', 'listeners')]
    if node is None:
        why = 'no node runs; the lines above say what one would meet'
        return [skipped(line, why) for line in ('node', 'inputs', 'scale', 'drops', 'listeners')]
    return [_node(node), _inputs(node), _scale(graph, node), _drops(node), _listeners(node)]


def _node(node: NodeSeen) -> Finding:
    line = 'node'
    if node.count > 1:
        return failed(
            line,
            f'{node.count} nodes are called {node.name}',
            'end all but one, or give each a name or a namespace of its own (-r __ns:=/front)',
        )
    if not node.state:
        return failed(
            line,
            f'{node.name} is there and does not answer',
            'see its log; where it hangs, end it (SIGINT names what hung) and start it again',
        )
    if node.state != 'active':
        steps = ['configure', 'activate'] if node.state == 'unconfigured' else ['activate']
        return failed(
            line,
            f'{node.name} is {node.state}',
            ' && '.join(f'ros2 lifecycle set {node.name} {step}' for step in steps)
            + ', or start it with autostart:=true',
        )
    if node.level >= 2:
        return split(line, node.message)
    return ok(line, f'{node.name} is active: {node.message or "no report yet"}')


def _inputs(node: NodeSeen) -> Finding:
    if node.state != 'active':
        return skipped('inputs', f'{node.name} is not active')
    if node.elsewhere:
        name, topic = next(iter(node.elsewhere.items()))
        return failed(
            'inputs',
            f'{node.name} does not listen to ' + ', '.join(node.elsewhere.values()),
            f'start it with -r {name}:={raw_name(topic)} too, or ask about what it listens to',
        )
    return ok('inputs', f'{node.name} listens to what was asked about')


def _scale(graph: Graph, node: NodeSeen) -> Finding:
    line, state = 'scale', node.scale.get('state', '')
    if not state:
        return skipped(line, f'{node.name} has published no depth/scale')
    if state != 'UNANCHORED':
        return ok(line, f'{state} by {node.scale.get("method", "")}')
    reason = node.scale.get('reason', '')
    if graph.config.scale.unanchored == 'assume':
        return note(line, f'UNANCHORED, and assumed: {reason}')
    if ': ' in reason:
        return split(line, f'UNANCHORED: {reason}')
    return failed(line, f'UNANCHORED: {reason}', LINES[line].cure)


def _drops(node: NodeSeen) -> Finding:
    line = 'drops'
    grown = {
        key.partition('_')[2]: count
        for key, count in node.grown.items()
        if key.startswith(('dropped_', 'incomplete_')) and count
    }
    grown.pop(_ASKED_FOR, None)
    if (busy := grown.pop(_BUSY, 0)) and not grown:
        return note(line, f'{busy} superseded: the network is slower than the camera, no fault')
    if not grown:
        return ok(line, 'none while watched')
    worst = max(grown, key=lambda reason: grown[reason])
    return failed(
        line,
        ', '.join(f'{count} {reason}' for reason, count in grown.items()) + ' while watched',
        DROPS.get(worst, LINES[line].cure),
    )


def _listeners(node: NodeSeen) -> Finding:
    line = 'listeners'
    clashes = [(t, each) for t, who in node.listeners.items() for each in who if each.clash]
    if clashes:
        topic, who = clashes[0]
        return failed(
            line,
            '; '.join(f'{each.node} gets no {t}: {each.clash}' for t, each in clashes),
            f'change {who.node}, or set qos_overrides.{topic}.publisher of the node',
        )
    heard = [f'{topic} ({", ".join(e.node for e in who)})' for topic, who in node.listeners.items()
             if who]
    return ok(line, ', '.join(heard)) if heard else note(
        line, 'nobody listens: outputs without a subscriber are not computed'
    )
