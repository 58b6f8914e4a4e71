# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Find what model.checkpoint names: bundled, a path, or an id on the hub."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
import re
import sys

from depth_anything_ros.errors import CheckpointError

# Names that load: the table of docs/networks.md, and what the launch file lists.
KNOWN = (
    'bundled',
    'LiheYoung/depth-anything-small-hf',
    'LiheYoung/depth-anything-base-hf',
    'LiheYoung/depth-anything-large-hf',
    'depth-anything/Depth-Anything-V2-Small-hf',
    'depth-anything/Depth-Anything-V2-Base-hf',
    'depth-anything/Depth-Anything-V2-Large-hf',
    'depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf',
    'depth-anything/Depth-Anything-V2-Metric-Indoor-Base-hf',
    'depth-anything/Depth-Anything-V2-Metric-Indoor-Large-hf',
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Small-hf',
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Base-hf',
    'depth-anything/Depth-Anything-V2-Metric-Outdoor-Large-hf',
    'depth-anything/DA3METRIC-LARGE',
    'depth-anything/DA3MONO-LARGE',
    'depth-anything/DA3-SMALL',
    'depth-anything/DA3-BASE',
    'apple/DepthPro-hf',
    'Intel/dpt-large',
    'Intel/dpt-hybrid-midas',
    'Intel/zoedepth-nyu',
    'Intel/zoedepth-kitti',
    'Intel/zoedepth-nyu-kitti',
    'vinvino02/glpn-nyu',
    'vinvino02/glpn-kitti',
)
_FILES = ('.pth', '.pt', '.safetensors', '.onnx')
_ALIKE = 0.75  # of difflib's ratio, from which a name may be meant for another one


def locate(checkpoint: str, *, download: bool = True) -> Path:
    """Find the folder or file that model.checkpoint names, downloading it where it is a hub id.

    Args:
        checkpoint: a name, path or hub id.
        download: whether a hub id that is not in the local cache is asked for on the hub.

    Raises:
        CheckpointError: there is no such thing.
    """
    if checkpoint == 'bundled':
        return _bundled()
    if not checkpoint:
        raise CheckpointError(
            'model.checkpoint is empty: give a hub id, a folder, a .pth or .onnx file, or '
            '"bundled"'
        )
    path = Path(os.path.expanduser(checkpoint))
    if os.path.isdir(path) or os.path.isfile(path):  # which raise nothing, whatever the name
        return path
    if re.fullmatch(r'\w[\w.-]*/\w[\w.-]*', checkpoint) and path.suffix not in _FILES:
        return _download(checkpoint) if download else _download(checkpoint, (True,))
    raise CheckpointError(
        f'model.checkpoint {checkpoint[:200]!r} is no file or folder (from {Path.cwd()}) and no '
        f'hub id: {_instead(checkpoint)}give a path, an id such as '
        'depth-anything/Depth-Anything-V2-Small-hf, or "bundled"'
    )


def _instead(checkpoint: str) -> str:
    """Ask for the known name that is nearest to one that is none; empty where there is no such."""
    whole = {name.lower(): name for name in KNOWN}
    without_owner = {name.rpartition('/')[2]: known for name, known in whole.items()}
    for names in (whole, without_owner):
        if near := difflib.get_close_matches(checkpoint[:200].lower(), names, 1, _ALIKE):
            known = names[near[0]]
            return f'did you mean {known}? Else ' if known != checkpoint else ''
    return ''


def _bundled() -> Path:
    """Find the demo's checkpoint, installed by colcon or pip, or in the source tree."""
    package, inside = 'depth_anything_ros', Path('checkpoints/depth_anything_world_tiny')
    shares = [Path(sys.prefix, 'share', package), Path(__file__).parents[2]]
    try:
        from ament_index_python.packages import get_package_share_path

        shares.insert(0, get_package_share_path(package))
    except (ImportError, LookupError, OSError):  # no ROS, or not sourced, or not in it
        pass
    for share in shares:
        if (share / inside).is_dir():
            return share / inside
    raise CheckpointError(
        'the bundled checkpoint is not installed (looked for '
        f'{", ".join(str(share / inside) for share in shares)}): install the package, or name '
        'another model.checkpoint'
    )


def _download(hub_id: str, ways: tuple[bool, ...] = (True, False)) -> Path:
    """Return the local copy of a hub repository; the network is asked only when there is none.

    Args:
        hub_id: owner and name.
        ways: whether to stay offline, in turn.

    The hub's client downloads in threads of its own, which no exception ends: a program that must
    end during a download (a signal) must not wait for this thread, nor for those.
    """
    import huggingface_hub
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    cache = HF_HUB_CACHE
    if not os.path.isabs(cache):
        raise CheckpointError(
            f'model.checkpoint "{hub_id}" is no local folder, and there is no place to download it '
            f'to ("{cache}"): set HOME or HF_HOME to a folder that can be written'
        )
    for offline in ways:
        for weights in ('*.safetensors', 'pytorch_model*.bin'):
            try:
                folder = Path(
                    huggingface_hub.snapshot_download(
                        hub_id, allow_patterns=['*.json', weights], local_files_only=offline
                    )
                )
            except (RepositoryNotFoundError, GatedRepoError, HFValidationError) as error:
                raise CheckpointError(
                    f'model.checkpoint "{hub_id}" is no local folder, and the hub does not give '
                    f'it out: {_instead(hub_id)}check the spelling, or log in with `hf auth login` '
                    'if it is gated'
                ) from error
            except LocalEntryNotFoundError as error:
                if offline:
                    break
                raise CheckpointError(
                    f'model.checkpoint "{hub_id}" is no local folder, is not in the local cache, '
                    f'and the hub cannot be reached: {_instead(hub_id)}connect to the network '
                    'once, or copy the checkpoint here and give its path'
                ) from error
            except (HfHubHTTPError, OSError) as error:
                reason = ' '.join(str(error).split())[:120]
                raise CheckpointError(
                    f'model.checkpoint "{hub_id}" cannot be downloaded ({reason}): try again, or '
                    'copy the checkpoint here and give its path'
                ) from error
            if (folder / 'config.json').is_file() and any(folder.glob(weights)):
                return folder
    if False not in ways:
        raise CheckpointError(
            f'model.checkpoint "{hub_id}" is no local folder and not in the local cache: '
            f'{_instead(hub_id)}start the node once where the hub can be reached, or copy the '
            'checkpoint here and give its path, or take "bundled"'
        )
    raise CheckpointError(
        f'model.checkpoint "{hub_id}" exists on the hub but has no config.json with weights '
        f'beside it: {_instead(hub_id)}choose one of docs/networks.md (for Depth Anything 1 and 2 '
        'its name ends in -hf), or download the .pth and give its path'
    )
