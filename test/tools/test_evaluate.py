# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""The program from a folder to its last line, against scores computed another way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
import subprocess
import sys

import cv2
import numpy as np
import pytest

from depth_anything_ros.errors import DatasetError
from depth_anything_ros.evaluation.predictions import from_folder, Source
from depth_anything_ros.evaluation.protocols import Protocol
from depth_anything_ros.evaluation.published import PAPER
from depth_anything_ros.tools.evaluate import main
import miniature_datasets as miniature

# Size, and the half-open rows and columns that the protocol scores there, worked out by hand:
# KITTI is cut to the lower 352 rows of 360 and the middle 1216 columns of 1220 beforehand.
REGIONS = {
    'kitti': ((360, 1220), (8 + 143, 8 + 349), (2 + 43, 2 + 1172), 80),
    'nyu': ((480, 640), (45, 471), (41, 601), 10),
    'sintel': ((20, 30), (0, 20), (0, 30), 70),
    'ddad': ((20, 30), (8, 19), (1, 28), 80),  # 20 * .408 = 8.2, 20 * .992 = 19.8, ...
    'eth3d': ((20, 30), (0, 20), (0, 30), 72),
    'diode': ((20, 30), (0, 20), (0, 30), 350),
}


def scene(size, seed, max_depth_m):
    """Return depth in whole mm with holes and far pixels, and a noisy inverse depth."""
    rng = np.random.default_rng(seed)
    depth = np.round(np.exp(rng.uniform(np.log(0.7), np.log(min(1.2 * max_depth_m, 65)), size)), 3)
    depth[rng.random(size) < 0.3] = np.nan
    noise = rng.normal(0, 0.02, size)
    return depth, (7 * np.nan_to_num(1 / depth) + noise + 2).astype(np.float32)


def save_predictions(folder: Path, names, predictions):
    folder.mkdir(parents=True, exist_ok=True)
    for name, prediction in zip(names, predictions):
        np.save(folder / f'{name.split("/")[-1]}.npy', prediction)


def independent_moge(depth, prediction):
    """Score all pixels of the crop by MoGe's rule, by polynomial fit and a loop over pixels."""
    pixels = [(z, p) for z, p in zip(depth.ravel(), prediction.ravel()) if z > 0]
    assert max(pixels)[0] < 1000 * min(pixels)[0]  # none is too far
    z, p = np.array(pixels, dtype=np.float64).T
    fitted = np.maximum(np.polyval(np.polyfit(p, 1 / z, 1), p), 1 / z.max())
    return {'abs_rel': np.mean([abs(1 / f - t) / t for f, t in zip(fitted, z)]),
            'delta1': np.mean([max(f * t, 1 / (f * t)) < 1.25 for f, t in zip(fitted, z)])}


def independent_scores(depth, prediction, rows, columns, max_depth_m):
    """Score by polynomial fit and plain loops over pixels."""
    pixels = [
        (float(depth[v, u]), float(prediction[v, u]))
        for v in range(*rows)
        for u in range(*columns)
        if 0 < depth[v, u] < max_depth_m
    ]
    z, p = np.array(pixels).T
    scale, shift = np.polyfit(p, 1 / z, 1)
    fitted = np.maximum(scale * p + shift, 1 / max_depth_m)
    ratio = np.maximum(fitted * z, 1 / (fitted * z))
    g = np.log(fitted * z)
    shared = {
        'delta1': (ratio < 1.25).sum() / len(z),
        'silog': 100 * np.sqrt((g**2).mean() - g.mean() ** 2),
    }
    return {
        'disparity_space': {
            'abs_rel': (abs(fitted - 1 / z) * z).mean(),
            'rmse': np.sqrt(((fitted - 1 / z) ** 2).mean()),
            **shared,
        },
        'depth_space': {
            'abs_rel': (abs(1 / fitted - z) / z).mean(),
            'rmse': np.sqrt(((1 / fitted - z) ** 2).mean()),
            **shared,
        },
    }


@pytest.mark.parametrize('name', miniature.WRITERS)
def test_saved_predictions_score_as_computed_independently(name, tmp_path, capsys):
    size, rows, columns, max_depth_m = REGIONS[name]
    depths, predictions = zip(*(scene(size, seed, max_depth_m) for seed in (1, 2)))
    names = miniature.WRITERS[name](tmp_path / 'data', depths)
    save_predictions(tmp_path / 'saved', names, predictions)

    status = main([
        '--dataset', name, '--root', str(tmp_path / 'data'), '--json',
        '--predictions', str(tmp_path / 'saved'), '--output', str(tmp_path / 'out'),
    ])
    out = capsys.readouterr().out
    result = json.loads(out.splitlines()[-1])

    if name == 'kitti':  # its depth is stored in 1/256 m
        depths = [np.floor(np.nan_to_num(depth) * 256) / 256 for depth in depths]
    expected = [
        independent_scores(depth, prediction, rows, columns, max_depth_m)
        for depth, prediction in zip(depths, predictions)
    ]
    assert status == 0 and result['dataset'] == name and result['images'] == 2
    for space in ('disparity_space', 'depth_space'):
        for key in ('abs_rel', 'delta1', 'rmse', 'silog'):
            mean = np.mean([scores[space][key] for scores in expected])
            assert result[space][key] == pytest.approx(mean, rel=1e-6), (space, key)

    crop = np.s_[8:, 2:1218] if name == 'kitti' else np.s_[:]
    by_moge = [independent_moge(d[crop], p[crop]) for d, p in zip(depths, predictions)]
    for key in ('abs_rel', 'delta1'):
        mean = np.mean([scores[key] for scores in by_moge])
        assert result['moge'][key] == pytest.approx(mean, rel=1e-6), key
        assert f'{mean:.3f}' in out

    with (tmp_path / 'out' / f'{name}.csv').open() as file:
        lines = list(csv.DictReader(file))
    assert [line['image'].removeprefix('indoors/') for line in lines] == names
    assert float(lines[1]['moge_abs_rel']) == pytest.approx(by_moge[1]['abs_rel'], rel=1e-6)
    second = expected[1]['depth_space']['abs_rel']
    assert float(lines[1]['depth_space_abs_rel']) == pytest.approx(second, rel=1e-6)
    sheet = cv2.imread(str(tmp_path / 'out' / f'{name}.jpg'))
    assert sheet.shape[1] == 3 * 400
    for abs_rel, delta1 in PAPER[name].values():
        assert f'{abs_rel:.3f}' in out and f'{delta1:.3f}' in out


@pytest.mark.parametrize(('name', 'mark', 'reproducible'), [
    ('kitti', '', True), ('nyu', '', True), ('ddad', ' ?', None), ('sintel', ' *', False),
    ('eth3d', ' *', False), ('diode', ' *', False),
])
def test_rows_that_nobody_finds_again_are_marked(name, mark, reproducible, tmp_path, capsys):
    depth, prediction = scene((480, 640) if name == 'nyu' else (20, 30), 1, 8)
    if name == 'kitti':
        depth, prediction = scene((360, 1220), 1, 80)
    names = miniature.WRITERS[name](tmp_path / 'data', [depth])
    save_predictions(tmp_path / 'saved', names, [prediction])
    assert main(['--dataset', name, '--root', str(tmp_path / 'data'), '--json', '--output',
                 str(tmp_path / 'out'), '--predictions', str(tmp_path / 'saved')]) == 0
    out = capsys.readouterr().out
    assert f'paper: S{mark} ' in out and f'paper: MiDaS 3.1{mark} ' in out
    assert ('\n* not reproducible: ' in out) == (reproducible is False)
    assert ('\n? nobody' in out) == (reproducible is None)
    assert json.loads(out.splitlines()[-1])['paper_is_reproducible'] is reproducible


def test_indoors_and_outdoor_of_diode_are_scored_apart_too(tmp_path, capsys):
    expected = {}
    for part, seed in (('indoors', 1), ('outdoor', 2)):
        depth, prediction = scene((20, 30), seed, 350)
        names = miniature.diode(tmp_path / 'data', [depth], part)
        save_predictions(tmp_path / 'saved', names, [prediction])
        expected[part] = independent_scores(depth, prediction, (0, 20), (0, 30), 350)
    assert main(['--dataset', 'diode', '--root', str(tmp_path / 'data'), '--json', '--output',
                 str(tmp_path / 'out'), '--predictions', str(tmp_path / 'saved')]) == 0
    out = capsys.readouterr().out
    parts = json.loads(out.splitlines()[-1])['parts']
    assert list(parts) == ['indoors', 'outdoor']
    for part, scores in expected.items():
        assert parts[part]['images'] == 1 and f'{part}: depth, m' in out
        for space in ('disparity_space', 'depth_space'):
            assert parts[part][space]['abs_rel'] == pytest.approx(
                scores[space]['abs_rel'], rel=1e-6)


def test_an_unknown_precision_is_refused(sintel, capsys):
    tmp_path, _, _ = sintel
    with pytest.raises(SystemExit):
        run(tmp_path, '--checkpoint', 'x', '--precision', 'foo')
    assert "--precision: invalid choice: 'foo'" in capsys.readouterr().err


@pytest.mark.parametrize('precision', [(), ('--precision', 'float16')])
@pytest.mark.parametrize('checkpoint', ['folder', 'exported.onnx'])
def test_networks_compute_in_float32_unless_asked(checkpoint, precision, tmp_path, monkeypatch):
    predictor = pytest.importorskip('depth_anything_ros.network.predictor')
    miniature.sintel(tmp_path / 'data', [scene((20, 30), 3, 70)[0]])
    asked = []

    def load(model, runtime):
        asked.append((model.checkpoint, runtime.precision))
        raise DatasetError('far enough')

    monkeypatch.setattr(predictor, 'load_predictor', load)
    assert run(tmp_path, '--checkpoint', checkpoint, *precision) == 2
    assert asked == [(checkpoint, precision[-1] if precision else 'float32')]


@pytest.fixture
def sintel(tmp_path):
    depth, prediction = scene((20, 30), 3, 70)
    names = miniature.sintel(tmp_path / 'data', [depth, depth, depth])
    save_predictions(tmp_path / 'saved', names, [prediction] * 3)
    return tmp_path, depth, prediction


def run(tmp_path, *more):
    return main([
        '--dataset', 'sintel', '--root', str(tmp_path / 'data'), '--output', str(tmp_path / 'out'),
        '--json', *map(str, more),
    ])


def last_line(capsys):
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_limit_split_and_region(sintel, capsys):
    tmp_path, _, _ = sintel
    assert run(tmp_path, '--predictions', tmp_path / 'saved', '--limit', 2) == 0
    assert last_line(capsys)['images'] == 2
    (tmp_path / 'split.txt').write_text('final/alley_1/frame_0003.png\n')
    assert run(tmp_path, '--predictions', tmp_path / 'saved', '--split', tmp_path / 'split.txt',
               '--region', 'garg') == 0
    result = last_line(capsys)
    assert result['images'] == 1 and result['protocol']['region'] == 'garg'


def test_metric_depth_predictions(sintel, capsys):
    tmp_path, depth, _ = sintel
    metric = np.nan_to_num(depth, nan=1.0) * 0.9
    save_predictions(tmp_path / 'metric', [f'frame_{i:04d}' for i in (1, 2, 3)], [metric] * 3)
    common = ('--predictions', tmp_path / 'metric', '--prediction', 'depth')
    assert run(tmp_path, *common, '--align', 'none') == 0
    assert last_line(capsys)['depth_space']['abs_rel'] == pytest.approx(0.1)
    assert run(tmp_path, *common) == 0
    assert last_line(capsys)['depth_space']['abs_rel'] == pytest.approx(0, abs=1e-6)


def test_what_mo_ge_has_no_answer_to_is_said(sintel, capsys):
    tmp_path, depth, _ = sintel
    names = [f'frame_{i:04d}' for i in (1, 2, 3)]
    predicted = np.nan_to_num(depth, nan=1.0)
    negative = predicted.copy()
    negative[np.isfinite(depth)] -= 70  # depth that is nowhere positive, yet a perfect affine one
    save_predictions(tmp_path / 'depth', names, [predicted, negative, predicted])
    common = ('--predictions', tmp_path / 'depth', '--prediction', 'depth')
    assert run(tmp_path, *common) == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])['moge']['abs_rel'] == pytest.approx(0, abs=1e-6)
    assert "1 images have no score by MoGe's rule" in out
    assert run(tmp_path, *common, '--align', 'none') == 0
    out = capsys.readouterr().out
    assert json.loads(out.splitlines()[-1])['moge']['abs_rel'] is None and 'none' in out


def test_depth_mistaken_for_inverse_depth_is_pointed_out(sintel, capsys):
    tmp_path, depth, _ = sintel
    names = [f'frame_{i:04d}' for i in (1, 2, 3)]
    save_predictions(tmp_path / 'depth', names, [np.nan_to_num(depth)] * 3)
    assert run(tmp_path, '--predictions', tmp_path / 'depth') == 0
    assert '--prediction depth' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('more', 'complaint'),
    [
        (['--root', 'nowhere'], 'training/depth'),
        (['--predictions', 'nowhere'], '3 of 3 predictions are missing'),
        (['--limit', '0'], '--limit'),
        (['--output', '/dev/null/out'], 'cannot write'),
    ],
)
def test_mistakes_are_one_line_and_status_2(sintel, capsys, more, complaint):
    tmp_path, _, _ = sintel
    assert run(tmp_path, '--predictions', tmp_path / 'saved', *more) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count('\n') == 1


def test_predictions_are_named_by_path_where_stems_repeat(sintel, capsys):
    tmp_path, depth, prediction = sintel
    other = tmp_path / 'data/training'
    for kind in ('final', 'depth'):
        (other / kind / 'bamboo_1').symlink_to(other / kind / 'alley_1')
    assert run(tmp_path, '--predictions', tmp_path / 'saved') == 2
    assert 'named by its path' in capsys.readouterr().err
    for name in ('alley_1', 'bamboo_1'):
        save_predictions(tmp_path / 'saved/final' / name,
                         [f'frame_{i:04d}' for i in (1, 2, 3)], [prediction] * 3)
    assert run(tmp_path, '--predictions', tmp_path / 'saved') == 0
    assert last_line(capsys)['images'] == 6


def test_prediction_of_the_crop_is_taken_and_any_other_resized_then_cropped(tmp_path):
    protocol = Protocol(image_crop=(2, 2))
    sample = type('Named', (), {'name': 'a/b'})
    ramp = np.array([[0.0, 2.0]], dtype=np.float32)
    np.save(tmp_path / 'b.npy', ramp)
    # half-pixel bilinear: columns -.25, .25, .75, 1.25 of the ramp, ends held; the middle stays
    predicted = from_folder(tmp_path, [sample], protocol)(sample, (3, 4))
    np.testing.assert_allclose(predicted, [[0.5, 1.5], [0.5, 1.5]])
    np.save(tmp_path / 'b.npy', np.array([[1.0, 2.0], [3.0, 4.0]]))
    predicted = from_folder(tmp_path, [sample], protocol)(sample, (3, 4))
    assert predicted.tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize('align', ['affine', 'line'])
def test_scoring_saved_predictions_needs_no_torch(sintel, align):
    tmp_path, _, _ = sintel
    code = (
        'import sys; sys.modules["torch"] = None\n'
        'from depth_anything_ros.tools.evaluate import main\n'
        'sys.exit(main(sys.argv[1:]))'
    )
    arguments = ['--dataset', 'sintel', '--root', tmp_path / 'data', '--output', tmp_path / 'out',
                 '--predictions', tmp_path / 'saved', '--align', align]
    done = subprocess.run([sys.executable, '-c', code, *map(str, arguments)], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_checkpoint_is_run_on_the_cropped_image(tmp_path, capsys):
    transformers = pytest.importorskip('transformers')
    import torch

    from depth_anything_ros.network.position_embeddings import use_authors_positions

    torch.manual_seed(0)
    backbone = transformers.Dinov2Config(
        hidden_size=12, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'], reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone, reassemble_hidden_size=12, patch_size=14,
        neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=4, head_hidden_size=4,
    )
    network = transformers.DepthAnythingForDepthEstimation(config).eval()
    use_authors_positions(network)
    network.save_pretrained(tmp_path / 'tiny')
    transformers.DPTImageProcessor(
        size={'height': 56, 'width': 56}, keep_aspect_ratio=True, ensure_multiple_of=14
    ).save_pretrained(tmp_path / 'tiny')

    depth, _ = scene((360, 1220), 4, 80)
    names = miniature.kitti(tmp_path / 'data', [depth])
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 255, (360, 1220, 3), dtype=np.uint8)
    image = next((tmp_path / 'data').rglob('data/*.png'))
    cv2.imwrite(str(image), pixels[..., ::-1])

    common = ['--dataset', 'kitti', '--root', str(tmp_path / 'data'), '--json',
              '--output', str(tmp_path / 'out')]
    assert main([*common, '--checkpoint', str(tmp_path / 'tiny'), '--device', 'cpu']) == 0
    by_network = last_line(capsys)

    # The same by hand: crop, resize to 56 x 196 (1216 * 56 / 352 = 193.5), normalise, upsample.
    crop = torch.from_numpy(pixels[8:, 2:1218].copy()).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(crop, (56, 196), mode='bicubic').float() / 255
    mean, std = (torch.tensor(x).view(1, 3, 1, 1)
                 for x in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        predicted = network((small - mean) / std).predicted_depth[:, None]
    full = torch.nn.functional.interpolate(predicted, (352, 1216), mode='bilinear')[0, 0]
    save_predictions(tmp_path / 'saved', names, [full.numpy()])
    assert main([*common, '--predictions', str(tmp_path / 'saved')]) == 0
    by_hand = last_line(capsys)
    assert by_network['prediction'] == 'inverse_depth' and 'float32' in by_network['arithmetic']
    for space in ('disparity_space', 'depth_space'):
        for key, value in by_hand[space].items():
            assert by_network[space][key] == pytest.approx(value, rel=1e-3), (space, key)


def own_folder(folder, count, known):
    """Write pictures of 20x30 with so many pixels of depth; return the depths."""
    depths = []
    for kind in ('images', 'depth'):
        (folder / kind).mkdir(parents=True)
    for i in range(count):
        depth = np.nan_to_num(scene((20, 30), i, 70)[0], nan=3.0).astype(np.float32)
        depth.flat[known[i % len(known)]:] = 0
        cv2.imwrite(str(folder / f'images/{i:03d}.png'), np.full((20, 30, 3), i, np.uint8))
        np.save(folder / f'depth/{i:03d}.npy', depth)
        depths.append(depth)
    return depths


def test_own_pictures_are_scored_against_another_network(tmp_path, capsys, monkeypatch):
    """The second network is exact; of the first each depth is a tenth too large."""
    depths = own_folder(tmp_path / 'own', 25, (600, 600, 600, 600, 99))

    def network(checkpoint, device, protocol, precision):
        def predict(sample, size):
            depth = depths[int(sample.name)]
            return np.where(depth > 0, depth, 1) * (1.1 if checkpoint == 'one' else 1.0)
        return Source(predict, 'depth', 'a fake', metric=True)

    monkeypatch.setattr('depth_anything_ros.tools.evaluate.from_network', network)
    arguments = ['--dataset', 'own', '--root', str(tmp_path / 'own'), '--checkpoint', 'one',
                 '--against', 'two', '--align', 'none', '--output', str(tmp_path / 'out'), '--json']
    assert main(arguments) == 0
    out = capsys.readouterr().out.splitlines()
    result = json.loads(out[-1])
    assert (result['images'], result['images_without_valid_pixels']) == (20, 5)
    assert result['against']['scored'] == 'two'
    for key in ('mean', 'low', 'high'):
        assert result['against']['abs_rel_difference'][key] == pytest.approx(-0.1, abs=1e-3)
    assert any(line.startswith('two is better: AbsRel 0.1') for line in out)
    assert not any('the protocol has' in line for line in out)
    assert main([*arguments, '--limit', '23']) == 2  # 19 of them have enough
    assert '19 images are too few' in capsys.readouterr().err
    assert main([*arguments, '--split', 'x']) == 2
    assert 'pack --share holds out a part' in capsys.readouterr().err


def relative_network(depths, checkpoint):
    """Return a source of 2 / z + 1 in the place of from_network.

    The network 'refused' says the opposite of its last image, and of the first one's last row that
    it is far beyond any depth.
    """
    def predict(sample, size):
        depth = np.where(depths[int(sample.name)] > 0, depths[int(sample.name)], 1)
        prediction = 2 / depth + 1
        if checkpoint == 'refused' and sample.name.endswith('24'):
            prediction = 3 - prediction
        if checkpoint == 'refused' and int(sample.name) == 0:
            prediction[-1] = 1e-3 * prediction[0]
        return prediction
    return Source(predict, 'inverse_depth', 'a fake', metric=False)


def test_own_pictures_and_relative_networks_are_scored_as_the_node_would_publish(
    tmp_path, capsys, monkeypatch
):
    depths = own_folder(tmp_path / 'own', 25, (600,))
    monkeypatch.setattr('depth_anything_ros.tools.evaluate.from_network',
                        lambda checkpoint, *_: relative_network(depths, checkpoint))
    arguments = ['--dataset', 'own', '--root', str(tmp_path / 'own'), '--checkpoint', 'right',
                 '--against', 'refused', '--output', str(tmp_path / 'out'), '--json']
    assert main(arguments) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    found = json.loads(last)
    assert (found['align'], found['coverage'], found['images_refused']) == ('node', 1, 0)
    assert found['depth_space']['abs_rel'] == pytest.approx(0, abs=1e-3)
    # one of 25 images in full; of another the last row, half of it white
    board = (np.arange(20)[:, None] // 2 + np.arange(30) // 2) % 2
    other = found['against']
    missed = 1 + board[-1].sum() / board.sum()
    assert other['images_refused'] == 1
    assert other['coverage'] == pytest.approx(1 - missed / 25)
    stretches = np.zeros(10)  # of 3 or 2 images
    stretches[0], stretches[-1] = board[-1].sum() / board.sum() / 3, 1 / 2
    assert other['abs_rel_difference']['mean'] == pytest.approx(stretches.mean(), abs=1e-3)
    assert any(line.startswith("refused: 1 images get none at all: the node's fit refuses them, "
                               'first 00000024 (nearer anchors') for line in lines)
    assert any(line.startswith(f'refused: {missed / 25:.1%} of the pixels get no depth')
               for line in lines)
    with (tmp_path / 'out/own.csv').open() as file:
        assert [line['coverage'] for line in csv.DictReader(file)] == ['1.0'] * 25
    assert main([*arguments, '--align', 'affine']) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])['align'] == 'affine'


def test_networks_that_are_both_metric_are_scored_as_they_are(tmp_path, capsys, monkeypatch):
    depths = own_folder(tmp_path / 'own', 20, (600,))
    metric = {'one', 'two'}

    def network(checkpoint, *_):
        source = relative_network(depths, checkpoint)
        return source._replace(metric=checkpoint in metric)

    monkeypatch.setattr('depth_anything_ros.tools.evaluate.from_network', network)
    for checkpoint, against, align in (('one', [], 'none'), ('one', ['--against', 'two'], 'none'),
                                       ('one', ['--against', 'relative'], 'node')):
        assert main(['--dataset', 'own', '--root', str(tmp_path / 'own'), '--checkpoint',
                     checkpoint, *against, '--output', str(tmp_path / 'out'), '--json']) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found['align'] == align
        assert (found['depth_space']['abs_rel'] < 1e-3) == (align == 'node')
