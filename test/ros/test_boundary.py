# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever bytes come: what is decoded holds all that the rest relies on, or is refused."""

import struct

from hypothesis import example, given, HealthCheck, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import LimitsConfig
from depth_anything_ros.errors import BadFrameError
from depth_anything_ros.metric_depth.anchors import SensorPoints
from depth_anything_ros.ros.cdr import NANOSECONDS
from depth_anything_ros.ros.messages import serialized_stamp_ns
from depth_anything_ros.ros.points import FARTHEST_M, LONGEST_SWEEP_S
from serialised import decoded, GOOD

EXAMPLES = 300
LENGTHS = st.one_of(
    st.sampled_from([0, 1, 2, 3, 255, 3000, 2**24, 2**31 - 1, 2**31, 2**32 - 1]),
    st.integers(0, 2**32 - 1),
)
PLACES = st.integers(0, 2**16)  # modulo the size
BYTES = st.binary(max_size=300)
MUTATIONS = st.one_of(
    st.tuples(st.just('flip'), PLACES, st.integers(0, 255)),
    st.tuples(st.just('length'), PLACES, LENGTHS),
    st.tuples(st.just('number'), PLACES, st.floats(width=32)),
    st.tuples(st.just('double'), PLACES, st.floats()),
    st.tuples(st.just('cut'), PLACES, st.none()),
    st.tuples(st.just('insert'), PLACES, BYTES),
    st.tuples(st.just('extend'), PLACES, BYTES),
)


def mutated(data, mutations):
    """Return bytes changed in order."""
    data = bytearray(data)
    for kind, place, value in mutations:
        at = place % (len(data) + 1)
        aligned = 4 + (at - 4) // 4 * 4  # where CDR has its numbers
        if kind == 'cut':
            del data[at:]
        elif kind == 'insert':
            data[at:at] = value
        elif kind == 'extend':
            data += value
        elif kind == 'flip':
            data[at : at + 1] = bytes([value])
        else:
            packed = struct.pack({'length': '<I', 'number': '<f', 'double': '<d'}[kind], value)
            if 0 <= aligned <= len(data) - len(packed):
                data[aligned : aligned + len(packed)] = packed
    return bytes(data)


def check(value):
    """Assert what the rest relies on."""
    if isinstance(value, Camera):
        K, D = np.stack([value.K, value.rectified().K]), np.array(value.D)
        assert value.width > 0 and value.height > 0 and np.isfinite(D).all()
        assert np.isfinite(K).all() and (K[:, [0, 1], [0, 1]] > 0).all()
        assert np.isfinite(np.linalg.inv(K).astype(np.float32)).all()
        np.testing.assert_allclose(value.R @ value.R.T, np.eye(3), atol=0.02)
        if value.is_distorted:
            assert value.rectification_map(value.rectified().scaled(8, 6)).shape == (6, 8, 2)
    elif isinstance(value, SensorPoints):
        count = len(value)
        assert value.xyz_m.shape == (count, 3) and value.xyz_m.dtype == np.float32
        assert (np.abs(value.xyz_m) <= FARTHEST_M * 1.001).all()
        assert 0 <= value.stamp_ns < 2**31 * NANOSECONDS and len(value.frame_id) <= 1024
        if value.time_s is not None:
            assert value.time_s.shape == (count,) and value.time_s.dtype == np.float64
            assert (np.abs(value.time_s) <= LONGEST_SWEEP_S).all()
            assert (value.stamp_ns / 1e9 + value.time_s >= 0).all()
        if value.ring is not None:
            assert value.ring.shape == (count,) and value.ring.dtype == np.int64
            assert ((value.ring >= 0) & (value.ring < 2**16)).all()
    else:
        limits = LimitsConfig()
        height, width = value.shape[:2]
        assert value.dtype == np.uint8 and value.shape == (height, width, 3)
        assert 0 < height * width <= limits.image_pixels
        assert max(height, width) <= limits.image_aspect * min(height, width)


def judge(name, data):
    """Decode; return whether it was taken."""
    try:
        stamp_ns = serialized_stamp_ns(data)
        assert 0 <= stamp_ns < 2**31 * NANOSECONDS
    except BadFrameError as error:
        assert str(error).isprintable() and len(str(error)) <= 500
    try:
        check(decoded(data, name))
    except BadFrameError as error:
        assert error.reason.isidentifier()
        assert str(error).isprintable() and len(str(error)) <= 500
        return False
    return True


FAST = settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize('name', GOOD)
def test_the_good_message_is_taken(name):
    assert judge(name, GOOD[name])


@pytest.mark.parametrize('name', GOOD)
@FAST
@example(mutations=[('flip', 191, 127)])  # a signalling NaN among the times of points
@given(mutations=st.lists(MUTATIONS, min_size=1, max_size=4))
def test_mutated_messages(name, mutations):
    judge(name, mutated(GOOD[name], mutations))


@FAST
@given(
    name=st.sampled_from(sorted(GOOD)),
    data=st.binary(max_size=400),
    head=st.sampled_from([b'', b'\0\1\0\0', b'\0\0\0\0', GOOD['Image'][:20]]),
)
def test_random_bytes(name, data, head):
    judge(name, head + data)


@FAST
@given(
    name=st.sampled_from(sorted(GOOD)),
    other=st.sampled_from(sorted(GOOD)),
    mutations=st.lists(MUTATIONS, max_size=2),
)
def test_other_types(name, other, mutations):
    judge(name, mutated(GOOD[other], mutations))
