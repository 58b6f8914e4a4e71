# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Which topic may have been meant: of a type that an input takes, the nearest name first."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import SequenceMatcher

from depth_anything_ros.annotation.cures import remap
from depth_anything_ros.annotation.topics import KINDS
from depth_anything_ros.ros.output_messages import TOPICS

_OURS = tuple(f'/{name}' for name in TOPICS)
_PICTURES = ('Image', 'CompressedImage')
_TRANSPORTS = ('/compressed', '/compressedDepth')


def carrying(topics: Mapping[str, str], name: str, asked: str) -> list[str]:
    """Return the topics that an input could be, the nearest name first.

    Args:
        topics: name -> type.
        name: of the input.
        asked: the topic on which nothing comes.
    """
    kinds = _PICTURES if name == 'image' else KINDS[name]
    of_depth = name.startswith('sensor_depth')
    found = [
        topic
        for topic, kind in topics.items()
        if kind.rpartition('/')[2] in kinds
        and not raw_name(topic).endswith(_OURS)
        and topic != asked
        and not (raw_name(topic) != topic and raw_name(topic) in topics)
        and not (name != 'image' and name.endswith('image') and of_depth != ('depth' in topic))
    ]
    if name == 'image':
        found = [t for t in found if not t.endswith('/compressedDepth')]
        found.sort(key=lambda topic: ('depth' in topic, -_likeness(topic, asked), topic))
    else:
        found.sort(key=lambda topic: (-_likeness(topic, asked), topic))
    return found


def siblings(topics: Mapping[str, str], image: str) -> list[str]:
    """Return the topics of camera_info, that beside an image first."""
    beside = f'{raw_name(image).rpartition("/")[0]}/camera_info'
    found = carrying(topics, 'camera_info', '')
    return sorted(found, key=lambda topic: (-_likeness(topic, beside), topic))


def remapped(name: str, topic: str, topics: Mapping[str, str]) -> str:
    """Return the arguments that make an input of a topic."""
    rule = remap(name, raw_name(topic))
    if topics[topic].endswith('CompressedImage'):
        if name.startswith('sensor_depth'):
            return f'{rule} -p scale.depth_transport:=compressedDepth'
        return f'{rule} -p image_transport:=compressed'
    return rule


def raw_name(topic: str) -> str:
    """Return the name that image_transport knows a topic by."""
    for transport in _TRANSPORTS:
        topic = topic.removesuffix(transport)
    return topic


def _likeness(topic: str, asked: str) -> float:
    return SequenceMatcher(None, raw_name(topic), asked).ratio()
