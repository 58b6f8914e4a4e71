# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Write a checkpoint as one .onnx file that takes images of any size (multiples of the patch).

    export_onnx depth-anything/Depth-Anything-V2-Small-hf small.onnx
    export_onnx bundled fixed.onnx --size 140x182

The file carries what the network predicts and a self-check. Give it as model.checkpoint to the
node, or to any program that runs ONNX: input `image`, 1x3xhxw float32, normalised; output
`prediction`, 1xhxw float32.
"""

from __future__ import annotations

import argparse
from pathlib import Path
import re
import sys

from depth_anything_ros.config import ModelConfig
from depth_anything_ros.errors import DepthAnythingError
from depth_anything_ros.network import onnx_file
from depth_anything_ros.network.backends import require
from depth_anything_ros.network.checkpoint import open_checkpoint
from depth_anything_ros.network.hub import locate


def size(text: str) -> tuple[int, int]:
    """Parse HEIGHTxWIDTH."""
    if not re.fullmatch(r'[1-9]\d*x[1-9]\d*', text):
        raise argparse.ArgumentTypeError(f'"{text}" is not HEIGHTxWIDTH, such as 518x686')
    height, width = map(int, text.split('x'))
    return height, width


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
    arguments = parser.parse_args()
    model = ModelConfig(
        checkpoint=arguments.checkpoint, variant=arguments.variant, max_depth=arguments.max_depth
    )
    try:
        require('onnxruntime')
        checkpoint = open_checkpoint(locate(arguments.checkpoint), model)
        onnx_file.export(checkpoint.load(), checkpoint.spec, arguments.output, arguments.size)
    except (DepthAnythingError, OSError) as error:
        print(f'export_onnx: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
