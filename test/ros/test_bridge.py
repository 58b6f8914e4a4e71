# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""cv_bridges, sound and not, of which none can be the reason of a wrong or a missing image."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from depth_anything_ros.ros import bridge, images

# As the real one: rows are taken to hold step // pixel bytes, whatever their padding.
SHEARING = """
import cv2
import numpy as np

class CvBridgeError(TypeError):
    pass

class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        if message.encoding not in ('rgb8', 'bgr8', 'mono8'):
            raise CvBridgeError(message.encoding)
        channels = 1 if message.encoding == 'mono8' else 3
        shape = (message.height, message.step // channels, channels)
        image = np.ndarray(shape, np.uint8, message.data)[:, : message.width]
        if message.encoding == 'rgb8':
            return image + ADDED
        code = cv2.COLOR_GRAY2RGB if channels == 1 else cv2.COLOR_BGR2RGB
        return cv2.cvtColor(np.ascontiguousarray(image), code)
"""
CRASHING = """
import os, signal

class CvBridgeError(TypeError):
    pass

class CvBridge:
    def imgmsg_to_cv2(self, message, desired_encoding):
        os.kill(os.getpid(), signal.SIGSEGV)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Return what installs a cv_bridge, for this process and those that it starts."""

    def install(source):
        (tmp_path / 'cv_bridge.py').write_text(source)
        path = [str(tmp_path), str(images.__file__).rpartition('/depth_anything_ros/')[0]]
        monkeypatch.setenv('PYTHONPATH', ':'.join(path))
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, 'cv_bridge', raising=False)
        bridge.sound_encodings.cache_clear()

    yield install
    bridge.sound_encodings.cache_clear()


def rgb(width, step):
    rows = np.random.default_rng(0).integers(0, 256, (120, step)).astype(np.uint8)
    message = SimpleNamespace(height=120, width=width, encoding='rgb8', is_bigendian=0, step=step)
    message.data = rows.tobytes()
    return message, rows[:, : 3 * width].reshape(120, width, 3)


def test_a_sound_one_is_used_where_it_was_seen_to_agree(installed, monkeypatch):
    installed(SHEARING.replace('ADDED', '0'))
    assert bridge.sound_encodings() == {'rgb8', 'bgr8', 'mono8'}
    monkeypatch.setattr(bridge, '_by_cv_bridge', lambda message: 'cv_bridge')
    assert bridge.decode_image(rgb(642, 1926)[0]) == 'cv_bridge'


@pytest.mark.parametrize('width, step', [(642, 1928), (642, 1929), (642, 1926)])
def test_padded_rows_are_never_sheared(installed, width, step):
    installed(SHEARING.replace('ADDED', '0'))
    message, expected = rgb(width, step)
    np.testing.assert_array_equal(bridge.decode_image(message), expected)


@pytest.mark.parametrize(
    'source, sound',
    [
        (SHEARING.replace('ADDED', '2'), {'bgr8', 'mono8'}),
        (CRASHING, set()),
        ('import time; time.sleep(100)', set()),
        ('raise ImportError("numpy.core.multiarray failed to import")', set()),
        ('', set()),
    ],
    ids=['wrong', 'crashing', 'hanging', 'broken', 'empty'],
)
def test_none_can_make_an_image_wrong_or_missing(installed, source, sound, monkeypatch):
    monkeypatch.setattr(bridge, 'PATIENCE_S', 2.0 if 'sleep' in source else 30.0)
    installed(source)
    message, expected = rgb(160, 480)
    np.testing.assert_array_equal(bridge.decode_image(message), expected)
    assert bridge.sound_encodings() == sound
