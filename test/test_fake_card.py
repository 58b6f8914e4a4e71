# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline on the second of two cards, without a card: see fake_card."""


from fake_card import CardTensor, fake_cards
import numpy as np
import pytest
from test_pipeline import process, sensor_points, SkyPredictor
import torch

from depth_anything_ros import pipeline as pipeline_module
from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, with_values
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.pipeline import DepthPipeline, Outputs
from helpers import ExactPredictor, SCENE_CAMERA, scene_image, SCENE_T_CAMERA_LIDAR

CARD = torch.device('cuda', 1)


def test_the_cards_refuse_what_cards_refuse():
    with fake_cards() as cards:
        here, there = torch.ones(3), torch.ones(3, device=CARD)
        assert isinstance(there, CardTensor) and there.device == CARD and there.is_cuda
        assert float((there + 1).sum() * torch.tensor(2.0)) == 12
        for wrong in (
            lambda: here + there,
            lambda: torch.stack([there, torch.ones(3, device='cuda:0')]),
            lambda: there.add_(here),
            lambda: torch.where(there > 0, here, there),
            lambda: there + torch.arange(3),
        ):
            with pytest.raises(RuntimeError, match='same device'):
                wrong()
        with pytest.raises((RuntimeError, TypeError)):
            there.numpy()
        assert torch.ones(1, device='cuda').device == torch.device('cuda', 0)
        copy = torch.zeros(3).copy_(there, non_blocking=True)
        assert copy.tolist() == [77, 77, 77]
        cards.streams[0].synchronize()
        assert copy.tolist() == [77, 77, 77]
        cards.streams[1].synchronize()
        assert copy.tolist() == [1, 1, 1]
        start, end = torch.cuda.Event(), torch.cuda.Event()
        start.record()
        end.record(torch.cuda.current_stream(CARD))
        cards.streams[1].synchronize()
        with pytest.raises(RuntimeError, match='Both events'):
            start.elapsed_time(end)


class CardPredictor(ExactPredictor):
    """The exact network on the second card."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.device = CARD

    def __call__(self, image):
        assert image.device == CARD
        return super().__call__(image.cpu()).to(CARD)


def distorted():
    P = np.hstack([np.diag([0.7, 0.7, 1]) @ SCENE_CAMERA.K, np.zeros((3, 1))])
    return Camera.from_calibration(640, 480, SCENE_CAMERA.K, [-0.25, 0.06, 0, 0, 0], P=P)


CONFIGS = {
    'lidar': {},
    'millimetres': {'depth.encoding': '16UC1', 'depth.stride': 2, 'cloud.stride': 2},
    'unrefined': {'scale.refine': False},
    'camera height': {'scale.method': 'camera_height', 'scale.camera_height': 1.5},
    'assumed': {'scale.unanchored': 'assume', 'scale.method': 'none', 'scale.assumed_scale': 0.4},
}


@pytest.mark.parametrize(('name', 'rectifies'), [
    ('lidar', True), ('millimetres', False), ('unrefined', True), ('camera height', False),
    ('assumed', True),
])
def test_a_card_computes_what_the_cpu_does(name, rectifies):
    config = with_values(Config(), CONFIGS[name])
    camera = distorted() if rectifies else SCENE_CAMERA
    options = {'camera': camera.rectified()}
    lidar = config.scale.method == 'auto' and name != 'assumed'
    expected = process(
        DepthPipeline(ExactPredictor(**options), config), points=lidar, camera=camera
    )
    with fake_cards():
        frame = process(
            DepthPipeline(CardPredictor(**options), config), points=lidar, camera=camera
        )
    assert frame.fit.state is expected.fit.state
    assert frame.fit.method == expected.fit.method
    for output in ('depth', 'stddev_m', 'points', 'relative', 'picture', 'image_rect'):
        found, wanted = getattr(frame, output), getattr(expected, output)
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_allclose(
            found.astype(float), wanted.astype(float), rtol=1e-3, atol=1.01, err_msg=output
        )
    assert set(frame.timings_ms) == set(expected.timings_ms)


# What a card would be given for a frame after its network, with lidar fit, refinement and cloud.
# Both were 1,806 and 67.
MOST_KERNELS = 400
WAITS = {'copy to cpu': 1}  # a glance at the prediction; the results come after


def test_after_the_network_a_frame_is_few_kernels_and_one_wait():
    with fake_cards() as cards:
        pipeline = DepthPipeline(CardPredictor(camera=SCENE_CAMERA))
        process(pipeline)
        prediction = pipeline.predict(scene_image(), SCENE_CAMERA)
        cards.launches.kernels.clear()
        cards.launches.waits.clear()
        frame = pipeline.measure(
            prediction, sensor_points(100_000_000), SCENE_T_CAMERA_LIDAR, stamp_ns=100_000_000
        )
        assert frame.fit.state is State.FITTED
        assert cards.launches.waits == WAITS
        assert sum(cards.launches.kernels.values()) <= MOST_KERNELS


class CardSkyPredictor(SkyPredictor):
    """The network with a sky head on the second card."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.device = CARD

    def __call__(self, image):
        return super().__call__(image.cpu()).to(CARD)


def test_a_card_computes_sky_as_the_cpu_does():
    expected = process(DepthPipeline(SkyPredictor()))
    with fake_cards():
        frame = process(DepthPipeline(CardSkyPredictor()))
    assert np.isnan(frame.depth[0]).all() and np.isfinite(frame.depth[300]).all()
    np.testing.assert_allclose(frame.depth, expected.depth, rtol=1e-3)


def test_nothing_to_download_is_waited_for_too():
    # The first image before camera_info, with only metric topics wanted: nothing comes of it.
    with fake_cards() as cards:
        frame = process(
            DepthPipeline(CardPredictor()), points=False, outputs=Outputs(points=False)
        )
        assert frame.fit.state is State.UNANCHORED and frame.depth is None
        assert frame.timings_ms['network'] == 1.0
        assert [stream.waits for stream in cards.streams] == [0, 1]


def test_what_names_no_device_goes_to_the_predictors():
    seen = []

    class Watching(CardPredictor):
        def __call__(self, image):
            seen.append(torch.ones(1, device='cuda').device)
            return super().__call__(image)

    with fake_cards() as cards:
        process(DepthPipeline(Watching()))
        assert seen == [CARD] and cards.current == 0


def test_a_tensor_without_a_device_fails(monkeypatch):
    monkeypatch.setattr(
        pipeline_module, 'metric_depth', lambda prediction, *_: prediction + torch.zeros(640)
    )
    with fake_cards(), pytest.raises(RuntimeError, match='same device'):
        process(DepthPipeline(CardPredictor()))
