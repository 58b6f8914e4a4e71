# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""How long each stage of a frame took, without stalling the device."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Collects laps; on CUDA they are events on the device's stream, read after wait()."""

    def __init__(self, device: torch.device) -> None:
        """Start the first lap."""
        self._device = device
        self._cuda = device.type == 'cuda'
        self._laps: list[tuple[str, float | torch.cuda.Event]] = [('', self._now())]

    def _now(self) -> float | torch.cuda.Event:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def lap(self, name: str) -> None:
        """End the current stage under this name and start the next."""
        self._laps.append((name, self._now()))

    def wait(self) -> None:
        """Wait until the device has done all that was queued on its stream, laps included."""
        if self._cuda:
            torch.cuda.current_stream(self._device).synchronize()

    def milliseconds(self) -> dict[str, float]:
        """Return stage -> duration in ms, after wait()."""
        result: dict[str, float] = {}
        for (_, start), (name, end) in zip(self._laps, self._laps[1:]):
            if isinstance(start, float) and isinstance(end, float):
                duration = (end - start) * 1e3
            else:
                assert not isinstance(start, float) and not isinstance(end, float)
                duration = start.elapsed_time(end)
            result[name] = result.get(name, 0.0) + duration
        return result
