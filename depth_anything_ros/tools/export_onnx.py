# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write a checkpoint as one .onnx file that takes images of any size (multiples of the patch).

    export_onnx depth-anything/Depth-Anything-V2-Small-hf small.onnx
    export_onnx bundled fixed.onnx --size 140x182
    export_onnx depth-anything/Depth-Anything-V2-Small-hf int8.onnx --int8 --images BAG

With --int8 the network is quantised to 8 bits, calibrated on your camera's images (a folder of .png
and .jpg files, or a ROS 2 bag), of which every fourth is held out. It is written if it says of
these what the float32 network says, and refused with the numbers otherwise.

The file carries what the network predicts and a self-check. Give it as model.checkpoint to the
node, or to any program that runs ONNX: input `image`, 1x3xhxw float32, normalised; output
`prediction`, 1xhxw float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import re
import sys
import tempfile

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor
import torch.nn.functional as F

from depth_anything_ros.camera import Camera
from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.network import onnx_file
from depth_anything_ros.network.backends import require
from depth_anything_ros.network.checkpoint import Checkpoint, open_checkpoint
from depth_anything_ros.network.hub import locate
from depth_anything_ros.network.preprocessing import Preprocessor
from depth_anything_ros.network.quantisation import MOST_IMAGES, quantise
from depth_anything_ros.network.spec import ModelSpec
from depth_anything_ros.training.pictures import read_pictures


def size(text: str) -> tuple[int, int]:
    """Parse HEIGHTxWIDTH."""
    if not re.fullmatch(r'[1-9]\d*x[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f'"{text}" is not HEIGHTxWIDTH, such as 518x686')
    height, width = map(int, text.split('x'))
    return height, width


def export_int8(
    checkpoint: Checkpoint, path: Path, images: Path, fixed: tuple[int, int] | None
) -> None:
    """Write a checkpoint in 8 bits and print what that costs and saves.

    Args:
        checkpoint: what to export.
        path: the .onnx file to write.
        images: folder or bag; see read_pictures().
        fixed: as --size.
    """
    inputs = [_network_input(i, checkpoint.spec, fixed) for i in read_pictures(images, MOST_IMAGES)]
    with tempfile.TemporaryDirectory() as folder:
        exact = Path(folder, 'float32.onnx')
        onnx_file.export(checkpoint.load(), checkpoint.spec, exact, fixed)
        file = onnx_file.read(exact, trusted=True)
        assert file is not None
        cost = quantise(file, inputs, path)
    print(
        f'{path}: AbsRel {cost.abs_rel:.4f} from float32 on {cost.images} held-out images, '
        f'{cost.time:.2f} of its time on this processor'
    )


def _network_input(
    image_rgb: NDArray[np.uint8], spec: ModelSpec, fixed: tuple[int, int] | None
) -> Tensor:
    height, width, _ = image_rgb.shape
    camera = Camera(width, height, np.diag([width, width, 1.0]))  # no lens: pictures as they are
    prepared = Preprocessor(camera, spec, 0, torch.device('cpu'))(image_rgb)
    return F.interpolate(prepared, fixed, mode='bicubic') if fixed else prepared


def main() -> int:
    """Command line."""
    defaults = ModelConfig()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('checkpoint', help='as model.checkpoint of the node')
    parser.add_argument('output', type=Path, help='the .onnx file to write')
    parser.add_argument('--size', type=size, help='HEIGHTxWIDTH: an input of this size only')
    parser.add_argument('--variant', default=defaults.variant, help='as model.variant')
    parser.add_argument('--max-depth', type=float, default=defaults.max_depth,
                        help='as model.max_depth, metres')
    parser.add_argument('--int8', action='store_true', help='in 8 bits, calibrated on --images')
    parser.add_argument('--images', type=Path, help='folder of pictures, or a ROS 2 bag')
    arguments = parser.parse_args()
    if arguments.int8 != (arguments.images is not None):
        parser.error('--int8 and --images go together')
    model = ModelConfig(
        checkpoint=arguments.checkpoint, variant=arguments.variant, max_depth=arguments.max_depth
    )
    try:
        require('onnxruntime')
        checkpoint = open_checkpoint(locate(arguments.checkpoint), model)
        if arguments.int8:
            export_int8(checkpoint, arguments.output, arguments.images, arguments.size)
        else:
            onnx_file.export(checkpoint.load(), checkpoint.spec, arguments.output, arguments.size)
    except (DepthAnythingError, OSError) as error:
        print(f'export_onnx: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
