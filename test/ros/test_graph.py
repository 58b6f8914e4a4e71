# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The graph of the running node, held to what README and the security policy say of it."""

from pathlib import Path
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import pytest
import rclpy
from rclpy.expand_topic_name import expand_topic_name

ROOT = Path(__file__).resolve().parents[2]
NODE = ROOT / 'test' / 'programs' / 'tf_node.py'  # takes TF where tf2 is not installed, too
PATIENCE_S = 60.0
# Of rclpy and TF: README is about the rest.
USUAL = ('/tf', '/tf_static', '/clock', '/rosout', '/parameter_events')


@pytest.fixture(scope='module')
def graph():
    """Return kind of end -> name -> type of the node's ends, told by DDS to another process."""
    command = [sys.executable, NODE, '--ros-args', '-p', 'use_sim_time:=true']
    node = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rclpy.init()
    looker = rclpy.create_node('looker')
    end = time.monotonic() + PATIENCE_S
    try:
        while True:
            rclpy.spin_once(looker, timeout_sec=0.2)
            found = ends(looker)
            # The last of each kind that the node makes.
            if '/range' in found['subscribe'] and '/diagnostics' in found['publish'] \
                    and '/clock' in found['subscribe'] and len(found['reply']) >= 11:
                return found
            assert time.monotonic() < end and node.poll() is None, found
    finally:
        looker.destroy_node()
        rclpy.shutdown()
        node.send_signal(signal.SIGINT)
        node.wait(10)


def ends(looker):
    """Return what is known of the node's ends now."""
    if ('depth_anything', '/') not in looker.get_node_names_and_namespaces():
        return {'subscribe': {}, 'publish': {}, 'reply': {}, 'request': {}}
    asked = {
        'subscribe': looker.get_subscriber_names_and_types_by_node,
        'publish': looker.get_publisher_names_and_types_by_node,
        'reply': looker.get_service_names_and_types_by_node,
        'request': looker.get_client_names_and_types_by_node,
    }
    return {
        kind: {name: types[0] for name, types in ask('depth_anything', '/')}
        for kind, ask in asked.items()
    }


def policy():
    """Return the enclave's path and kind of end -> names that the policy allows."""
    (enclave,) = ET.parse(ROOT / 'config' / 'sros2' / 'policy.xml').iter('enclave')
    (profile,) = enclave.iter('profile')
    allowed = {}
    for group in profile:
        ((kind, what),) = group.attrib.items()
        assert what == 'ALLOW' and kind not in allowed
        names = [each.text for each in group]
        allowed[kind] = {
            expand_topic_name(name, profile.get('node'), profile.get('ns')) for name in names
        }
        assert len(allowed[kind]) == len(names)
    return enclave.get('path'), allowed


def readme_table(heading):
    """Return name -> types of a table of topics in README."""
    table = (ROOT / 'README.md').read_text().partition(f'| {heading} |')[2].partition('\n\n')[0]
    rows = re.findall(r'^\| (`.*?`) \| (\S.*?) \|', table, re.MULTILINE)
    found = {}
    for names, kinds in rows:
        names, kinds = re.findall(r'`(.*?)`', names), kinds.split(', ')
        package = kinds[0].partition('/')[0]
        for name, kind in zip(names, kinds * len(names)):
            found['/' + name.removeprefix('/')] = f'{package}/msg/{kind.rpartition("/")[2]}'
    return found


def test_the_policy_allows_what_the_node_does_and_nothing_else(graph):
    path, allowed = policy()
    assert path == '/depth_anything'
    # From Jazzy on each node tells the types that it speaks.
    since_jazzy = {'/depth_anything/get_type_description'}
    assert allowed['reply'] - since_jazzy == set(graph['reply']) - since_jazzy
    assert allowed['publish'] == set(graph['publish'])
    assert allowed['subscribe'] == set(graph['subscribe'])
    assert not graph['request'] and set(allowed) == {'publish', 'subscribe', 'reply'}


@pytest.mark.parametrize('heading, kind', [('input', 'subscribe'), ('output', 'publish')])
def test_readme_lists_the_topics_and_their_types(graph, heading, kind):
    own = {
        name: of for name, of in graph[kind].items()
        if name not in USUAL and not name.startswith('/depth_anything/')
    }
    assert readme_table(heading) == own
