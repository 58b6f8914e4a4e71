# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a checkpoint holds: it is used, or refused in one line, soon, without running code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
import json
import os
from pathlib import Path
import resource
import shutil
import signal
import struct
from typing import Any
import zipfile

import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from test_official_weights import official_state, TINY, WIDTH
from test_predictor import depth_anything, IMAGE, save
import torch

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import BackendError, CheckpointError
from depth_anything_ros.network import official_weights
from depth_anything_ros.network.predictor import load_predictor

SECONDS, BYTES = 30, 1 << 30
BASE = json.loads(depth_anything().config.to_json_string(use_diff=False))
DEEP = '[' * 100_000


@pytest.fixture(autouse=True)
def bounded() -> Iterator[None]:
    """Let a test take so many seconds, and so much address space more than it found."""
    def late(*_: object) -> None:
        raise AssertionError(f'took more than {SECONDS} s')

    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, limits[1]))
    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.fixture(scope='module')
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint with nothing wrong."""
    return Path(save(depth_anything(), tmp_path_factory.mktemp('sound'), {'size': 56}))


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """Return a copy of it to spoil."""
    return Path(shutil.copytree(sound, tmp_path / 'spoilt'))


def load(checkpoint: Path, backend: str = 'torch', **options: Any) -> Any:
    runtime = RuntimeConfig(device='cpu', backend=backend, threads=1)
    return load_predictor(ModelConfig(checkpoint=str(checkpoint), **options), runtime)


def refusal(checkpoint: Path, backend: str = 'torch', **options: Any) -> str:
    """Return the one line with which a checkpoint is refused."""
    with pytest.raises((CheckpointError, BackendError)) as caught:
        load(checkpoint, backend, **options)
    text = str(caught.value)
    assert '\n' not in text and len(text) < 700, text
    return text


def changed(**changes: Any) -> str:
    return json.dumps({**BASE, **changes})


def backbone(**changes: Any) -> str:
    return changed(backbone_config={**BASE['backbone_config'], **changes})


def without_names(**changes: Any) -> str:
    """Change a backbone's layers; which of them have which name follows from that."""
    content = {**BASE['backbone_config'], **changes}
    return changed(backbone_config={k: v for k, v in content.items() if k != 'stage_names'})


# Each with a word of the line that refuses it; '' where any line will do.
CONFIGS = {
    'empty': ('', 'JSON'),
    'not UTF-8': (b'\xff\xfe{', 'cannot be read'),
    'null': ('null', 'not a JSON object'),
    'a list': ('[1]', 'not a JSON object'),
    'nested without end': (DEEP, 'JSON'),
    'nested deeply': (changed(x=json.loads('[' * 50 + ']' * 50)), 'nested'),
    'not a number': (backbone(layer_norm_eps=float('nan')), 'NaN'),
    'infinite': (changed(initializer_range=0).replace('range": 0', 'range": 1e999'), 'inf'),
    'a number of 10,000 digits': (changed(max_depth=0).replace('"max_depth": 0', '"max_depth": '
                                  + '9' * 10_000), 'digits'),
    'two megabytes': (changed(x='x' * 2_000_000), '1,048,576'),
    'a long list': (changed(neck_hidden_sizes=[4] * 1000), 'long'),
    'kind is a list': (changed(model_type=['depth_anything']), 'model_type must be a text'),
    'kind is null': (changed(model_type=None), 'not known'),
    'kind is long': (changed(model_type='x' * 100_000), 'not known'),
    'width is a text': (backbone(hidden_size='wide'), ''),
    'width is a fraction': (backbone(hidden_size=16.5), ''),
    'width is a list': (backbone(hidden_size=[16]), ''),
    'width is zero': (backbone(hidden_size=0), ''),
    'width is negative': (backbone(hidden_size=-16), ''),
    'width is a million': (backbone(hidden_size=10**6), 'hidden_size must be a number up to'),
    'width is more than the weights': (changed(fusion_hidden_size=65_000), 'parameters'),
    'layers without end': (without_names(num_hidden_layers=10**5), 'num_hidden_layers'),
    'layers as a fraction': (without_names(num_hidden_layers=4.5), ''),
    'no layers': (without_names(num_hidden_layers=0), ''),
    'no heads': (backbone(num_attention_heads=0), ''),
    'heads that do not divide': (backbone(num_attention_heads=3), ''),
    'image of a million pixels a side': (backbone(image_size=10**6), 'image_size'),
    'image of 65,000 pixels a side': (backbone(image_size=65_000), 'parameters'),
    'image is a text': (backbone(image_size='large'), ''),
    'patch of nothing': (backbone(patch_size=0), ''),
    'negative patch': (changed(patch_size=-14), 'patch_size must be a whole number from 1'),
    'one channel': (backbone(num_channels=1), ''),
    'ratio without bound': (backbone(mlp_ratio=1e9), 'mlp_ratio'),
    'activation unknown': (backbone(hidden_act='__import__("os")'), ''),
    'layers that are not there': (backbone(out_indices=[99], out_features=None), ''),
    'names that are not there': (backbone(out_features=['nothing'], out_indices=None), ''),
    'backbone is a list': (changed(backbone_config=[]), 'backbone_config must be an object'),
    'backbone is a text': (changed(backbone_config='dinov2'), 'backbone_config must be an object'),
    'backbone is unknown': (backbone(model_type='nothing'), ''),
    'backbone of language': (backbone(model_type='gpt2'), ''),
    'backbone kind is a number': (backbone(model_type=1), 'model_type must be a text'),
    'neck is null': (changed(neck_hidden_sizes=None), ''),
    'neck is a text': (changed(neck_hidden_sizes='wide'), ''),
    'neck is empty': (changed(neck_hidden_sizes=[]), ''),
    'neck of texts': (changed(neck_hidden_sizes=['4', '8', '12', '16']), ''),
    'factors of nothing': (changed(reassemble_factors=[0, 0, 0, 0]), ''),
    'head reads what is not there': (changed(head_in_index=99), ''),
    'range is a text': (changed(depth_estimation_type='metric', max_depth='far'), 'max_depth'),
    'range is negative': (changed(depth_estimation_type='metric', max_depth=-1), 'max_depth'),
    'range is a list': (changed(depth_estimation_type='metric', max_depth=[80]), 'max_depth'),
    'type is a number': (changed(depth_estimation_type=5), 'depth_estimation_type must be'),
    'type is unknown': (changed(depth_estimation_type='absolute'), ''),
    'quantised': (changed(quantization_config={'load_in_4bit': True}), 'before quantisation'),
    'quantised by nonsense': (changed(quantization_config=[[]]), 'before quantisation'),
    'glpn of many blocks': ('{"model_type": "glpn", "depths": [100, 100, 100, 100]}', 'depths'),
    'glpn of texts': ('{"model_type": "glpn", "depths": ["a"], "hidden_sizes": {}}', ''),
    'zoedepth without bins': ('{"model_type": "zoedepth", "bin_configurations": 3}', 'list'),
    'zoedepth of odd bins': ('{"model_type": "zoedepth", "bin_configurations": [3]}', 'object'),
    'zoedepth of far bins': ('{"model_type": "zoedepth", "bin_configurations": '
                             '[{"max_depth": "far"}]}', 'max_depth'),
    'depth pro of nothing': ('{"model_type": "depth_pro"}', 'parameters'),
    'depth pro of many ratios': ('{"model_type": "depth_pro", "scaled_images_ratios": '
                                 f'[{", ".join(["1"] * 200)}]}}', 'match'),
    'depth pro of a language': ('{"model_type": "depth_pro", "patch_model_config": '
                                '{"model_type": "llama", "hidden_size": 65536}}', 'image_size'),
    'depth pro of no encoder': ('{"model_type": "depth_pro", "image_model_config": '
                                '{"model_type": "somebody/code"}}', 'somebody'),
    'depth pro of an endless head': ('{"model_type": "depth_pro", "use_fov_model": true, '
                                     '"num_fov_head_layers": 65536}', 'num_fov_head_layers'),
    'depth pro of huge tiles': ('{"model_type": "depth_pro", "patch_size": 65536}', 'patch_size'),
    'depth pro of texts': ('{"model_type": "depth_pro", "scaled_images_ratios": ["a"]}', 'ratios'),
    'dpt of the hub': ('{"model_type": "dpt", "backbone": "some/body", "use_timm_backbone": true}',
                       'parameters'),
}


@pytest.mark.parametrize('name', CONFIGS)
def test_a_configuration(name: str, folder: Path) -> None:
    content, word = CONFIGS[name]
    content = content if isinstance(content, bytes) else content.encode()
    (folder / 'config.json').write_bytes(content)
    assert word in refusal(folder)


HARMLESS = {
    'torch_dtype': 'float1', 'dtype': [3], 'architectures': 'AnotherNetwork', 'id2label': 3,
    'auto_map': {'AutoConfig': 'evil.Config', 'AutoModelForDepthEstimation': 'evil.Network'},
    'trust_remote_code': True, 'attn_implementation': 'somebody/kernels',
    '_attn_implementation': 'somebody/kernels', 'return_dict': False,
    'output_hidden_states': 'yes', 'transformers_version': '99',
}


def test_what_a_network_does_not_need_has_no_effect(folder: Path, sound: Path) -> None:
    (folder / 'evil.py').write_text(f'open({str(folder / "bang")!r}, "w")')
    content = {**BASE, 'backbone_config': {**BASE['backbone_config'], **HARMLESS}, **HARMLESS}
    (folder / 'config.json').write_text(json.dumps(content))
    assert torch.equal(load(folder)(IMAGE), load(sound)(IMAGE))
    assert not (folder / 'bang').exists()


PREPROCESSORS = {
    'a list': ('[]', 'not a JSON object'),
    'nested without end': (DEEP, 'JSON'),
    'mean of texts': ('{"image_mean": ["a", "b", "c"]}', 'image_mean must be three numbers'),
    'mean without bound': ('{"image_mean": [1e300, 0, 0]}', 'image_mean must be three numbers'),
    'deviation of nothing': ('{"image_std": [0, 0, 0]}', 'image_std must be three numbers'),
    'size is a text': ('{"size": "large"}', 'size must be a whole number'),
    'size is negative': ('{"size": -518}', 'size must be a whole number'),
    'size without bound': ('{"size": {"height": 1000000}}', 'height must be a whole number'),
    'sizes are texts': ('{"size": {"height": "518"}}', 'height must be a whole number'),
    'multiple is a text': ('{"ensure_multiple_of": "14"}', 'ensure_multiple_of must be'),
    'multiple without bound': ('{"ensure_multiple_of": 1000000}', 'ensure_multiple_of must be'),
    'multiples that hardly meet': ('{"ensure_multiple_of": 251}', 'ensure_multiple_of must be'),
    'normalising is a text': ('{"do_normalize": "no"}', 'do_normalize must be true or false'),
}


@pytest.mark.parametrize('name', PREPROCESSORS)
def test_a_preprocessor(name: str, folder: Path) -> None:
    content, word = PREPROCESSORS[name]
    (folder / 'preprocessor_config.json').write_text(content)
    assert word in refusal(folder)


@pytest.mark.parametrize('name', ['config.json', 'preprocessor_config.json', 'model.safetensors'])
@pytest.mark.parametrize('kind', ['endless', 'pipe', 'folder', 'dangling link'])
def test_only_regular_files_are_read(name: str, kind: str, folder: Path) -> None:
    path = folder / name
    path.unlink()
    if kind == 'endless':
        path.symlink_to('/dev/zero')
    elif kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'folder':
        path.mkdir()
    else:
        path.symlink_to(folder / 'nowhere')
        if name == 'preprocessor_config.json':
            return  # as if there were none
    refusal(folder)
    refusal(folder, 'openvino')


def tensors(header: dict[str, Any] | bytes, data: bytes = b'\0' * 64, length: int = -1) -> bytes:
    """Return the bytes of a .safetensors file."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack('<Q', len(text) if length < 0 else length) + text + data


def entry(shape: list[int], start: int, end: int, dtype: str = 'F32') -> dict[str, Any]:
    return {'dtype': dtype, 'shape': shape, 'data_offsets': [start, end]}


SAFETENSORS = {
    'header without end': tensors(b'{}', length=1 << 63),
    'header of a gigabyte': tensors(b'{}', length=1 << 30),
    'header is no JSON': tensors(b'not JSON at all'),
    'header nested without end': tensors(DEEP.encode()),
    'header is a list': tensors(b'[]'),
    'same bytes twice': tensors({'a': entry([16], 0, 64), 'b': entry([16], 0, 64)}),
    'bytes that overlap': tensors({'a': entry([8], 0, 32), 'b': entry([12], 16, 64)}),
    'bytes beyond the end': tensors({'a': entry([10**6], 0, 4 * 10**6)}),
    'shape without bound': tensors({'a': entry([2**62, 2**62], 0, 64)}),
    'negative shape': tensors({'a': entry([-16], 0, 64)}),
    'dtype unknown': tensors({'a': entry([16], 0, 64, 'F33')}),
    'entry is a number': tensors({'a': 3}),
    'other tensors': tensors({'a': entry([16], 0, 64)}),
    'nothing': b'',
}


@pytest.mark.parametrize('name', SAFETENSORS)
def test_safetensors(name: str, folder: Path) -> None:
    (folder / 'model.safetensors').write_bytes(SAFETENSORS[name])
    refusal(folder)


def test_a_file_of_a_terabyte_is_not_read(folder: Path) -> None:
    os.truncate(folder / 'model.safetensors', 1 << 40)  # it takes no room on the disk
    assert '1,099,511,627,776 bytes' in refusal(folder)
    os.truncate(folder / 'model.safetensors', 1 << 30)
    assert 'of another configuration' in refusal(folder)


INDEXES = {
    'a list': '[]', 'empty': '{}', 'no map': '{"weight_map": 3}',
    'names of numbers': '{"weight_map": {"a": 3}}',
    'elsewhere': '{"weight_map": {"a": "../sound/model.safetensors"}}',
    'absolute': '{"weight_map": {"a": "/etc/passwd"}}',
    'missing': '{"weight_map": {"a": "model-00001-of-00001.safetensors"}}',
}


@pytest.mark.parametrize('name', INDEXES)
def test_an_index(name: str, folder: Path) -> None:
    (folder / 'model.safetensors').unlink()
    (folder / 'model.safetensors.index.json').write_text(INDEXES[name])
    refusal(folder)


def test_shards_are_read(folder: Path, sound: Path) -> None:
    depth_anything().save_pretrained(folder, max_shard_size='20KB')
    assert len(list(folder.glob('model-*.safetensors'))) > 1
    (folder / 'model.safetensors').unlink(missing_ok=True)
    assert torch.equal(load(folder)(IMAGE), load(sound)(IMAGE))


def first_weight(folder: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    network = depth_anything()
    state = network.state_dict()
    state['head.conv1.weight'] = change(state['head.conv1.weight'])
    network.save_pretrained(folder, state_dict=state)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_weights_that_are_no_numbers(
    value: float, backend: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
    first_weight(folder, lambda w: w.index_fill(0, torch.tensor([1]), value))
    assert 'head.conv1.weight holds numbers that are not finite' in refusal(folder, backend)


@pytest.mark.parametrize('backend', ['torch', 'openvino'])
def test_weights_whose_prediction_is_no_number(
    backend: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(folder))
    first_weight(folder, lambda w: w * 3e38)
    assert 'predicts numbers that are not finite' in refusal(folder, backend)


class Code:
    """Unpickles by running what it is given."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def nested(depth: int) -> list[Any]:
    result: list[Any] = []
    for _ in range(depth):
        result = [result]
    return result


PICKLES: dict[str, Callable[[], Any]] = {
    'code': lambda: {'a': Code(os.mkdir, 'bang')},
    'code in a key': lambda: {Code(os.mkdir, 'bang'): torch.zeros(1)},
    'bytes without end': lambda: {'a': Code(bytearray, 10**13)},
    'a tensor without end': lambda: {'a': Code(torch.Tensor, 10**6, 10**6)},
    'one number, many times': lambda: {'a': torch.zeros(1).expand(10**6, 10**6)},
    'a tensor of no device': lambda: {'a': torch.zeros(10**6, 10**6, device='meta')},
    'a sparse tensor': lambda: {'a': torch.zeros(3, 3).to_sparse()},
    'complex numbers': lambda: {'a': torch.zeros(3, dtype=torch.complex64)},
    'numbers for names': lambda: {3: torch.zeros(1)},
    'a training state': lambda: {'model': {'a': torch.zeros(1)}, 'epoch': 3},
    'a tensor alone': lambda: torch.zeros(3),
    'a list': lambda: [torch.zeros(3)],
    'nested': lambda: nested(200),
    'a network': lambda: torch.nn.Linear(3, 3),
    'null': lambda: None,
}


@pytest.mark.parametrize('name', PICKLES)
@pytest.mark.parametrize('where', ['pytorch_model.bin', 'depth_anything_v2_vits.pth'])
def test_a_pickle(
    name: str, where: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / 'model.safetensors').unlink()
    torch.save(PICKLES[name](), folder / where)
    refusal(folder if where.endswith('.bin') else folder / where)
    assert not (folder / 'bang').exists()


@pytest.mark.parametrize('content', [
    b'', b'\x80', b'PK\x03\x04', b'\x80\x02' + b']' * 100_000 + b'a' * 99_999 + b'.', b'\0' * 9999,
])
def test_a_file_that_is_no_pickle(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'depth_anything_v2_vits.pth'
    path.write_bytes(content)
    refusal(path)


def test_a_zip_bomb(folder: Path, tmp_path: Path) -> None:
    path, packed = tmp_path / 'plain.pth', tmp_path / 'depth_anything_v2_vits.pth'
    torch.save({'a': torch.zeros(10**7)}, path)
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(packed, 'w', zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert packed.stat().st_size < 10**6
    assert 'is packed' in refusal(packed)


OFFICIAL = {
    'pretrained.cls_token': torch.tensor(0.0),
    'pretrained.pos_embed': torch.tensor(0.0),
    'pretrained.blocks.0.attn.qkv.weight': torch.tensor(0.0),
    'pretrained.blocks.0.attn.qkv.bias': torch.zeros(7),
    'pretrained.norm.weight': torch.zeros(3, 3),
    'depth_head.projects.0.weight': torch.zeros(0),
}


@pytest.mark.parametrize('name', OFFICIAL)
def test_an_official_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(official_weights.ARCHITECTURES, WIDTH, TINY)
    path = tmp_path / 'depth_anything_v2_vits.pth'
    torch.save({**official_state(WIDTH, TINY), name: OFFICIAL[name]}, path)
    refusal(path)


IMAGE_INPUT = helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, 'h', 'w'])


def constant(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, np.int64), name)


def claim(*dims: int) -> onnx.TensorProto:
    """Return a weight of four numbers that says it has more."""
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), 'big')
    del tensor.dims[:]
    tensor.dims.extend(dims)
    return tensor


def elsewhere(path: str) -> onnx.TensorProto:
    tensor = claim(4)
    tensor.ClearField('raw_data')
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value=path)
    return tensor


def graph(
    *nodes: onnx.NodeProto,
    weights: list[onnx.TensorProto] = [],  # noqa: B006
    inputs: list[onnx.ValueInfoProto] = [IMAGE_INPUT],  # noqa: B006
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    body = helper.make_graph(
        list(nodes), 'network', inputs, [helper.make_tensor_value_info('y', kind, None)], weights
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def node(kind: str, inputs: str, output: str = 'y', **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def endless() -> onnx.ModelProto:
    body = helper.make_graph(
        [node('Identity', 'go', 'again')], 'body',
        [helper.make_tensor_value_info('i', TensorProto.INT64, []),
         helper.make_tensor_value_info('go', TensorProto.BOOL, [])],
        [helper.make_tensor_value_info('again', TensorProto.BOOL, [])],
    )
    true = numpy_helper.from_array(np.array(True), 'true')
    loop = helper.make_node('Loop', ['', 'true'], [], body=body)
    return graph(loop, node('ReduceMean', 'image', axes=[1]), weights=[true])


def metadata(text: str) -> onnx.ModelProto:
    model = graph(node('ReduceMean', 'image', axes=[1]))
    model.metadata_props.add(key='depth_anything_ros', value=text)
    return model


ADD_BIG = node('Add', 'mean sum')
MEAN, SUM = node('ReduceMean', 'image', 'mean', axes=[1]), node('ReduceSum', 'big', 'sum')
SHAPE = constant('shape', 10**4, 10**4, 100)
GRAPHS: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    'no nodes': (graph, 'holds no network'),
    'a loop': (endless, 'holds a Loop'),
    'constants without bound': (lambda: graph(
        node('ConstantOfShape', 'shape', 'big'), MEAN, SUM, ADD_BIG, weights=[SHAPE]
    ), '10,000,000,000 elements'),
    'one number, many times': (lambda: graph(
        node('Expand', 'one shape', 'big'), MEAN, SUM, ADD_BIG,
        weights=[SHAPE, numpy_helper.from_array(np.ones((1, 1, 1), np.float32), 'one')],
    ), '10,000,000,000 elements'),
    'weights that are not there': (
        lambda: graph(MEAN, SUM, ADD_BIG, weights=[claim(10**6, 10**6)]), 'claims more'),
    'negative weights': (lambda: graph(MEAN, SUM, ADD_BIG, weights=[claim(-1, 4)]), 'claims more'),
    'weights elsewhere': (
        lambda: graph(MEAN, SUM, ADD_BIG, weights=[elsewhere('../../etc/passwd')]), 'beside it'),
    'weights of no file': (
        lambda: graph(MEAN, SUM, ADD_BIG, weights=[elsewhere('nothing.bin')]), 'absent'),
    'weights without end': (
        lambda: graph(MEAN, SUM, ADD_BIG, weights=[elsewhere('zero.bin')]), 'no regular file'),
    'a scalar': (lambda: graph(node('ReduceMean', 'image', keepdims=0)), 'answers with'),
    'a single pixel': (lambda: graph(node('GlobalAveragePool', 'image', 'p'),
                                     node('ReduceMean', 'p', axes=[1])), 'answers with'),
    'three images': (lambda: graph(node('Relu', 'image')), 'answers with'),
    'whole numbers': (lambda: graph(MEAN, node('Cast', 'mean', to=TensorProto.INT64),
                                    kind=TensorProto.INT64), 'answers with'),
    'no numbers': (lambda: graph(MEAN, node('Sub', 'mean mean', 'zero'),
                                 node('Div', 'zero zero')), 'not finite'),
    'infinite numbers': (lambda: graph(MEAN, node('Sub', 'mean mean', 'zero'), node(
        'Exp', 'zero', 'one'), node('Div', 'one zero')), 'not finite'),
    'no input': (lambda: graph(node('Relu', 'w'), inputs=[], weights=[
        numpy_helper.from_array(np.ones((1, 4, 4), np.float32), 'w')]), 'wants 0 inputs'),
    'two inputs': (lambda: graph(MEAN, node('Add', 'mean other'), inputs=[
        IMAGE_INPUT, helper.make_tensor_value_info('other', TensorProto.FLOAT, [1])]),
        'wants 2 inputs'),
    'an input of whole numbers': (lambda: graph(node('Cast', 'image', to=1), inputs=[
        helper.make_tensor_value_info('image', TensorProto.INT64, [1, 3, 'h', 'w'])]), 'float32'),
    'an input of text': (lambda: graph(node('Cast', 'image', to=1), inputs=[
        helper.make_tensor_value_info('image', TensorProto.STRING, [1, 3, 'h', 'w'])]), ''),
    'a fixed input without bound': (lambda: graph(MEAN, node('Relu', 'mean'), inputs=[
        helper.make_tensor_value_info('image', TensorProto.FLOAT, [1, 3, 10**6, 10**6])]),
        'elements'),
    'an input of another shape': (lambda: graph(node('Relu', 'image'), inputs=[
        helper.make_tensor_value_info('image', TensorProto.FLOAT, [3])]), 'input of shape'),
    'an operation that does not exist': (lambda: graph(node('Explode', 'image')), 'cannot run'),
    'a value that does not exist': (lambda: graph(node('Relu', 'nothing')), ''),
    'says a list': (lambda: metadata('[]'), 'not a JSON object'),
    'says nothing': (lambda: metadata(''), 'JSON'),
    'says what is nested without end': (lambda: metadata(DEEP), 'JSON'),
    'says it is of another version': (lambda: metadata('{"format": 99}'), 'another version'),
    'says little': (lambda: metadata('{"format": 4}'), 'space must be'),
}


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('name', GRAPHS)
def test_an_onnx_file(name: str, backend: str, tmp_path: Path) -> None:
    build, word = GRAPHS[name]
    path = tmp_path / 'depth_anything_v2_vits.onnx'
    path.write_bytes(build().SerializeToString())
    (tmp_path / 'zero.bin').symlink_to('/dev/zero')
    assert word in refusal(path, backend, input_size=56)


@pytest.mark.parametrize('kind', ['endless', 'pipe', 'folder', 'random', 'terabyte'])
def test_no_onnx_file_at_all(kind: str, tmp_path: Path) -> None:
    path = tmp_path / 'depth_anything_v2_vits.onnx'
    if kind == 'endless':
        path.symlink_to('/dev/zero')
    elif kind == 'pipe':
        os.mkfifo(path)
    elif kind == 'folder':
        path.mkdir()
    else:
        path.write_bytes(np.random.default_rng(0).bytes(5000))
        if kind == 'terabyte':
            os.truncate(path, 1 << 40)
    refusal(path, 'onnxruntime')


@pytest.mark.parametrize('name', [
    '', 'x' * 5000, 'a/' * 5000, 'a\0b', '~', '~nobody/x.pth', '/dev/zero', '\ud800',
    'some body/one', 'a/b/c', '//', 'two\nlines', '../..',
])
def test_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(CheckpointError) as caught:
        load(name)  # type: ignore[arg-type]
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 700
