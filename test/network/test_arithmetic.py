# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""bfloat16 is chosen by processor, size and self-check, and what was chosen is told.

The networks of the first tests are formulas: the choice must not need a processor that has
bfloat16.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
import re

import pytest
from test_predictor import depth_anything, save
import torch

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BackendError
from depth_anything_ros.network import arithmetic, backends
from depth_anything_ros.network.onnx_file import OnnxFile
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.self_check import Reference, UnusableError
from depth_anything_ros.network.spec import ModelSpec

SHAPE = 28, 42
RAMP = torch.linspace(1, 5, SHAPE[0] * SHAPE[1]).reshape(SHAPE)
# Of 1 to 5, half a pixel in ten is a tenth off, so that the mean is about .01 off.
WORSE = RAMP * (1 + 0.12 * (torch.arange(SHAPE[1]) % 10 == 0))
Say = Callable[[], torch.Tensor]


class Graph:
    """Says what it is told to, whatever the image."""

    device = torch.device('cpu')

    def __init__(self, says: torch.Tensor, dtype: torch.dtype) -> None:
        self._says, self.dtype, self.backend = says, dtype, f'Graph ({dtype})'

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[2:] == SHAPE
        return self._says


def file(folder: Path, size: int = 40_000_000, metric: bool = False, int8: bool = False,
         checkable: bool = True) -> OnnxFile:
    path = folder / 'network.onnx'
    with path.open('wb') as content:
        content.truncate(size)
    reference = Reference(*SHAPE, 2, RAMP[::2, ::2].numpy()) if checkable else None
    spec = ModelSpec('ramp', 'depth' if metric else 'inverse_depth', metric=metric)
    return OnnxFile(path, spec, reference, int8)


def start(what: OnnxFile, half: torch.Tensor | Exception, against: str = '',
          exact: torch.Tensor = RAMP) -> tuple[Graph, list[torch.dtype]]:
    """Return what was started and the arithmetics that were tried."""
    tried = []

    def begin(dtype: torch.dtype) -> Graph:
        tried.append(dtype)
        says = half if dtype == torch.bfloat16 else exact
        if isinstance(says, Exception):
            raise says
        return Graph(says, dtype)

    return arithmetic.start(what, begin, against), tried  # type: ignore[arg-type, return-value]


def test_a_large_network_takes_bfloat16_where_there_is_some_and_it_agrees(tmp_path: Path) -> None:
    # After the line 3 q + 2 nothing is lost but what deviates from it: a pixel in ten, by 1 %.
    near = RAMP * (1 + 0.01 * (torch.arange(SHAPE[1]) % 10 == 0))
    graph, tried = start(file(tmp_path), near)
    assert tried == [torch.bfloat16] == [graph.dtype]
    told, _, loss = graph.backend.partition(', bfloat16 by choice: AbsRel ')
    assert told == 'Graph (torch.bfloat16)' and loss.endswith(' from float32')
    # Sampled are columns 0, 2, 4, ...: 5 of 21 are off by 1 %, and the line takes the mean of it.
    assert 0.002 < float(loss.split()[0]) < 0.004


def test_a_processor_without_it_stays_with_float32_and_says_so(tmp_path: Path) -> None:
    graph, tried = start(file(tmp_path), RAMP, 'this processor does not multiply it')
    assert tried == [torch.float32]
    assert graph.backend == (
        'Graph (torch.float32), not bfloat16: this processor does not multiply it')


@pytest.mark.parametrize(('how', 'why'), [
    ({'size': 40_000_000 - 1}, 'the network is small'),
    ({'size': 10_000_000 - 1, 'int8': True}, 'the network is small'),
    ({'checkable': False}, 'the file holds nothing to check it by'),
])
def test_small_networks_and_unchecked_ones_stay_with_float32(
    how: dict[str, int], why: str, tmp_path: Path
) -> None:
    graph, tried = start(file(tmp_path, **how), RAMP)
    assert tried == [torch.float32]
    assert graph.backend.endswith(f', not bfloat16: {why}')


@pytest.mark.parametrize(('half', 'why'), [
    (WORSE, r'AbsRel 0\.0[234]\d\d from float32 \(allowed: 0\.01\)'),
    (RAMP.masked_fill(RAMP > 4.5, torch.nan), r'AbsRel inf from float32 \(allowed: 0\.01\)'),
    # Right but for one sampled pixel of 294, which hides in the mean; the largest sampled is 4.857.
    (RAMP + (RAMP == RAMP[14, 20]) * 1.5,
     r'0\.309 of the largest prediction off \(allowed: 0\.05\)'),
    (UnusableError('OpenVINO cannot run it'), 'OpenVINO cannot run it'),
])
def test_what_loses_too_much_is_not_taken_and_says_what_it_lost(
    half: torch.Tensor | Exception, why: str, tmp_path: Path
) -> None:
    graph, tried = start(file(tmp_path), half)
    assert tried == [torch.bfloat16, torch.float32] and graph.dtype == torch.float32
    told, _, reason = graph.backend.partition(', not bfloat16: ')
    assert told == 'Graph (torch.float32)'
    assert re.fullmatch(why, reason), reason


def test_metres_may_not_be_stretched(tmp_path: Path) -> None:
    stretched = RAMP * 1.03  # within .05 of the largest, and a line undoes it
    assert start(file(tmp_path), stretched)[0].dtype == torch.bfloat16
    graph, _ = start(file(tmp_path, metric=True), stretched)
    assert graph.dtype == torch.float32 and 'AbsRel 0.0300' in graph.backend


def test_8_bits_may_be_off_their_accepted_result_by_what_they_may_cost(tmp_path: Path) -> None:
    wavy = RAMP * (1 + 0.02 * torch.sin(torch.arange(SHAPE[1])))  # AbsRel .013
    graph, tried = start(file(tmp_path, size=10_000_000, int8=True), wavy)
    assert tried == [torch.bfloat16] and ' from its accepted result' in graph.backend
    graph, _ = start(file(tmp_path, size=10_000_000, int8=True), WORSE * WORSE / RAMP)
    assert graph.dtype == torch.float32 and '(allowed: 0.03)' in graph.backend


def test_a_graph_that_is_wrong_in_float32_too_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match='deviates from float32 PyTorch by 0.2'):
        start(file(tmp_path), WORSE, exact=RAMP * 1.2)


def test_only_openvino_and_a_processor_that_multiplies_it_are_trusted(
    monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip('openvino')
    for able, why in ((['FP32', 'BF16'], ''), (['FP32'], 'this processor does not multiply it')):
        monkeypatch.setattr(openvino.Core, 'get_property', lambda *_, able=able: able)
        assert backends.against_bfloat16('openvino') == why
        assert backends.against_bfloat16('onnxruntime') == 'only OpenVINO computes in it'


def test_auto_is_what_was_chosen_and_float32_forces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run a real graph, on whatever processor this is."""
    pytest.importorskip('openvino')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(arithmetic, '_LARGE', 0)
    folder = save(depth_anything(), tmp_path / 'tiny', {'size': 56})
    image = torch.randn(1, 3, 56, 84, generator=torch.Generator().manual_seed(0))

    def loaded(precision: str) -> tuple[str, torch.Tensor]:
        runtime = RuntimeConfig(
            device='cpu', backend='openvino', precision=precision, threads=1)
        predictor = load_predictor(ModelConfig(checkpoint=folder), runtime)
        return predictor.backend, predictor(image)

    told, chosen = loaded('auto')
    taken = 'bfloat16' if ', bfloat16 by choice: ' in told else 'float32'
    assert f'({taken}, 1 threads)' in told
    assert torch.equal(chosen, loaded(taken)[1])
    forced, exact = loaded('float32')
    assert forced.endswith('(float32, 1 threads)')
    if backends.against_bfloat16('openvino'):
        assert taken == 'float32' and told.endswith(', not bfloat16: this processor does not '
                                                    'multiply it')
    assert (chosen - exact).abs().max() < 0.05 * exact.max()
