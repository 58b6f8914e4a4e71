# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Every backend computes what eager PyTorch does, or is refused with the numbers."""

from __future__ import annotations

from dataclasses import replace
import logging
from pathlib import Path
import subprocess
import sys

import onnx
import pytest
from test_predictor import depth_anything, save
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BackendError, DepthAnythingError
from depth_anything_ros.network import backends, cuda_graph, onnx_file, self_check, threads
from depth_anything_ros.network import cache as cache_module
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.predictor import load_predictor, select_backends
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.pipeline import DepthPipeline

EXPORTED = ('onnxruntime', 'openvino')
IMAGES = [
    torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(1))
    for size in ((56, 98), (98, 84))
]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder of this test's own."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'depth_anything_ros'


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return a tiny network in Hugging Face format."""
    return save(depth_anything(), tmp_path / 'tiny', {'size': 56})


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Return a file of any size as others export it: no metadata, named as published."""
    path = tmp_path / 'depth_anything_v2_vits.onnx'
    return without_metadata(exported(path))


def exported(path: Path, size: tuple[int, int] | None = None) -> Path:
    spec = ModelSpec('tiny', 'inverse_depth', metric=False, input_size=56)
    onnx_file.export(depth_anything(), spec, path, size)
    return path


def without_metadata(path: Path) -> Path:
    model = onnx.load(path)
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def perturb(path: Path, factor: float) -> None:
    """Multiply one weight matrix of a file."""
    model = onnx.load(path)
    weights = next(t for t in model.graph.initializer if t.name.endswith('head.conv1.weight'))
    values = onnx.numpy_helper.to_array(weights) * factor
    weights.CopyFrom(onnx.numpy_helper.from_array(values.astype('f4'), weights.name))
    onnx.save(model, path)


def load(
    checkpoint: object, backend: str, precision: str = 'auto', **options: object
) -> backends.OnnxPredictor:
    runtime = RuntimeConfig(device='cpu', backend=backend, precision=precision, threads=1)
    return load_predictor(ModelConfig(checkpoint=str(checkpoint), **options), runtime)


def eager(image: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return depth_anything()(image).predicted_depth[0]


def message(checkpoint: object, backend: str, **options: object) -> str:
    with pytest.raises(DepthAnythingError) as caught:
        load(checkpoint, backend, **options)
    assert '\n' not in str(caught.value)
    return str(caught.value)


def assert_close(prediction: torch.Tensor, expected: torch.Tensor, limit: float = 1e-4) -> None:
    assert prediction.shape == expected.shape and prediction.dtype == torch.float32
    assert (prediction - expected).abs().max() < limit * expected.abs().max()


@pytest.mark.parametrize('backend', EXPORTED)
def test_backends_agree_with_pytorch_at_every_size(backend: str, folder: str, cache: Path) -> None:
    predictor = load(folder, backend)
    for image in IMAGES:
        assert_close(predictor(image), eager(image))
    assert predictor.spec == load(folder, 'torch').spec
    assert len(list(cache.iterdir())) == 1


def test_auto_takes_the_fastest_that_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device('cpu'), torch.device('cuda', 0)
    assert select_backends('auto', cpu, is_onnx=False) == ['openvino', 'onnxruntime', 'torch']
    assert select_backends('auto', cuda, is_onnx=False) == ['torch']
    assert select_backends('auto', cuda, is_onnx=True) == ['onnxruntime']
    assert select_backends('openvino', cpu, is_onnx=False) == ['openvino']
    monkeypatch.setattr(backends, 'find_spec', lambda name: None if name == 'openvino' else name)
    assert select_backends('auto', cpu, is_onnx=False) == ['onnxruntime', 'torch']
    monkeypatch.setattr(backends, 'find_spec', lambda name: None if name == 'onnx' else name)
    assert select_backends('auto', cpu, is_onnx=False) == ['torch']
    assert select_backends('auto', cpu, is_onnx=True) == ['onnxruntime']  # which says what it needs


def test_a_missing_package_is_named(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, 'find_spec', lambda name: None if name == 'openvino' else name)
    text = message(folder, 'openvino')
    assert 'needs openvino: pip install openvino, or set runtime.backend to auto' in text


@pytest.mark.parametrize('backend', EXPORTED)
def test_another_result_than_pytorchs_is_refused_with_the_numbers(
    backend: str, tmp_path: Path, cache: Path
) -> None:
    path = exported(tmp_path / 'tiny.onnx')
    assert_close(load(path, backend)(IMAGES[0]), eager(IMAGES[0]))
    perturb(path, 1.05)
    text = message(path, backend)
    assert 'deviates from float32 PyTorch by 0.0' in text and '(allowed: 0.001)' in text


def test_auto_gives_way_to_pytorch_loudly(
    folder: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(self_check, 'LIMITS', {torch.float32: 0.0})
    predictor = load(folder, 'auto')
    assert predictor.backend.startswith('PyTorch')
    told = [record.getMessage() for record in caplog.records]
    assert [text.rpartition('; ')[2] for text in told] == [
        'taking onnxruntime instead', 'taking torch instead',
    ]
    assert all('deviates from float32 PyTorch by' in text for text in told)
    assert all(record.levelno == logging.WARNING for record in caplog.records)


@pytest.mark.parametrize('damage', ['truncated', 'emptied', 'perturbed'])
def test_a_damaged_cache_is_made_again(damage: str, folder: str, cache: Path) -> None:
    load(folder, 'openvino')
    (path,) = cache.iterdir()
    if damage == 'perturbed':
        perturb(path, 2.0)
    else:
        path.write_bytes(path.read_bytes()[: 5000 * (damage == 'truncated')])
    assert_close(load(folder, 'openvino')(IMAGES[0]), eager(IMAGES[0]))
    assert list(cache.iterdir()) == [path]


def test_the_cache_is_read_and_knows_the_weights(
    folder: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports: list[Path] = []
    export = onnx_file.export
    monkeypatch.setattr(
        cache_module, 'export', lambda *a: (exports.append(a[2]), export(*a))
    )
    load(folder, 'openvino')
    load(folder, 'onnxruntime', input_size=98)
    assert len(exports) == 1
    network = depth_anything()
    with torch.no_grad():
        network.head.conv3.weight *= 2
    network.save_pretrained(folder)
    assert_close(load(folder, 'openvino')(IMAGES[0]), network(IMAGES[0]).predicted_depth[0])
    assert len(exports) == len(set(exports)) == 2


def test_a_failed_write_leaves_nothing(
    folder: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(onnx_file.os, 'replace', full)
    assert '(No space left on device)' in message(folder, 'openvino')
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize('backend', EXPORTED)
def test_files_of_others_run_at_any_size(backend: str, foreign: Path) -> None:
    predictor = load(foreign, backend)
    assert (predictor.spec.space, predictor.spec.metric) == ('inverse_depth', False)
    assert 'not checked' in predictor.backend
    for image in IMAGES:
        assert_close(predictor(image), eager(image))


@pytest.mark.parametrize('backend', EXPORTED)
def test_a_fixed_size_is_fed_stretched_images(backend: str, tmp_path: Path) -> None:
    path = without_metadata(exported(tmp_path / 'depth_anything_v2_vits.onnx', (56, 70)))
    predictor = load(path, backend)
    assert predictor.spec.input_size == 56
    exact = torch.randn(1, 3, 56, 70)
    assert_close(predictor(exact), eager(exact))
    square = torch.nn.functional.interpolate(IMAGES[0], (56, 70), mode='bicubic')
    expected = torch.nn.functional.interpolate(
        eager(square)[None, None], IMAGES[0].shape[-2:], mode='bilinear'
    )[0, 0]
    assert_close(predictor(IMAGES[0]), expected)
    assert 'takes 56x70 images only' in message(path, backend, input_size=98)


def test_what_a_file_predicts_is_told_or_asked(tmp_path: Path, foreign: Path) -> None:
    other = foreign.rename(tmp_path / 'mine.onnx')
    asked = message(other, 'openvino')
    assert 'set model.variant to v1, v2, v2-metric, da3-metric, da3-mono or da3-any-view' in asked
    spec = load(other, 'openvino', variant='v2-metric', max_depth=20.0).spec
    assert (spec.space, spec.metric, spec.max_depth_m) == ('depth', True, 20.0)
    assert 'runtime.backend torch does not run .onnx files' in message(other, 'torch')
    other.write_bytes(other.read_bytes()[:5000])
    assert 'cannot be read as ONNX' in message(other, 'openvino', variant='v2')


def test_half_precision_is_bfloat16_of_openvino(folder: str, cache: Path) -> None:
    openvino = pytest.importorskip('openvino')
    if 'BF16' in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        prediction = load(folder, 'openvino', 'bfloat16')(IMAGES[0])
        assert_close(prediction, eager(IMAGES[0]), 0.05)
        assert not torch.equal(prediction, load(folder, 'openvino')(IMAGES[0]))
    else:
        assert 'has no bfloat16 arithmetic' in message(folder, 'openvino', precision='bfloat16')
    assert 'not in bfloat16' in message(folder, 'onnxruntime', precision='bfloat16')


UNPINNED = """
import os, sys, threading
from contextlib import suppress
import torch
from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.network.predictor import load_predictor
runtime = RuntimeConfig(device='cpu', backend='openvino', threads=1)
predictor = load_predictor(ModelConfig(checkpoint=sys.argv[1]), runtime)
counts, looks, done = set(), [], threading.Event()

def look():
    while not done.is_set():
        for task in os.listdir('/proc/self/task'):
            with suppress(ProcessLookupError):
                counts.add(len(os.sched_getaffinity(int(task))))
        looks.append(len(counts))

watch = threading.Thread(target=look)
watch.start()
while len(looks) < 300:
    predictor(torch.zeros(1, 3, 112, 140))
done.set()
watch.join()
print(counts == {len(os.sched_getaffinity(0))})
"""


def test_threads_may_run_on_any_core_of_the_process(folder: str, cache: Path) -> None:
    done = subprocess.run(
        [sys.executable, '-c', UNPINNED, folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, 'True\n'), done.stderr


SIGNALLED = """
import faulthandler, os, signal, sys
faulthandler.enable()
from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.network.predictor import load_predictor
runtime = RuntimeConfig(device='cpu', backend='openvino', threads=1)
loaded = [load_predictor(ModelConfig(checkpoint=sys.argv[1]), runtime) for _ in range(3)]
while loaded:
    loaded.pop(0)
signal.signal(signal.SIGTERM, lambda *_: print('handled'))
os.kill(os.getpid(), signal.SIGTERM)
print('goes on')
"""


def test_signals_are_handled_after_networks_ended_in_the_order_they_came(
    folder: str, cache: Path
) -> None:
    done = subprocess.run(
        [sys.executable, '-c', SIGNALLED, folder], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, 'handled\ngoes on\n'), done.stderr


def test_the_pipeline_runs_on_a_backend(folder: str, cache: Path) -> None:
    camera = Camera.from_calibration(80, 60, [[60, 0, 40], [0, 60, 30], [0, 0, 1]])
    image = torch.randint(0, 255, (60, 80, 3), dtype=torch.uint8).numpy()
    values = [
        DepthPipeline(load(folder, backend), Config()).predict(image, camera).values
        for backend in ('torch', 'openvino')
    ]
    assert_close(values[1], values[0])


def test_threads_leave_one_of_more_than_two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)
    for cores, expected in ((1, 1), (2, 2), (4, 3), (16, 15)):
        monkeypatch.setattr(
            threads.os, 'sched_getaffinity', lambda _, n=cores: set(range(n)), raising=False
        )
        assert threads.thread_count(0) == expected
    assert threads.thread_count(5) == 5
    monkeypatch.setenv('OMP_NUM_THREADS', '3')
    assert threads.thread_count(0) == 3


def test_the_exporter_writes_a_checkpoint(tmp_path: Path, folder: str) -> None:
    program = [sys.executable, '-m', 'depth_anything_ros.tools.export_onnx']
    out = tmp_path / 'out' / 'tiny.onnx'
    done = subprocess.run(
        [*program, folder, out], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    predictor = load(out, 'onnxruntime')
    assert_close(predictor(IMAGES[0]), eager(IMAGES[0]))
    assert predictor.spec == load(folder, 'torch').spec
    done = subprocess.run(
        [*program, folder, out, '--size', '50x56'],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )
    assert done.returncode == 1
    assert 'takes multiples of 14 pixels, not 50x56' in done.stderr.splitlines()[-1]


def test_the_core_imports_without_the_packages(folder: str) -> None:
    program = f"""
import sys
sys.modules.update(dict.fromkeys(['onnx', 'onnxruntime', 'openvino']))
from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.network import backends
backends.find_spec = lambda name: None
from depth_anything_ros.network.predictor import load_predictor
loaded = load_predictor(ModelConfig(checkpoint={folder!r}), RuntimeConfig(device='cpu'))
assert loaded.backend.startswith('PyTorch')
"""
    done = subprocess.run(
        [sys.executable, '-c', program], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, '')


def test_each_size_is_captured_once(caplog: pytest.LogCaptureFixture) -> None:
    captured: list[torch.Size] = []

    def capture(predict: cuda_graph.Predict, example: torch.Tensor) -> cuda_graph.Predict:
        captured.append(example.shape)
        if example.shape[-1] == 4:
            raise RuntimeError('operation not permitted\nwhen stream is capturing')
        return lambda image: predict(image) + 100

    graphed = cuda_graph.Graphed(lambda image: image.sum() * 2, capture)
    sizes = (2, 2, 3, 2, 4, 4)
    results = [float(graphed(torch.ones(1, 1, 1, size))) for size in sizes]
    assert results == [104, 104, 106, 104, 8, 8]
    assert [shape[-1] for shape in captured] == [2, 3, 4]
    (text,) = [record.getMessage() for record in caplog.records]
    assert text.startswith('no CUDA graph at 1x4 (operation not permitted when stream')


def test_a_batch_has_a_graph_of_its_own_and_few_are_kept() -> None:
    captured: list[int] = []

    def capture(predict: cuda_graph.Predict, example: torch.Tensor) -> cuda_graph.Predict:
        captured.append(len(example))
        return predict

    graphed = cuda_graph.Graphed(lambda image: image, capture)
    for count in (1, 6, 1, 6):
        graphed(torch.ones(count, 1, 1, 1))
    assert captured == [1, 6]
    for count in range(10, 10 + cuda_graph.MOST - 1):
        graphed(torch.ones(count, 1, 1, 1))
    graphed(torch.ones(6, 1, 1, 1))  # 1 had been used longest ago
    assert captured.count(6) == 1
    graphed(torch.ones(1, 1, 1, 1))
    assert captured.count(1) == 2


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_a_batch_wants_pytorch(folder: str, backend: str) -> None:
    model = ModelConfig(checkpoint=folder)
    runtime = RuntimeConfig(device='cpu', backend=backend, batch=6)
    with pytest.raises(BackendError, match='takes one image at a time: set runtime.batch'):
        load_predictor(model, runtime)
    loaded = load_predictor(model, replace(runtime, backend='auto'))
    assert loaded.backend.startswith('PyTorch')


def test_images_of_a_batch_are_what_they_are_alone(folder: str) -> None:
    predictor = load_predictor(
        ModelConfig(checkpoint=folder), RuntimeConfig(device='cpu', batch=3, threads=1)
    )
    images = torch.cat([self_check.test_image(56, 70) * factor for factor in (1.0, 0.5, -1.0)])
    with torch.inference_mode():
        alone = torch.stack([predictor(image[None]) for image in images])
        together = predictor(images)
    assert together.shape == (3, 56, 70)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_checkpoint_names_its_weights(tmp_path: Path, folder: str) -> None:
    checkpoint = open_checkpoint(Path(folder), ModelConfig(checkpoint=folder))
    assert checkpoint.fingerprint() == checkpoint.fingerprint()
    metric = save(depth_anything('metric', 80), tmp_path / 'metric')
    other = open_checkpoint(Path(metric), ModelConfig(checkpoint=metric))
    assert other.fingerprint() != checkpoint.fingerprint()


def test_float32_is_not_rounded_to_tf32_by_pytorch(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', True)  # PyTorch's default
    load_predictor(ModelConfig(checkpoint=folder), RuntimeConfig(device='cpu', backend='torch'))
    assert torch.backends.cudnn.allow_tf32 is False
    assert torch.backends.cuda.matmul.allow_tf32 is False


def test_float32_is_not_rounded_to_tf32_by_onnx_runtime(
    foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onnxruntime = pytest.importorskip('onnxruntime')
    there = ['CUDAExecutionProvider', 'CPUExecutionProvider']
    asked: list[object] = []

    def session(path: object, options: object, providers: list[object]) -> None:
        asked.extend(providers)
        raise RuntimeError('no card here')

    monkeypatch.setattr(onnxruntime, 'get_available_providers', lambda: there)
    monkeypatch.setattr(onnxruntime, 'InferenceSession', session)
    file = onnx_file.open_onnx(foreign, ModelConfig())
    with pytest.raises(BackendError, match='no card here'):
        backends.OnnxPredictor(file, 'onnxruntime', torch.device('cuda', 1), torch.float32, 1)
    assert asked[0] == ('CUDAExecutionProvider', {'device_id': '1', 'use_tf32': '0'})
