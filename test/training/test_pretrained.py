# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Training from and with published networks: what is loaded, trained and saved is one network."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForDepthEstimation, Dinov2Model

from depth_anything_ros.config import ModelConfig, RuntimeConfig
from depth_anything_ros.errors import CheckpointError
from depth_anything_ros.network import hub, official_weights
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.training.augment import to_network
from depth_anything_ros.training.config import NetworkConfig, Phase, StudentConfig
from depth_anything_ros.training.network import build_network, grow_small_layers, save_network
from depth_anything_ros.training.pretrained import start_network
from depth_anything_ros.training.state import newest_state
from depth_anything_ros.training.student import Unlabelled
from depth_anything_ros.training.train import train
from helpers import TINY, tiny_run
import official_files
from official_files import official_state, WIDTH

V1, V2 = 'depth_anything_vits14.pth', 'depth_anything_v2_vits.pth'
V2_METRIC, DINOV2 = 'depth_anything_v2_metric_hypersim_vits.pth', 'dinov2_vits14_pretrain.pth'
IMAGE = torch.randn(1, 3, 42, 70, generator=torch.Generator().manual_seed(6))


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a network of seconds be one of the official sizes."""
    monkeypatch.setitem(official_weights.ARCHITECTURES, WIDTH, official_files.TINY)


def official(folder: Path, name: str) -> str:
    """Save random weights under an official name; DINOv2's are the encoder's alone."""
    state = official_state(WIDTH, official_files.TINY)
    if name == V2_METRIC:  # not at the ends of its sigmoid
        state['depth_head.scratch.output_conv2.2.weight'] *= 0.02
        state['depth_head.scratch.output_conv2.2.bias'] *= 0
    if name == DINOV2:
        state = {key.removeprefix('pretrained.'): tensor for key, tensor in state.items()
                 if key.startswith('pretrained.')}
    torch.save(state, folder / name)
    return str(folder / name)


def answer(checkpoint: object, image: Tensor = IMAGE) -> Tensor:
    """Predict as the node does."""
    model = ModelConfig(checkpoint=str(checkpoint))
    return load_predictor(model, RuntimeConfig(device='cpu', backend='torch'))(image)


def phases(lr: float) -> tuple[Phase, ...]:
    return (Phase(2, 2, ((28, 42),), lr, lr),)


def task(name: str) -> NetworkConfig:
    return NetworkConfig(max_depth_m=20 if name == V2_METRIC else 0)


@pytest.mark.parametrize('name', [V1, V2, V2_METRIC])
def test_saving_an_official_network_that_learnt_nothing_changes_nothing(
    data: Path, tmp_path: Path, name: str
) -> None:
    file = official(tmp_path, name)
    train(tiny_run(data, tmp_path / 'run', init=file, network=task(name), phases=phases(0.0),
                   eval_every=2))
    torch.testing.assert_close(answer(tmp_path / 'run/checkpoint'), answer(file))
    assert load_predictor(ModelConfig(checkpoint=str(tmp_path / 'run/checkpoint')), RuntimeConfig(
        device='cpu', backend='torch')).spec.input_size == 518


@pytest.mark.parametrize('name', [V1, V2, V2_METRIC, DINOV2])
def test_the_node_says_what_the_trained_network_says(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    trained = []

    def keep(network: torch.nn.Module, *args: object) -> None:
        trained.append(copy.deepcopy(network))
        save_network(network, *args)

    monkeypatch.setattr('depth_anything_ros.training.record.save_network', keep)
    file = official(tmp_path, name)
    train(tiny_run(data, tmp_path / 'run', init=file, network=task(name), phases=phases(1e-3),
                   eval_every=2))
    with torch.no_grad():
        expected = trained[-1](IMAGE).predicted_depth[0]
    assert expected.std() > 1e-3 * expected.mean()
    torch.testing.assert_close(answer(tmp_path / 'run/checkpoint'), expected, rtol=1e-4, atol=1e-6)
    if name != DINOV2:
        moved = (expected - answer(file)).abs().max() / expected.abs().max()
        assert moved > 1e-3  # it was trained


def test_dinov2_brings_its_encoder_and_the_decoder_is_fresh(data: Path, tmp_path: Path) -> None:
    file = official(tmp_path, DINOV2)
    run = {'init': file, 'network': NetworkConfig(), 'eval_every': 2, 'phases': phases(0.0)}
    for name, seed in (('a', 0), ('b', 1)):
        train(tiny_run(data, tmp_path / name, **run, seed=seed))
    a, b = (AutoModelForDepthEstimation.from_pretrained(tmp_path / name / 'checkpoint')
            for name in 'ab')
    theirs = torch.load(file)
    assert torch.equal(a.backbone.embeddings.cls_token, theirs['cls_token'])
    ours = list(a.backbone.state_dict().values())
    for key in ('blocks.0.norm1.bias', 'blocks.5.attn.proj.weight', 'blocks.5.ls2.gamma'):
        assert any(torch.equal(tensor, theirs[key]) for tensor in ours), key
    assert len(ours) == len(theirs) + 4 * 6  # query, key and value lie in one matrix there
    assert not torch.equal(a.head.conv1.weight, b.head.conv1.weight)
    assert a.config.backbone_config.out_indices == [1, 3, 4, 6]  # V2's 0, 2, 3, 5
    assert a.config.fusion_hidden_size == official_files.TINY.fusion


def test_folders_and_hub_ids_of_dinov2_are_the_same_encoder(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from depth_anything_ros.network.encoder import load_encoder

    encoder = load_encoder(Path(official(tmp_path, DINOV2)))
    encoder.save_pretrained(tmp_path / 'dinov2')
    assert isinstance(encoder, Dinov2Model)
    monkeypatch.setattr(hub, '_download', lambda hub_id: tmp_path / hub_id.partition('/')[2])
    student = StudentConfig(official(tmp_path, V2), (data,), encoder='facebook/dinov2',
                            margin=1.0, strong=False)
    terms = Unlabelled(student, 'cpu')
    again = load_encoder(tmp_path / 'dinov2')
    with torch.no_grad():
        torch.testing.assert_close(
            again(IMAGE).last_hidden_state, encoder(IMAGE).last_hidden_state)
        torch.testing.assert_close(
            terms.encoder(IMAGE).last_hidden_state, encoder(IMAGE).last_hidden_state)


def test_only_the_encoder_of_a_depth_network_is_taken(data: Path, tmp_path: Path) -> None:
    file = official(tmp_path, V1)
    train(tiny_run(data, tmp_path / 'run', init=file, network=NetworkConfig(max_depth_m=80),
                   fresh_decoder=True, phases=phases(0.0), eval_every=2))
    saved = AutoModelForDepthEstimation.from_pretrained(tmp_path / 'run/checkpoint')
    theirs = torch.load(file)
    assert torch.equal(saved.backbone.layernorm.weight, theirs['pretrained.norm.weight'])
    assert not torch.equal(saved.head.conv2.weight,
                           theirs['depth_head.scratch.output_conv2.0.weight'])
    assert (saved.config.depth_estimation_type, saved.config.max_depth) == ('metric', 80)


@pytest.mark.parametrize(('name', 'max_depth_m', 'message'), [
    (V2, 20, 'predicts relative inverse depth and the run is for depth up to 20 m'),
    (V2_METRIC, 0, 'predicts depth up to 20 m and the run is for relative inverse depth'),
    (V2_METRIC, 80, 'predicts depth up to 20 m and the run is for depth up to 80 m'),
    ('latest.pth', 0, 'must say which network it holds: rename it'),
    ('da3mono-large.pth', 0, 'cannot start from'),
])
def test_what_does_not_fit_the_run_is_one_line(
    data: Path, tmp_path: Path, name: str, max_depth_m: int, message: str
) -> None:
    run = tiny_run(data, tmp_path / 'run', init=official(tmp_path, name),
                   network=NetworkConfig(max_depth_m=max_depth_m))
    with pytest.raises(CheckpointError, match=message) as caught:
        train(run)
    assert '\n' not in str(caught.value)


def test_an_encoder_that_is_none_is_named(data: Path, tmp_path: Path) -> None:
    student = StudentConfig(official(tmp_path, V2), (data,), encoder=official(tmp_path, V1))
    with pytest.raises(CheckpointError, match='cannot load the encoder .* is no DINOv2 encoder'):
        Unlabelled(student, 'cpu')


def loss_of(answer: Tensor, terms: Unlabelled, image: Tensor) -> float:
    """Return the unlabelled loss of a relative student that gives an answer."""
    network = SimpleNamespace(config=SimpleNamespace(depth_estimation_type='relative'))
    student = SimpleNamespace(network=network, predict=lambda seen: (answer, None))
    return float(terms(student, image, torch.Generator().manual_seed(0))['unlabelled'])


def test_a_metric_teacher_is_the_right_way_up(data: Path, tmp_path: Path) -> None:
    config = StudentConfig(official(tmp_path, V2_METRIC), (data,), strong=False)
    image = torch.rand(2, 3, 28, 42, generator=torch.Generator().manual_seed(1))
    depth_m = torch.stack([answer(config.teacher, x[None]) for x in to_network(image)])
    terms = Unlabelled(config, 'cpu')
    assert loss_of(1 / depth_m, terms, image) < 1e-4
    assert loss_of(depth_m, terms, image) > 0.5


def test_the_teacher_answers_in_full_precision(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = StudentConfig(official(tmp_path, V2), (data,), strong=False, gradient=True)
    image = torch.rand(1, 3, 56, 70, generator=torch.Generator().manual_seed(1))
    targets = []
    monkeypatch.setattr('depth_anything_ros.training.student.gradient_loss',
                        lambda prediction, target, inside: targets.append(target) or 0.0)
    with torch.autocast('cpu', torch.bfloat16):
        loss_of(torch.rand(1, 56, 70), Unlabelled(config, 'cpu'), image)
    torch.testing.assert_close(targets[0][0], answer(config.teacher, to_network(image)))
    assert len(targets[0].unique()) > 2000  # bfloat16 has 256 between a power of two and the next


def test_wide_networks_start_from_as_many_waves_as_a_patch_has() -> None:
    torch.manual_seed(0)
    network = build_network(NetworkConfig(hidden_size=768, layers=4, heads=12, fusion_size=8))
    weight = network.backbone.embeddings.patch_embeddings.projection.weight.detach().flatten(1)
    # 196 waves of light and, of colour, a sixth of the width for each of two: 128.
    assert int(torch.linalg.matrix_rank(weight[:196 + 2 * 128])) == 196 + 2 * 128
    assert float(weight[196 + 2 * 128:].std()) == pytest.approx(0.02, rel=0.05)


def test_a_checkpoint_that_answers_otherwise_is_not_kept(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(build_network(TINY))
    save = kind.save_pretrained
    saved = []

    def damage(self: torch.nn.Module, folder: Path) -> None:
        saved.append(folder)
        if len(saved) == 2:
            self = copy.deepcopy(self)
            self.head.conv3.bias += 0.01
        save(self, folder)

    monkeypatch.setattr(kind, 'save_pretrained', damage)
    with pytest.raises(CheckpointError, match='answers otherwise than the trained network, by 0.0'):
        train(tiny_run(data, tmp_path / 'run'))
    assert newest_state(tmp_path / 'run').name == '3'
    assert answer(tmp_path / 'run/checkpoint').isfinite().all()


def test_training_starts_from_a_network_that_was_saved_small_at_its_full_size(
    data: Path, tmp_path: Path
) -> None:
    """Layers of the bundled one are 20 times smaller than a step of Adam is meant for."""
    network, _ = start_network(tiny_run(data, tmp_path, init='bundled', network=NetworkConfig()))
    head = network.head
    for layer in (*network.neck.convs, head.conv1, head.conv2, head.conv3):
        drawn = (3 * layer.weight[0].numel()) ** -0.5
        assert float(layer.weight.detach().square().mean().sqrt()) > 0.25 * drawn
    with torch.no_grad():
        mine, its = network(IMAGE).predicted_depth[0], answer('bundled').float()
    torch.testing.assert_close(mine / mine.max(), its / its.max(), rtol=1e-3, atol=1e-5)


def test_growing_small_layers_changes_the_scale_of_the_output_alone() -> None:
    torch.manual_seed(1)
    network = build_network(TINY)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.02 * torch.randn_like(parameter)  # biases too
        grow_small_layers(network)
        expected = network(IMAGE).predicted_depth
        untouched = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        grow_small_layers(network)
        assert all(torch.equal(tensor, untouched[name])
                   for name, tensor in network.state_dict().items())
        for layer in (*network.neck.convs, network.head.conv2):
            layer.weight *= 0.01
        for name, parameter in network.neck.fusion_stage.named_parameters():
            if name.endswith('bias'):
                parameter *= 0.01
        network.head.conv1.bias *= 0.01
        network.head.conv2.bias *= 1e-4
        network.head.conv3.bias *= 1e-4
        small = network(IMAGE).predicted_depth
        grow_small_layers(network)
        grown = network(IMAGE).predicted_depth
    torch.testing.assert_close(small, 1e-4 * expected, rtol=1e-3, atol=1e-8)
    torch.testing.assert_close(grown / grown.max(), expected / expected.max(), rtol=1e-3, atol=1e-5)
