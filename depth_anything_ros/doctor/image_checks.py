# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What was seen of the camera -> findings."""

from __future__ import annotations

import math

from depth_anything_ros.annotation.cures import remap
from depth_anything_ros.doctor.facts import Graph, InputSeen
from depth_anything_ros.doctor.findings import failed, Finding, note, ok, skipped
from depth_anything_ros.doctor.machine_checks import split
from depth_anything_ros.doctor.topic_names import carrying, remapped, siblings
from depth_anything_ros.ros.images import DEPTH_ENCODINGS

BEHIND_S = 2.0  # of the clock: slower is no camera
AHEAD_S = 1.0  # more than clocks differ that are kept in step
_RECORDED_S = 3600.0  # older stamps are a recording's
_LOST = 0.2  # share of the images
_FEWEST = 5  # camera_infos, by which lost images are told
_VIEW_DEG = (3.0, 170.0)  # of a pinhole camera
_ASPECT = 2.0  # largest ratio of the focal lengths
_SHOWN = 4  # topics in one line


def image_findings(graph: Graph) -> list[Finding]:
    """Judge what comes of the camera."""
    image = graph.inputs['image']
    return [
        _graph(graph),
        _image(graph, image),
        _qos(graph),
        _rate(image),
        _camera_info(graph),
        _calibration(graph),
        _size(graph),
        _stamps(graph, image),
        _clock(graph),
    ]


def _graph(graph: Graph) -> Finding:
    if not graph.nodes:
        return failed(
            'graph',
            f'no other node is seen in ROS domain {graph.domain}',
            'give the doctor the ROS_DOMAIN_ID of the robot, the same middleware and range of '
            'discovery, and look at network and firewall',
        )
    return ok('graph', f'{len(graph.nodes)} other nodes in domain {graph.domain}')


def _image(graph: Graph, image: InputSeen) -> Finding:
    if not image.fitting:
        return _no_image(graph, image)
    if not image.count:
        return silent('image', image)
    looked = graph.looked
    if any(f'encoding "{form}"' in looked.image_error for form in DEPTH_ENCODINGS):
        return failed(
            'image',
            f'{image.topic} carries depth images, no colour',
            f'-r image:= the colour image, and -r sensor_depth/image:={image.topic}',
        )
    if looked.image_error:
        return split('image', looked.image_error)
    width, height = looked.size
    return ok('image', f'{image.topic}: {width}x{height} {looked.form}, "{looked.frame_id}"')


def _no_image(graph: Graph, image: InputSeen) -> Finding:
    asked, kind = image.topic, image.kind.rpartition('/')[2]
    base = asked.removesuffix('/compressed')
    other = {'CompressedImage': base, 'Image': f'{asked}/compressed'}[kind]
    transport = 'raw' if kind == 'CompressedImage' else 'compressed'
    if graph.topics.get(other, '').endswith('/' + ('Image', 'CompressedImage')[kind == 'Image']):
        return failed(
            'image',
            f'no {kind} on {asked}, but its sibling {other} is there',
            f'-p image_transport:={transport}',
        )
    if image.publishers:
        types = ', '.join(sorted({publisher.kind for publisher in image.publishers}))
        return failed('image', f'{asked} carries {types}, no {image.kind}', _instead(graph, asked))
    found = carrying(graph.topics, 'image', base)
    if not found:
        return failed(
            'image',
            f'no publisher on the image topic {asked}, and no topic carries images',
            "start the camera's driver, in this ROS domain",
        )
    return failed(
        'image',
        f'no publisher on the image topic {asked}, but these topics carry images: '
        + ', '.join(found[:_SHOWN]),
        _instead(graph, asked),
    )


def _instead(graph: Graph, asked: str) -> str:
    found = carrying(graph.topics, 'image', asked.removesuffix('/compressed'))
    return remapped('image', found[0], graph.topics) if found else "start the camera's driver"


def silent(line: str, seen: InputSeen) -> Finding:
    """Say that nothing comes although somebody publishes."""
    names = ', '.join(sorted({p.node for p in seen.publishers if p.kind == seen.kind}))
    return failed(
        line,
        f'{names} publishes {seen.topic}, but nothing came',
        f'look at its log: the driver of {seen.topic} has stopped, waits, or its messages get '
        'lost (shared_memory)',
    )


def _qos(graph: Graph) -> Finding:
    clashes = [
        (seen.topic, publisher)
        for seen in graph.inputs.values()
        for publisher in seen.publishers
        if publisher.clash and publisher.kind == seen.kind
    ]
    if clashes:
        topic, publisher = clashes[0]
        return failed(
            'qos',
            '; '.join(f'{where}: {each.clash} ({each.node})' for where, each in clashes),
            f'remove qos_overrides.{topic}.subscription from the parameters, or let '
            f'{publisher.node} offer as much',
        )
    if not any(seen.fitting for seen in graph.inputs.values()):
        return skipped('qos', 'no input has a publisher')
    return ok('qos', 'every publisher of an input matches')


def _rate(image: InputSeen) -> Finding:
    if not image.count or image.facts is None:
        return skipped('rate', 'no image came')
    if image.expected >= _FEWEST and image.missed > _LOST * image.expected:
        return failed(
            'rate',
            f'of {image.expected} images whose camera_info came, {image.missed} did not: messages '
            f'of {image.largest_bytes / 1e6:.1f} MB get lost',
            'config/fastdds_shm.xml for the driver and the node; over a network '
            'image_transport:=compressed',
        )
    rate_hz = image.facts.rate_hz
    if rate_hz is None:
        return note('rate', f'{image.count} image in all this time')
    return ok('rate', f'{rate_hz:.1f} Hz')


def _camera_info(graph: Graph) -> Finding:
    line, seen, image = 'camera_info', graph.inputs['camera_info'], graph.inputs['image'].topic
    if seen.count:
        return ok(line, seen.topic)
    if seen.fitting:
        return silent(line, seen)
    if seen.publishers:
        return failed(line, f'{seen.topic} carries {seen.publishers[0].kind}',
                      '-r camera_info:=TOPIC of the camera')
    found = siblings(graph.topics, image)
    if not found:
        return failed(
            line,
            f'no publisher on {seen.topic}, and no topic carries camera_info',
            'let the driver publish it (camera_info_manager), from a calibration',
        )
    return failed(
        line,
        f'no publisher on {seen.topic}, but there is {", ".join(found[:_SHOWN])}',
        remap('camera_info', found[0]),
    )


def _calibration(graph: Graph) -> Finding:
    line, looked = 'calibration', graph.looked
    if not looked.count or looked.camera_key == 'no_camera_info' or looked.image_error:
        return skipped(line, 'no image with a camera_info came')
    if looked.camera_key == 'camera_info_mismatch':
        return skipped(line, 'it is that of another size')
    if looked.camera_error:
        return split(line, looked.camera_error)
    (fx, fy), (cx, cy), (width, height) = looked.focal_px, looked.centre_px, looked.size
    view_deg = math.degrees(2 * math.atan(width / (2 * fx)))
    strange = []
    if looked.model != 'equidistant' and not _VIEW_DEG[0] < view_deg < _VIEW_DEG[1]:
        strange.append(f'a view of {view_deg:.1f} degrees')
    if not 1 / _ASPECT < fx / fy < _ASPECT:
        strange.append(f'focal lengths of {fx:.0f} and {fy:.0f} px')
    if not (0 <= cx < width and 0 <= cy < height):
        strange.append(f'a centre at ({cx:.0f}, {cy:.0f}) outside of {width}x{height}')
    if strange:
        return failed(
            line,
            f'camera_info has {" and ".join(strange)}: of another camera or resolution',
            'calibrate the camera at this resolution, and let its driver load that file',
        )
    return ok(line, f'{looked.model}, {view_deg:.0f} degrees across')


def _size(graph: Graph) -> Finding:
    looked = graph.looked
    if looked.camera_key == 'camera_info_mismatch':
        return split('size', looked.camera_error)
    if not looked.size[0] or looked.camera_key == 'no_camera_info':
        return skipped('size', 'no image with a camera_info came')
    return ok('size', f'{looked.size[0]}x{looked.size[1]} both')


def _stamps(graph: Graph, image: InputSeen) -> Finding:
    line, facts = 'stamps', image.facts
    if facts is None or facts.delay_s is None:
        return skipped(line, 'no image came')
    driver = ', '.join(sorted({p.node for p in image.publishers})) or 'the driver'
    if image.zero:
        return failed(line, f'{image.zero} images are stamped 0', f'let {driver} set header.stamp')
    if facts.back:
        return failed(
            line,
            f'stamps go back, {facts.back} times in {facts.messages}',
            f'two cameras on {image.topic}, or a clock that was set: let {driver} use one clock',
        )
    if facts.messages > 2 and facts.doubled >= facts.messages - 1:
        return failed(line, 'all images have one stamp', f'let {driver} stamp each image')
    late_s, clock = facts.delay_s, graph.clock
    if clock.went_s > 0 and (clock.wanted or abs(clock.ahead_s) < BEHIND_S):
        late_s = -clock.ahead_s
    if late_s > _RECORDED_S and graph.config.max_age == 0:
        return note(
            line,
            f'images are {late_s / 3600:.0f} h old when they come: a recording?',
            'ros2 bag play --clock, and use_sim_time:=true for all',
        )
    if late_s > BEHIND_S or late_s < -AHEAD_S:
        side = 'behind' if late_s > 0 else 'ahead of'
        return failed(
            line,
            f'image stamps are {abs(late_s):.1f} s {side} the clock here',
            f'synchronise the clocks of both machines (chrony, PTP), or let {driver} stamp with '
            'ROS time',
        )
    return ok(line, f'{late_s:+.3f} s when they come')


def _clock(graph: Graph) -> Finding:
    line, clock = 'clock', graph.clock
    if clock.wanted and not clock.publishers:
        return failed(
            line,
            'use_sim_time is set, and nobody publishes /clock',
            'use_sim_time:=false, or start the simulator, or ros2 bag play --clock',
        )
    if clock.wanted and (clock.count < 2 or clock.went_s <= 0):
        return failed(
            line,
            f'use_sim_time is set, and the time on /clock ({", ".join(clock.publishers)}) stands '
            'still',
            'unpause the simulator or the bag',
        )
    if clock.wanted:
        return ok(line, f'/clock went {clock.went_s:.1f} s')
    if clock.count and abs(clock.ahead_s) < BEHIND_S and clock.went_s > 0:
        facts = graph.inputs['image'].facts
        if facts is not None and abs(facts.delay_s or 0.0) > BEHIND_S:
            return failed(
                line,
                'image stamps follow /clock, and use_sim_time is not set',
                '-p use_sim_time:=true',
            )
    if clock.count:
        return note(line, '/clock runs, and the images do not follow it')
    return ok(line, 'the clock of this machine')
