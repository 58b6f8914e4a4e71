# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Clouds of any layout and scans to points; what is none is refused before memory is taken."""

import array
from types import SimpleNamespace

import numpy as np
import pytest

from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.ros import messages
from helpers import header

UINT8, UINT16, INT32, UINT32, FLOAT32, FLOAT64 = 2, 4, 5, 6, 7, 8


def cloud_message(fields, rows, point_step, big_endian=False, row_padding=0):
    """Return a stand-in for sensor_msgs/PointCloud2 of one point per row of values.

    Args:
        fields: (name, offset, datatype) of each.
        rows: lists of points; a point is a dict of field name to value.
        point_step: bytes per point.
        big_endian: byte order of the data.
        row_padding: unused bytes at the end of each row.
    """
    kinds = {2: 'u1', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
    data = b''
    for row in rows:
        for point in row:
            packed = bytearray(point_step)
            for name, offset, kind in fields:
                order = '>' if big_endian else '<'
                value = np.array(point[name], np.dtype(kinds[kind]).newbyteorder(order)).tobytes()
                packed[offset : offset + len(value)] = value
            data += bytes(packed)
        data += bytes(row_padding)
    return SimpleNamespace(
        header=header(5_000_000_000, 'lidar'),
        height=len(rows),
        width=len(rows[0]) if rows else 0,
        fields=[
            SimpleNamespace(name=name, offset=offset, datatype=kind, count=1)
            for name, offset, kind in fields
        ],
        is_bigendian=big_endian,
        point_step=point_step,
        row_step=point_step * (len(rows[0]) if rows else 0) + row_padding,
        data=array.array('B', data),
        is_dense=False,
    )


XYZ = [('x', 4, FLOAT32), ('y', 12, FLOAT32), ('z', 8, FLOAT32)]


@pytest.mark.parametrize('big_endian', [False, True])
def test_cloud_of_odd_layout_padded_rows_and_nan(big_endian):
    rows = [
        [{'x': 1, 'y': 2, 'z': 3}, {'x': np.nan, 'y': 0, 'z': 0}],
        [{'x': 4, 'y': 5, 'z': 6}, {'x': 7, 'y': 8, 'z': 9}],
    ]
    points = messages.decode_points(cloud_message(XYZ, rows, 20, big_endian, row_padding=8))
    np.testing.assert_array_equal(points.xyz_m, [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert points.xyz_m.dtype == np.float32
    assert (points.stamp_ns, points.frame_id) == (5_000_000_000, 'lidar')
    assert points.ring is None and points.time_s is None


@pytest.mark.parametrize(
    'field, kind, value',
    [
        ('t', UINT32, 25_000_000),
        ('time', FLOAT32, 0.025),
        ('timestamp', FLOAT64, 5.025),
        ('offset_time', UINT32, 25_000_000),
    ],
)
def test_point_times_of_common_drivers(field, kind, value):
    # The stamp is 5 s. A "timestamp" beside it is absolute once it is no small number.
    fields = [*XYZ, (field, 16, kind), ('ring', 24, UINT16)]
    message = cloud_message(fields, [[{'x': 1, 'y': 1, 'z': 1, field: value, 'ring': 9}]], 28)
    if field == 'timestamp':
        message.header.stamp.sec = 1_700_000_000
        message.data = cloud_message(
            fields, [[{'x': 1, 'y': 1, 'z': 1, field: 1_700_000_000.025, 'ring': 9}]], 28
        ).data
    points = messages.decode_points(message)
    np.testing.assert_allclose(points.time_s, [0.025], atol=1e-6)
    np.testing.assert_array_equal(points.ring, [9])


def test_empty_and_truncated_clouds():
    assert len(messages.decode_points(cloud_message(XYZ, [], 20))) == 0
    message = cloud_message(XYZ, [[{'x': 1, 'y': 2, 'z': 3}]], 20)
    message.data = message.data[:-1]
    with pytest.raises(BadFrameError):
        messages.decode_points(message)
    with pytest.raises(BadFrameError, match='no x, y, z'):
        messages.decode_points(cloud_message(XYZ[:2], [[{'x': 1, 'y': 2}]], 20))


def test_scan_to_points_by_hand():
    points = messages.decode_scan(scan_message())
    np.testing.assert_allclose(points.xyz_m, [[0, -2, 0], [3, 0, 0], [0, 4, 0]], atol=1e-6)
    np.testing.assert_allclose(points.time_s, [0, 0.01, 0.02])


def refused(decode, message, reason, cause='.', limits=LimitsConfig()):
    with pytest.raises(BadFrameError, match=cause) as caught:
        decode(message, limits)
    assert caught.value.reason == reason and len(str(caught.value)) <= 500


POINTS = [[{'x': 1, 'y': 2, 'z': 3}, {'x': 4, 'y': 5, 'z': 6}]]


@pytest.mark.parametrize(
    'field, changes',
    [
        ('x', {'datatype': 0}),
        ('x', {'datatype': 9}),
        ('y', {'datatype': 255}),
        ('x', {'datatype': UINT32}),  # a length in whole units of what?
        ('x', {'count': 0}),
        ('y', {'count': 3000}),
        ('z', {'count': 2**32 - 1}),
        ('x', {'offset': 17}),
        ('x', {'offset': 2**32 - 1}),
        ('x', {'offset': 9}),  # into y
        ('y', {'name': 'x'}),
        ('z', {'datatype': FLOAT64}),  # at 8 to 16: into y
    ],
)
def test_fields_without_a_place_of_their_own_are_refused(field, changes):
    message = cloud_message(XYZ, POINTS, 20)
    vars(message.fields['xyz'.index(field)]).update(changes)
    if 'name' in changes:
        refused(messages.decode_points, message, 'points_without_xyz')
    else:
        refused(messages.decode_points, message, 'bad_point_layout', f'"{field}"')


def test_a_second_x_is_refused_and_a_broken_field_that_nobody_reads_is_not():
    message = cloud_message(XYZ, POINTS, 20)
    message.fields += [SimpleNamespace(name='rgb', offset=2**32 - 1, datatype=0, count=3000)]
    assert len(messages.decode_points(message)) == 2
    message.fields += [SimpleNamespace(name='x', offset=16, datatype=FLOAT32, count=1)]
    refused(messages.decode_points, message, 'bad_point_layout', '2 field "x"')
    message.fields = []
    refused(messages.decode_points, message, 'points_without_xyz', 'no field')


@pytest.mark.parametrize('step', [0, 1, 15, 2**32 - 1])
def test_points_that_are_no_points_long_are_refused(step):
    message = cloud_message(XYZ, POINTS, 20)
    message.point_step = step
    reason = 'truncated_points' if step > 16 else 'bad_point_layout'
    refused(messages.decode_points, message, reason)


@pytest.mark.parametrize('row_step', [0, 39, 41, 2**32 - 1])
def test_rows_are_of_their_own_bytes_and_there(row_step):
    message = cloud_message(XYZ, POINTS * 2, 20)
    message.row_step = row_step
    refused(messages.decode_points, message, 'truncated_points', f'in rows of {row_step}')
    one_row = cloud_message(XYZ, POINTS, 20)
    one_row.row_step = row_step  # says nothing where there is one row
    assert len(messages.decode_points(one_row)) == 2


@pytest.mark.parametrize(
    'height, width', [(2**32 - 1, 1), (1, 2**32 - 1), (2**32 - 1, 2**32 - 1), (5_000_001, 1)]
)
def test_more_points_than_the_limit_are_refused(height, width):
    message = cloud_message(XYZ, POINTS, 20)
    message.height, message.width, message.row_step = height, width, 0
    refused(messages.decode_points, message, 'too_many_points', r'limits.points \(5000000\)')


def test_the_limit_of_points_is_a_parameter():
    message, scan = cloud_message(XYZ, POINTS, 20), scan_message()
    assert len(messages.decode_points(message, LimitsConfig(points=2))) == 2
    refused(messages.decode_points, message, 'too_many_points', limits=LimitsConfig(points=1))
    refused(messages.decode_scan, scan, 'too_many_points', limits=LimitsConfig(points=3))


def test_an_empty_cloud_of_absurd_layout_is_empty():
    message = cloud_message(XYZ, [], 20)
    message.point_step = 2**32 - 1
    message.fields[0].offset = 2**32 - 5
    assert len(messages.decode_points(message)) == 0


def test_coordinates_beyond_any_range_are_no_points():
    rows = [[{'x': x, 'y': 0, 'z': 0} for x in (1, 1e6, 1.1e6, 3e38, np.inf, -np.inf, np.nan)]]
    wide = [('x', 0, FLOAT64), ('y', 8, FLOAT64), ('z', 16, FLOAT64)]
    np.testing.assert_array_equal(
        messages.decode_points(cloud_message(XYZ, rows, 20)).xyz_m[:, 0], [1, 1e6]
    )
    rows[0].append({'x': 1e300, 'y': 0, 'z': 0})
    np.testing.assert_array_equal(
        messages.decode_points(cloud_message(wide, rows, 24)).xyz_m[:, 0], [1, 1e6]
    )


STAMP_S = 1_700_000_000


@pytest.mark.parametrize(
    'field, kind, values, expected_s',
    [
        # A Livox driver's PointCloud2: absolute nanoseconds in a double, 256 ns apart.
        ('timestamp', FLOAT64, [STAMP_S * 1e9, STAMP_S * 1e9 + 5e7], [0, 0.05]),
        ('timestamp', FLOAT64, [STAMP_S + 0.1, STAMP_S - 0.1], [0.1, -0.1]),
        ('timestamp', FLOAT64, [STAMP_S * 1e6, (STAMP_S + 0.05) * 1e6], [0, 0.05]),
        ('timestamp', FLOAT64, [0, 0.1], [0, 0.1]),
        ('time', FLOAT32, [-0.1, 0], [-0.1, 0]),
        ('time', FLOAT32, [0, 9e4], [0, 0.09]),  # microseconds
        ('time', FLOAT32, [0, 9e7], [0, 0.09]),  # nanoseconds
        ('t', UINT32, [0, 100_000_000], [0, 0.1]),
        ('t', UINT32, [0, 90], [0, 9e-8]),
        ('t', INT32, [-100_000_000, 0], [-0.1, 0]),
        ('t', UINT32, [0, 2**32 - 1], None),  # 4 s
        ('timestamp', FLOAT64, [STAMP_S + 37, STAMP_S + 37.1], None),  # another clock
        ('timestamp', FLOAT64, [STAMP_S * 1e9, 0], None),
        ('time', FLOAT32, [0, np.nan], None),
        ('time', FLOAT32, [0, np.inf], None),
        ('timestamp', FLOAT64, [0, 1e300], None),
    ],
)
def test_times_are_told_by_their_size_and_left_out_where_they_make_no_sense(
    field, kind, values, expected_s
):
    fields = [*XYZ, (field, 16, kind)]
    rows = [[{'x': i, 'y': 1, 'z': 1, field: value} for i, value in enumerate(values)]]
    message = cloud_message(fields, rows, 24)
    message.header.stamp.sec = STAMP_S
    points = messages.decode_points(message)
    np.testing.assert_array_equal(points.xyz_m[:, 0], [0, 1])  # the points stay
    if expected_s is None:
        assert points.time_s is None
    else:
        np.testing.assert_allclose(points.time_s, expected_s, atol=3e-7)


def test_times_of_points_that_are_none_do_not_count():
    rows = [[{'x': np.nan, 'y': 1, 'z': 1, 'time': np.nan}, {'x': 1, 'y': 1, 'z': 1, 'time': 0.1}]]
    points = messages.decode_points(cloud_message([*XYZ, ('time', 16, FLOAT32)], rows, 20))
    np.testing.assert_allclose(points.time_s, [0.1])


def test_no_time_is_before_time_began():
    rows = [[{'x': 1, 'y': 1, 'z': 1, 'time': -0.1}]]
    message = cloud_message([*XYZ, ('time', 16, FLOAT32)], rows, 20)
    message.header.stamp.sec = 0
    assert messages.decode_points(message).time_s is None


@pytest.mark.parametrize(
    'kind, values, expected',
    [
        (UINT8, [0, 31], [0, 31]),
        (FLOAT32, [0, 31], [0, 31]),
        (FLOAT32, [0.5, 31], None),
        (FLOAT32, [np.nan, 31], None),
        (UINT32, [2**32 - 1, 31], None),
        (INT32, [-1, 31], None),
    ],
)
def test_rings_are_small_whole_numbers(kind, values, expected):
    rows = [[{'x': 1, 'y': 1, 'z': 1, 'ring': value} for value in values]]
    ring = messages.decode_points(cloud_message([*XYZ, ('ring', 16, kind)], rows, 20)).ring
    assert expected is None and ring is None or (ring == expected).all()


@pytest.mark.parametrize('stamp', [(-1, 0), (0, 10**9)])
def test_sweeps_of_no_time_are_refused(stamp):
    for decode, message in (
        (messages.decode_points, cloud_message(XYZ, POINTS, 20)),
        (messages.decode_scan, scan_message()),
    ):
        message.header.stamp.sec, message.header.stamp.nanosec = stamp
        refused(decode, message, 'bad_stamp')


def scan_message(**changes):
    """Return three returns at 2, 3 and 4 m, at -90, 0 and 90 degrees, and one miss."""
    fields = {
        'angle_min': -np.pi / 2,
        'angle_increment': np.pi / 2,
        'time_increment': 0.01,
        'range_min': 0.5,
        'range_max': 10.0,
        'ranges': [2.0, 3.0, 4.0, np.inf],
    }
    return SimpleNamespace(header=header(1_000_000_000, 'laser'), **(fields | changes))


@pytest.mark.parametrize(
    'changes',
    [
        {name: value}
        for name in ('angle_min', 'angle_increment', 'range_min', 'range_max')
        for value in (np.nan, np.inf, -np.inf)
        if (name, value) not in (('range_max', np.inf), ('range_min', -np.inf))
    ]
    + [
        {'angle_increment': 0.0},
        {'angle_increment': 3e38},
        {'angle_min': 1e30},
        {'range_min': 11.0},
        {'ranges': [1.0] * 100},  # 25 turns
    ],
)
def test_scans_that_are_none_are_refused(changes):
    refused(messages.decode_scan, scan_message(**changes), 'bad_scan')


def test_scans_of_few_or_odd_ranges():
    assert len(messages.decode_scan(scan_message(ranges=[]))) == 0
    assert len(messages.decode_scan(scan_message(ranges=[2.0], angle_increment=0.0))) == 1
    odd = [np.nan, -1.0, 0.4, 10.1, 3e38, -np.inf]
    assert len(messages.decode_scan(scan_message(ranges=odd, angle_increment=0.1))) == 0
    endless = scan_message(range_max=np.inf, range_min=-np.inf)
    np.testing.assert_allclose(messages.decode_scan(endless).xyz_m[:, 0], [0, 3, 0], atol=1e-6)
    for increment in (0.0, np.nan, np.inf, 1e30, 0.51):
        points = messages.decode_scan(scan_message(time_increment=increment))
        assert len(points) == 3 and points.time_s is None
