# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long one image takes to become packed depth and cloud, beside what people run instead.

    python benchmarks/latency.py [--device cuda] [--models S B L] [--authors CHECKOUT] [--json]

All rows run in turn on the same image and the same random weights, so load on the machine meets
them alike: (a) this pipeline with its lidar fit and refinement, (b) transformers' pipeline in its
defaults and NumPy, (c) the authors' code. Speed does not depend on the weights' values. On a CPU
all compute in float32; lower precision and smaller inputs have rows of their own at the last
camera. What the former cost with these weights is told beside their rows, and with trained ones by
checkpoint_accuracy.py --precision and --input-size. Where other work shares the machine, believe
the ratio of processor time, with --threads 1.

With --sources only what each source of metres takes of one core is measured (source_cost.py).
With --against CHECKOUT only what surrounds the network is timed, on one CPU thread, frame by frame
in turn with another checkout of this repository.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
import json
import os
from pathlib import Path
import platform
import resource
import tempfile
import time
from typing import Any

from around_network import compare, lidar_for, picture, print_comparison
import numpy as np
from numpy.typing import NDArray
from rivals import AuthorsCode, TransformersUser
from source_cost import print_source_cost, source_cost
import torch

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import Config, ModelConfig, RuntimeConfig, with_values
from depth_anything_ros.errors import BackendError, DepthAnythingError
from depth_anything_ros.metric_depth.scale import State
from depth_anything_ros.network import official_weights
from depth_anything_ros.network.cache import cached
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.devices import select_device
from depth_anything_ros.network.predictor import load_predictor
from depth_anything_ros.network.preprocessing import network_size
from depth_anything_ros.network.quantisation import FEWEST_IMAGES, quantise
from depth_anything_ros.network.self_check import abs_rel_from, small_size
from depth_anything_ros.network.threads import torch_threads
from depth_anything_ros.pipeline import DepthPipeline
from depth_anything_ros.stopwatch import Stopwatch

WIDTHS = {'S': 384, 'B': 768, 'L': 1024}
CAMERAS = {'square': (518, 518), '4:3': (480, 640)}  # rows, columns; 518x518 and 518x686 inside
WARM_UP_ROUNDS, LEAST_ROUNDS = 2, 3
OURS, USERS, AUTHORS = 'this pipeline', 'transformers', 'authors'

Row = dict[str, float]


@dataclass(frozen=True)
class Case:
    """One network at one camera."""

    model: str
    rows: int
    columns: int
    input_size: int


@dataclass(frozen=True)
class Limit:
    """When a case is done: so many rounds, or so much time and at least LEAST_ROUNDS."""

    rounds: int
    seconds: float


def save_random_network(model: str, folder: Path) -> None:
    """Write a network of official size with weights that make a lively, positive prediction."""
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    width = WIDTHS[model]
    config = official_weights.transformers_config(
        width, official_weights.ARCHITECTURES[width], 'v2', image_size=518
    )
    torch.manual_seed(0)
    network = DepthAnythingForDepthEstimation(DepthAnythingConfig(**config))
    with torch.no_grad():
        for weight in (p for p in network.parameters() if p.ndim > 1):
            weight.normal_(0, weight[0].numel() ** -0.5)
        network.head.conv3.weight.abs_()
    network.save_pretrained(folder)


def save_preprocessor(folder: Path, input_size: int) -> None:
    """Write the preprocessing of the published checkpoints, for transformers and for us."""
    wants = {
        'image_processor_type': 'DPTImageProcessor',
        'do_resize': True,
        'do_rescale': True,
        'do_normalize': True,
        'rescale_factor': 1 / 255,
        'size': {'height': input_size, 'width': input_size},
        'keep_aspect_ratio': True,
        'ensure_multiple_of': 14,
        'resample': 3,
        'image_mean': [0.485, 0.456, 0.406],
        'image_std': [0.229, 0.224, 0.225],
    }
    (folder / 'preprocessor_config.json').write_text(json.dumps(wants))


class Ours:
    """This pipeline with lidar: fit and refinement on; the same without refinement timed apart."""

    def __init__(
        self, config: Config, folder: Path, camera: Camera, image: NDArray[np.uint8]
    ) -> None:
        model = replace(config.model, checkpoint=str(folder))
        predictor = load_predictor(model, config.runtime)
        self.backend = predictor.backend
        self._device = predictor.device
        self._camera = camera
        self._full = DepthPipeline(predictor, config)
        self._unrefined = DepthPipeline(predictor, with_values(config, {'scale.refine': False}))
        self.prediction = self._full.predict(image, camera).values.cpu().numpy()
        self._points = lidar_for(self.prediction, camera)
        self._round = 0

    def __call__(self, image: NDArray[np.uint8]) -> Row:
        """Run everything once, then the part after the network again without refinement."""
        with torch_threads(1):  # as the node runs it; the network has its own
            return self._once(image)

    def _once(self, image: NDArray[np.uint8]) -> Row:
        self._round += 1
        stamp_ns = self._round * 100_000_000
        points = replace(self._points, stamp_ns=stamp_ns)
        T_camera_lidar = np.eye(4)
        start, start_cpu = time.perf_counter(), time.process_time()
        prediction = self._full.predict(image, self._camera)
        frame = self._full.measure(prediction, points, T_camera_lidar, stamp_ns=stamp_ns)
        end, end_cpu = time.perf_counter(), time.process_time()
        if frame.fit.state is not State.FITTED or frame.points is None:
            raise SystemExit(f'the benchmark\'s own lidar did not anchor: {frame.fit.reason}')
        stages = dict(frame.timings_ms)

        again = replace(prediction, watch=Stopwatch(self._device))
        plain = self._unrefined.measure(again, points, T_camera_lidar, stamp_ns=stamp_ns)
        before = sum(stages.get(name, 0.0) for name in ('preprocess', 'upsample'))
        refinement = stages['metric'] - plain.timings_ms['metric']
        return {
            **stages,
            'total': (end - start) * 1e3,
            'processor time': (end_cpu - start_cpu) * 1e3,
            'outside the network': before + sum(plain.timings_ms.values()),
            'refinement': refinement,
        }


def save_int8(folder: Path, path: Path) -> None:
    """Write a network in 8 bits, calibrated on small random pictures."""
    checkpoint = open_checkpoint(folder, ModelConfig(checkpoint=str(folder)))
    height, width = small_size(checkpoint.spec)
    inputs = []
    for seed in range(FEWEST_IMAGES):
        image = torch.from_numpy(picture(height, width, seed)).permute(2, 0, 1)[None]
        inputs.append(image.float() / 64 - 2)  # about as normalised
    quantise(cached(checkpoint), inputs, path)


def cheaper(config: Config, input_size: int) -> dict[str, Config]:
    """Return the rows that trade accuracy for time: less precision, smaller inputs."""
    rows = {}
    if config.runtime.precision == 'float32':
        for precision in ('bfloat16', 'int8'):
            rows[precision] = with_values(config, {'runtime.precision': precision})
    for side in (input_size * 28 // 518 * 14, input_size * 22 // 518 * 14):  # 392 and 308 for 518
        rows[f'input {side}'] = with_values(config, {'model.input_size': side})
    return rows


def measure(
    case: Case, config: Config, folder: Path, limit: Limit, authors: Path | None, *, vary: bool
) -> dict[str, Any]:
    """Run all rows of one case in turn until the limit; with `vary`, the cheaper ones too.

    Returns:
        The case, and per row the p50 and p99 of every stage in milliseconds.
    """
    focal = 0.9 * case.columns
    K = [[focal, 0, case.columns / 2], [0, focal, case.rows / 2], [0, 0, 1]]
    camera = Camera.from_calibration(case.columns, case.rows, K)
    image = picture(case.rows, case.columns)
    save_preprocessor(folder, case.input_size)
    device = select_device(config.runtime.device)
    ours = Ours(config, folder, camera, image)
    runners: dict[str, Callable[[NDArray[np.uint8]], Row]] = {
        OURS: ours, USERS: TransformersUser(folder, camera, device)
    }
    if authors is not None:
        runners[AUTHORS] = AuthorsCode(authors, folder, camera, case.input_size, device)
    losses = {}
    for name, cheap in cheaper(config, case.input_size).items() if vary else ():
        try:
            source = folder
            if name == 'int8':
                source = folder.with_name('int8.onnx')
                save_int8(folder, source)
            row = runners[f'{OURS}, {name}'] = Ours(cheap, source, camera, image)
            if cheap.runtime.precision != config.runtime.precision:
                losses[name] = abs_rel_from(row.prediction, ours.prediction, metric=False)
                print(f'{name}: {row.backend}; AbsRel {losses[name]:.4f} from float32 here')
        except BackendError as error:
            print(f'no row {name}: {error}')
    samples: dict[str, list[Row]] = {name: [] for name in runners}
    device_mib: dict[str, float] = {}
    deadline = time.monotonic() + limit.seconds
    for turn in range(-WARM_UP_ROUNDS, limit.rounds):
        if turn >= LEAST_ROUNDS and time.monotonic() > deadline:
            break
        for name, run in runners.items():
            if device.type == 'cuda':
                torch.cuda.reset_peak_memory_stats()
            sample = run(image)
            if turn >= 0:
                samples[name].append(sample)
            if device.type == 'cuda':
                device_mib[name] = torch.cuda.max_memory_allocated() / 2**20
    totals, processor = (
        {name: np.array([row[stage] for row in rows]) for name, rows in samples.items()}
        for stage in ('total', 'processor time')
    )
    height, width = network_size(case.rows, case.columns, case.input_size, 14)
    return {
        'model': f'ViT-{case.model}',
        'network_input': f'{height}x{width}',
        'image': f'{case.rows}x{case.columns}',
        'backend': ours.backend,
        'rounds': len(samples[OURS]),
        'stages_ms': {name: summary(rows) for name, rows in samples.items()},
        'ratio_vs_transformers': float(np.median(totals[OURS] / totals[USERS])),
        'ratios_vs_transformers': {
            name: round(float(np.median(total / totals[USERS])), 4)
            for name, total in totals.items()
        },
        'processor_ratios_vs_transformers': {
            name: round(float(np.median(spent / processor[USERS])), 4)
            for name, spent in processor.items()
        },
        'abs_rel_from_float32': losses,
        'ratio_vs_authors': (
            float(np.median(totals[OURS] / totals[AUTHORS])) if authors else None
        ),
        'device_peak_mib': device_mib,  # with every row's weights resident
    }


def summary(rows: list[Row]) -> dict[str, dict[str, float]]:
    """Return the p50 and p99 of every stage."""
    return {
        stage: {
            f'p{q}': round(float(np.percentile([row[stage] for row in rows], q)), 3)
            for q in (50, 99)
        }
        for stage in rows[0]
    }


def print_case(case: dict[str, Any]) -> None:
    """Print one case as a table for people."""
    print(
        f"\n{case['model']} at {case['network_input']} (image {case['image']}), "
        f"{case['rounds']} rounds; ours on {case['backend']}, the others in float32"
    )
    for name, stages in case['stages_ms'].items():
        print(f'  {name:<28} {"p50 ms":>9} {"p99 ms":>9}')
        for stage, value in stages.items():
            print(f'    {stage:<26} {value["p50"]:9.2f} {value["p99"]:9.2f}')
        if name in case['device_peak_mib']:
            print(f'    device memory, peak MiB {case["device_peak_mib"][name]:12.0f}')
    for name, ratio in case['ratios_vs_transformers'].items():
        spent = case['processor_ratios_vs_transformers'][name]
        print(f'  over transformers\': time {ratio:.3f}, processor time {spent:.3f}  {name}')
    if case['ratio_vs_authors'] is not None:
        print(f'  time over the authors\' {case["ratio_vs_authors"]:.3f}', end='')
    print(flush=True)


def main() -> None:
    """Measure, print a table, and with --json one JSON object as the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda or cuda:N')
    parser.add_argument(
        '--precision', help='auto, float32, float16, bfloat16; default: float32 on a CPU, else auto'
    )
    parser.add_argument(
        '--backend', default='auto', help='auto, torch, onnxruntime, openvino'
    )
    parser.add_argument('--models', nargs='+', choices=WIDTHS, help='default: S; S B L on CUDA')
    parser.add_argument('--rounds', type=int, help='per case; default: 15, on CUDA 200')
    parser.add_argument('--seconds', type=float, default=60.0, help='per case, if sooner')
    parser.add_argument('--threads', type=int, help='CPU threads, for all rows')
    parser.add_argument('--authors', type=Path, help='checkout of Depth-Anything-V2')
    parser.add_argument('--against', type=Path, help='other checkout: around the network only')
    parser.add_argument('--sources', action='store_true', help='what sources of metres take only')
    parser.add_argument('--quick', action='store_true', help='small images, 2 rounds: a test')
    parser.add_argument('--json', action='store_true', help='end with one JSON object')
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.sources:
        rows = source_cost(arguments.rounds or 30)
        print_source_cost(rows)
        if arguments.json:
            print(json.dumps({'sources': rows}))
        return
    if arguments.against:
        stages = compare(arguments.against, arguments.rounds or 100)
        print_comparison(stages)
        if arguments.json:
            print(json.dumps({'against': stages}))
        return
    try:
        report = run(arguments)
    except DepthAnythingError as error:
        raise SystemExit(str(error)) from error
    if arguments.json:
        print(json.dumps(report))


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure every case and return the report."""
    device = select_device(arguments.device)
    on_cuda = device.type == 'cuda'
    config = Config(
        model=ModelConfig(),
        runtime=RuntimeConfig(
            device=str(device),
            precision=arguments.precision or ('auto' if on_cuda else 'float32'),
            backend=arguments.backend,
            threads=torch.get_num_threads(),
        ),
    )
    models = arguments.models or (['S', 'B', 'L'] if on_cuda else ['S'])
    rounds = arguments.rounds or (2 if arguments.quick else 200 if on_cuda else 15)
    limit = Limit(rounds, arguments.seconds)
    shapes = [(120, 160, 126)] if arguments.quick else [(*s, 518) for s in CAMERAS.values()]
    cases, load_s = [], {}
    for model in models:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name, 'checkpoint')
            os.environ['XDG_CACHE_HOME'] = str(Path(name, 'cache'))  # empty: cold
            save_random_network(model, folder)
            save_preprocessor(folder, shapes[0][2])
            load_s[f'ViT-{model}'] = loading_times(config, folder)
            for shape in shapes:
                case = measure(
                    Case(model, *shape), config, folder, limit, arguments.authors,
                    vary=shape is shapes[-1],
                )
                print_case(case)
                cases.append(case)
    headline = cases[len(shapes) - 1]  # the first model (ViT-S unless asked otherwise) at 4:3
    ours = headline['stages_ms'][OURS]
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'\npeak resident memory of this process, all rows together: {peak_mib:.0f} MiB')
    return {
        'headline': f"{headline['model']} at {headline['network_input']}",
        'ratio_vs_transformers': round(headline['ratio_vs_transformers'], 4),
        'non_network_ms_p50': ours['outside the network']['p50'],
        'refinement_ms_p50': ours['refinement']['p50'],
        'device': torch.cuda.get_device_name(device) if on_cuda else platform.processor() or 'cpu',
        'threads': torch.get_num_threads(),
        'torch': torch.__version__,
        'peak_rss_mib': round(peak_mib),
        'load_s': load_s,
        'cases': cases,
    }


def loading_times(config: Config, folder: Path) -> dict[str, float]:
    """Return how long the network takes to load, self-check included, first and again."""
    times = {}
    for start in ('cold', 'warm'):
        began = time.monotonic()
        load_predictor(replace(config.model, checkpoint=str(folder)), config.runtime)
        times[start] = round(time.monotonic() - began, 2)
    print(f'loading the network: {times["cold"]:.1f} s cold, {times["warm"]:.1f} s warm')
    return times


if __name__ == '__main__':
    main()
