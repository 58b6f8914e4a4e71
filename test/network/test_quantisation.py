# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""8 bits: calibrated on one's own images, accepted by their cost, run only as what they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
import shutil

import cv2
import numpy as np
import onnx
import pytest
from test_predictor import depth_anything, save
import torch

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.network import onnx_file, quantisation, self_check
from depth_anything_ros.network.backends import OnnxPredictor
from depth_anything_ros.network.onnx_file import OnnxFile
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.quantisation import Cost, quantise
from depth_anything_ros.network.self_check import abs_rel_from
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.tools import export_onnx

SPEC = ModelSpec('tiny', 'inverse_depth', metric=False, input_size=56)
INPUTS = [
    torch.nn.functional.interpolate(
        torch.randn(1, 3, 4, 6, generator=torch.Generator().manual_seed(i)), size, mode='bilinear'
    )
    for i, size in enumerate([(56, 84), (70, 98)] * 16)
]


@pytest.fixture(scope='module')
def exact(tmp_path_factory: pytest.TempPathFactory) -> OnnxFile:
    path = tmp_path_factory.mktemp('exact') / 'tiny.onnx'
    onnx_file.export(depth_anything(), SPEC, path)
    file = onnx_file.read(path)
    assert file is not None
    return file


@pytest.fixture(scope='module')
def int8(exact: OnnxFile, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Cost]:
    """Return a tiny network in 8 bits and what it cost, whatever that was."""
    path = tmp_path_factory.mktemp('int8') / 'new' / 'tiny.onnx'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantisation, 'MOST_ABS_REL', 1.0)
        cost = quantise(exact, INPUTS, path)
    return path, cost


def load(path: object, precision: str = 'auto', backend: str = 'auto', device: str = 'cpu',
         **options: object) -> OnnxPredictor:
    runtime = RuntimeConfig(device=device, backend=backend, precision=precision, threads=1)
    return load_predictor(ModelConfig(checkpoint=str(path), **options), runtime)


def message(call: object, *arguments: object, **options: object) -> str:
    with pytest.raises(DepthAnythingError) as caught:
        call(*arguments, **options)  # type: ignore[operator]
    assert '\n' not in str(caught.value)
    return str(caught.value)


def test_the_cost_is_what_both_networks_say_of_the_images_held_out(
    exact: OnnxFile, int8: tuple[Path, Cost]
) -> None:
    path, cost = int8
    assert cost.images == 8  # every fourth of 32
    p, q = load(exact.path, 'float32', 'onnxruntime'), load(path, 'int8', 'onnxruntime')
    errors = []
    for image in INPUTS[::4]:
        wanted, given = p(image).double().flatten(), q(image).double().flatten()
        scale, shift = np.polyfit(given, wanted, 1)
        counted = wanted > wanted.max() / 20
        error = (scale * given + shift - wanted).abs() / wanted
        errors.append(float(error[counted].mean()))
    # The line is fitted to the counted pixels alone; in this network that is nearly all.
    assert cost.abs_rel == pytest.approx(np.mean(errors), rel=0.05)
    assert 1e-4 < cost.abs_rel < 0.2 and 0 < cost.time < math.inf


def after_line(given: np.ndarray, wanted: np.ndarray) -> float:
    return abs_rel_from(given, wanted, metric=False)


def test_a_line_costs_nothing_and_what_is_beside_it_does() -> None:
    wanted = np.array([[1.0, 2, 4, 8], [1, 2, 4, 8]], np.float32)
    assert after_line(3 * wanted - 7, wanted) == pytest.approx(0, abs=1e-6)
    # Up and down by 1 at both ends of a line: least squares leaves it where it is.
    flat, level = np.array([[4.0, 4, 4, 4]], np.float32), np.array([[1.0, 2, 1, 2]], np.float32)
    assert after_line(level, flat) == pytest.approx(0, abs=1e-6)  # slope 0
    given = np.array([[0.0, 0, 1, 1]], np.float32)
    wanted = np.array([[1.0, 3, 5, 7]], np.float32)
    # Best line: 2 + 4 q, so that 2, 2, 6, 6 stand for 1, 3, 5, 7.
    assert after_line(given, wanted) == pytest.approx((1 + 1 / 3 + 1 / 5 + 1 / 7) / 4)
    # Below a twentieth of the largest nothing counts: 0.3 of 8 is sky, nearly.
    wanted, given = (np.array([[x, 2, 4, 8]], np.float32) for x in (0.3, 100))
    assert after_line(given, wanted) == pytest.approx(0, abs=1e-6)
    assert after_line(given, np.zeros_like(given)) == math.inf


def test_metres_are_not_stretched_before_they_are_judged() -> None:
    wanted = np.array([[1.0, 2, 4, 8]], np.float32)
    assert abs_rel_from(1.1 * wanted, wanted, metric=True) == pytest.approx(0.1)
    assert abs_rel_from(wanted + 1, wanted, metric=True) == pytest.approx(15 / 8 / 4)
    assert abs_rel_from(wanted + 1, wanted, metric=False) == pytest.approx(0, abs=1e-6)


def test_numbers_that_are_not_finite_are_refused_not_fitted() -> None:
    wanted = np.array([[1.0, 2, 4, 8]], np.float32)
    for broken in (np.nan, np.inf):
        assert after_line(np.array([[1.0, 2, broken, 8]], np.float32), wanted) == math.inf


def test_sky_in_one_of_the_two_is_an_error_of_one() -> None:
    depth = np.array([[1.0, 2, 3, 4]], np.float32)
    ours, theirs = (np.array([sky], np.float32) for sky in ([0, 0, 0.3, 1], [0, 0, 0.29, 1]))
    wanted = np.stack([depth, ours])
    assert after_line(wanted, wanted) == pytest.approx(0, abs=1e-6)
    # Judged are two pixels without sky and the one that is sky in one of the two alone.
    assert after_line(np.stack([depth, theirs]), wanted) == pytest.approx(1 / 3)
    assert after_line(wanted, np.stack([depth, theirs])) == pytest.approx(1 / 3)


def test_what_is_quantised_are_the_layers_with_weights(int8: tuple[Path, Cost]) -> None:
    graph = onnx.load(int8[0]).graph
    made = {output: node for node in graph.node for output in node.output}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in ('MatMul', 'Gemm', 'Conv')]
    eight = [n for n in layers if (d := made.get(n.input[1])) and d.op_type == 'DequantizeLinear'
             and d.input[0] in weights]
    # 4 blocks of query, key, value, output and two of the MLP.
    assert sum(node.op_type == 'MatMul' for node in eight) == 24
    for node in eight:
        values = onnx.numpy_helper.to_array(weights[made[node.input[1]].input[0]])
        assert values.dtype == np.int8 and np.abs(values.astype(int)).max() <= 64
    rest = [node for node in layers if node not in eight]
    convolutions = [weights[node.input[1]] for node in rest if node.op_type == 'Conv']
    assert [tensor.dims[0] for tensor in convolutions] == [1]  # it writes the prediction
    products = [node for node in rest if node.op_type == 'MatMul']
    assert sum('attention' in node.name for node in products) == 2 * 4
    assert not any('DequantizeLinear' == made[name].op_type
                   for node in products for name in node.input if name in made)


def test_a_file_in_8_bits_runs_as_what_it_is(exact: OnnxFile, int8: tuple[Path, Cost]) -> None:
    path, _ = int8
    predictor = load(path)
    assert '(int8, 1 threads)' in predictor.backend
    other = load(path, backend='onnxruntime')
    assert '(CPU, int8, 1 threads)' in other.backend
    difference = (other(INPUTS[1]) - predictor(INPUTS[1])).abs().max()
    assert difference < 0.05 * predictor(INPUTS[1]).max()
    assert predictor.spec == load(exact.path).spec
    assert torch.equal(load(path, 'int8')(INPUTS[1]), predictor(INPUTS[1]))
    for image in INPUTS[:2]:  # of every size
        assert predictor(image).shape == image.shape[2:]
    for precision in ('float32', 'bfloat16'):
        text = message(load, path, precision)
        assert f'does not run in {precision}: set runtime.precision to auto or int8' in text
    for backend in ('auto', 'openvino'):
        text = message(load, exact.path, 'int8', backend)
        assert 'run export_onnx CHECKPOINT OUT.onnx --int8 --images DIR_OR_BAG' in text


def test_int8_without_a_file_names_the_command(tmp_path: Path) -> None:
    folder = save(depth_anything(), tmp_path / 'tiny', {'size': 56})
    for backend in ('auto', 'torch', 'openvino'):
        text = message(load, folder, 'int8', backend)
        assert 'run export_onnx CHECKPOINT OUT.onnx --int8 --images DIR_OR_BAG' in text


def test_8_bits_do_not_go_to_a_gpu(
    int8: tuple[Path, Cost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    for device in ('auto', 'cuda'):
        text = message(load, int8[0], device=device)
        assert 'runs on a CPU only: set runtime.device to cpu' in text


def test_another_result_than_the_accepted_one_is_refused(
    int8: tuple[Path, Cost], tmp_path: Path
) -> None:
    model = onnx.load(int8[0])
    name = next(t.name for t in model.graph.initializer if t.name.endswith('head.conv3.weight'))
    (weight,) = [t for t in model.graph.initializer if t.name == name]
    values = onnx.numpy_helper.to_array(weight) * np.float32(1.2)
    weight.CopyFrom(onnx.numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / 'other.onnx')
    text = message(load, tmp_path / 'other.onnx', backend='onnxruntime')
    assert 'deviates from its own accepted result by' in text and '(allowed: 0.05)' in text


def test_its_reference_is_its_own_word_and_no_other(int8: tuple[Path, Cost]) -> None:
    path, _ = int8
    facts = json.loads(onnx.load(path).metadata_props[0].value)
    assert facts['int8'] is True
    file = onnx_file.read(path)
    assert file is not None and file.int8 and file.reference is not None
    cpu = torch.device('cpu')
    predictor = OnnxPredictor(file, 'onnxruntime', cpu, torch.float32, 1)
    assert file.reference.deviation(file.reference.said(predictor, cpu)) < 1e-3
    assert self_check.LIMITS[torch.int8] == 0.05


@pytest.fixture
def calibrated(int8: tuple[Path, Cost], monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare a test the calibration: its result is there."""
    monkeypatch.setattr(
        quantisation, '_calibrate', lambda source, inputs, path: shutil.copy(int8[0], path)
    )


@pytest.mark.usefixtures('calibrated')
def test_what_loses_too_much_is_refused_and_leaves_nothing(
    exact: OnnxFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantisation, 'MOST_ABS_REL', 1e-6)
    path = tmp_path / 'tiny.onnx'
    path.write_text('the older one')
    text = message(quantise, exact, INPUTS, path)
    assert 'differs from float32 by AbsRel 0.0' in text
    assert 'on 8 held-out images (allowed: 1e-06)' in text
    assert [p.name for p in tmp_path.iterdir()] == ['tiny.onnx']
    assert path.read_text() == 'the older one'


def test_fewer_images_than_needed_are_counted(exact: OnnxFile, tmp_path: Path) -> None:
    text = message(quantise, exact, INPUTS[:31], tmp_path / 'tiny.onnx')
    assert 'judged on 32 images or more, and here are 31' in text
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures('calibrated')
def test_a_full_disk_is_said(
    exact: OnnxFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(quantisation, 'MOST_ABS_REL', 1.0)
    monkeypatch.setattr(onnx_file.os, 'replace', full)
    with pytest.raises(OSError, match='No space left on device'):
        quantise(exact, INPUTS, tmp_path / 'tiny.onnx')
    assert not list(tmp_path.iterdir())


def test_a_graph_that_cannot_be_quantised_is_refused(exact: OnnxFile, tmp_path: Path) -> None:
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(exact.path.read_bytes()[:5000])
    text = message(quantise, OnnxFile(broken, SPEC, exact.reference), INPUTS, tmp_path / 'o.onnx')
    assert f'ONNX Runtime cannot quantise {broken}' in text


def pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        rows = np.random.default_rng(i).integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f'{i:03d}.png'), rows)
    return folder


@pytest.mark.parametrize('fixed', [[], ['--size', '56x70']])
def test_the_program_quantises(
    fixed: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = save(depth_anything(), tmp_path / 'tiny', {'size': 56})
    images, out = pictures(tmp_path / 'images', 33), tmp_path / 'out.onnx'
    capsys.readouterr()
    monkeypatch.setattr(quantisation, 'MOST_ABS_REL', 1.0)

    def program(*arguments: object) -> int:
        monkeypatch.setattr('sys.argv', ['export_onnx', *map(str, arguments)])
        return export_onnx.main()

    assert program(folder, out, '--int8', '--images', images, *fixed) == 0
    told = capsys.readouterr()
    assert told.err == '' and told.out.startswith(f'{out}: AbsRel 0.')
    assert 'from float32 on 9 held-out images, ' in told.out and told.out.count('\n') == 1
    assert load(out)(INPUTS[0]).shape == INPUTS[0].shape[2:]

    (images / '000.png').unlink()
    (images / '001.png').unlink()
    assert program(folder, out, '--int8', '--images', images, *fixed) == 1
    assert 'export_onnx: 8 bits are calibrated' in capsys.readouterr().err
    for half in (['--int8'], ['--images', images]):
        with pytest.raises(SystemExit):
            program(folder, out, *half)
        assert '--int8 and --images go together' in capsys.readouterr().err
