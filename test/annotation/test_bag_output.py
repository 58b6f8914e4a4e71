# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""What is written is what the middleware reads back, and between fields there are zeros."""

from array import array
import struct

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from recorded_drive import drive, write_bag
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField, RegionOfInterest
from std_msgs.msg import Header

from depth_anything_ros.annotation.bag_output import BagOutput

MESSAGES = [
    Image(
        header=Header(frame_id='camera'), height=1, width=2, encoding='32FC1', step=8,
        data=array('B', struct.pack('<2f', 1.5, 2.5)),
    ),
    CameraInfo(
        height=3, width=4, distortion_model='plumb_bob', d=[0.5, 0.25], k=np.arange(9.0),
        r=np.arange(9.0) / 2, p=np.arange(12.0), binning_x=2,
        roi=RegionOfInterest(x_offset=1, do_rectify=True),
    ),
    PointCloud2(
        height=1, width=1, point_step=4, row_step=4, data=array('B', b'abcd'), is_dense=True,
        fields=[PointField(name='x', datatype=PointField.FLOAT32, count=1),
                PointField(name='rgb', offset=4, datatype=PointField.UINT32, count=2)],
    ),
    DiagnosticStatus(
        level=DiagnosticStatus.WARN, name='scale', message='UNANCHORED',
        values=[KeyValue(key='state', value='UNANCHORED'), KeyValue(key='reason', value='')],
    ),
]


def written(message, path, tmp_path_factory):
    """Return a message as it stands in a bag."""
    bag = write_bag(tmp_path_factory.mktemp('bag') / 'in', drive(1))
    with Reader(bag) as reader:
        with BagOutput(path, reader, [], frozenset(), keep=False) as output:
            output._write('/topic', 7, message)
    with Reader(path) as reader:
        ((connection, time_ns, data),) = reader.messages()
    assert (connection.topic, time_ns) == ('/topic', 7)
    return data


@pytest.mark.parametrize('message', MESSAGES, ids=lambda message: type(message).__name__)
def test_the_middleware_reads_back_what_was_written(message, tmp_path, tmp_path_factory):
    data = written(message, tmp_path / 'out', tmp_path_factory)
    assert deserialize_message(data, type(message)) == message


def test_between_fields_there_are_zeros(tmp_path, tmp_path_factory):
    data = written(MESSAGES[3], tmp_path / 'out', tmp_path_factory)
    # CDR: a byte, then padding up to the length of the next string, a multiple of 4 away.
    assert data[4:16] == b'\x01\0\0\0' + struct.pack('<I', 6) + b'scal'
    assert data[16:20] == b'e\0\0\0'  # the string's own zero, and two of padding
