# Copyright 2026 The depth_anything_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Graphics cards that are not there: tensors say cuda:N, and compute on the CPU.

What a card would refuse, or get wrong, fails here too: tensors of two devices in one operation, a
host that reads a copy before it waited, events that are timed before they are over, and streams
and events of the device that happens to be the current one. Kernels themselves are not tried.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from functools import partial
from unittest import mock

from launches import Launches
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CPU = torch.device('cpu')
_GATHERS = ('aten::index', 'aten::index_put')  # take indices from the host, as PyTorch does


class CardTensor(torch.Tensor):
    """A tensor on a card; its values lie in `inside`, on the CPU."""

    @staticmethod
    def __new__(cls, inside, where):
        return torch.Tensor._make_wrapper_subclass(
            cls, inside.size(), strides=inside.stride(), dtype=inside.dtype,
            storage_offset=inside.storage_offset(),
        )

    def __init__(self, inside, where):
        self.inside, self.where = inside, where

    @property
    def device(self):
        """Say which card it is on."""
        return self.where

    @property
    def is_cuda(self):
        """Say that it is on a card."""
        return True

    def __repr__(self):
        return f'CardTensor({self.inside}, {self.where})'

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        # What reads the device of another tensor below Python would find the CPU there.
        kwargs = kwargs or {}
        if func is torch.Tensor.to and len(args) > 1 and isinstance(args[1], torch.Tensor):
            return args[0].to(args[1].device, args[1].dtype)
        if func is torch.Tensor.new_tensor:
            return torch.tensor(args[1], dtype=args[0].dtype, device=args[0].device)
        if func is torch.Tensor.tolist:
            return args[0].cpu().tolist()
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f'{func} outside of FakeCards')


class Stream:
    """Work queued on a card that the host has not waited for."""

    def __init__(self):
        self.queue = []
        self.waits = 0

    def synchronize(self):
        """Do what is queued."""
        self.waits += 1
        while self.queue:
            self.queue.pop(0)()


class Event:
    """A mark on a stream."""

    def __init__(self, cards):
        self.cards, self.is_over = cards, False

    def record(self, stream=None):
        """Mark the end of what is queued."""
        stream = stream or self.cards.stream()
        stream.queue.append(self._end)

    def _end(self):
        self.is_over = True

    def elapsed_time(self, end):
        """Return 1 ms, if both are over."""
        if not (self.is_over and end.is_over):
            raise RuntimeError('Both events must be completed before calculating elapsed time.')
        return 1.0


class FakeCards(TorchDispatchMode):
    """Two cards; the first is the current one, as in every new thread.

    Attributes:
        launches: what both were asked for.
    """

    # PyTorch asks for no driver where a mode stands in this slot.
    _mode_key = torch._C._TorchDispatchModeKey.FAKE

    def __init__(self):
        super().__init__()
        self.current = 0
        self.streams = [Stream(), Stream()]
        self.launches = Launches()

    def stream(self, device=None):
        """Return the current stream of a card."""
        index = None if device is None else torch.device(device).index
        return self.streams[self.current if index is None else index]

    @contextmanager
    def device(self, device):
        """Make a card the current one."""
        before, self.current = self.current, torch.device(device).index
        try:
            yield
        finally:
            self.current = before

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func._schema.name
        if name == 'aten::pin_memory':
            return args[0]
        kwargs.pop('pin_memory', None)
        told = bind(func, args, kwargs)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        devices = {x.device for x in tensors if x.ndim or isinstance(x, CardTensor)}
        wanted = told.get('device')
        if name == 'aten::copy_':
            return self._copy(*args, **kwargs)
        if len(devices) > 1 and name not in _GATHERS:
            raise RuntimeError(
                f'Expected all tensors to be on the same device, but {name} got {devices}'
            )
        where = next((d for d in devices if d.type == 'cuda'), CPU)
        if wanted is not None:
            where = torch.device(wanted)
            if where.type == 'cuda' and where.index is None:
                where = torch.device('cuda', self.current)
            args, kwargs = on_the_cpu(func, args, kwargs)
        if tensors and tensors[0].device != where and name in ('aten::_to_copy', 'aten::to'):
            self.launches.copied(where, told.get('non_blocking', False))
        host = where == CPU and not devices - {CPU}
        with nullcontext() if host else self.launches:
            result = func(*tree_map(inside, args), **tree_map(inside, kwargs))
        if func._schema.is_mutable and isinstance(result, torch.Tensor):
            changed = kwargs.get('out', args[0])
            if isinstance(changed, CardTensor) and changed.shape == result.shape:
                return changed
        if where == CPU:
            return result
        return tree_map(partial(on_card, where), result)

    def _copy(self, target, source, non_blocking=False):
        def copy():
            inside(target).copy_(inside(source))

        if target.device != source.device:
            self.launches.copied(target.device, non_blocking)
        if non_blocking and isinstance(source, CardTensor) and not isinstance(target, CardTensor):
            inside(target).fill_(77)  # what the host reads until it has waited
            self.stream(source.device).queue.append(copy)
        else:
            copy()
        return target


def on_card(where, value):
    """Put a result on a card."""
    return CardTensor(value, where) if isinstance(value, torch.Tensor) else value


def inside(value):
    """Return the tensor that computes."""
    return value.inside if isinstance(value, CardTensor) else value


def bind(func, args, kwargs):
    """Return name -> value of the arguments of an operation."""
    names = [argument.name for argument in func._schema.arguments]
    return {**dict(zip(names, args)), **kwargs}


def on_the_cpu(func, args, kwargs):
    """Return arguments that name the CPU where they named a card."""
    names = [argument.name for argument in func._schema.arguments]
    args = tuple(CPU if name == 'device' else x for name, x in zip(names, args))
    return args, {name: CPU if name == 'device' else x for name, x in kwargs.items()}


@contextmanager
def fake_cards():
    """Put two cards in place until the block ends; yields them."""
    cards = FakeCards()
    only_lift = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    make_event: Callable[..., Event] = lambda **_: Event(cards)  # noqa: E731
    try:
        with (
            mock.patch.object(torch.cuda, 'Event', make_event),
            mock.patch.object(torch.cuda, 'current_stream', cards.stream),
            mock.patch.object(torch.cuda, 'device', cards.device),
            cards,
        ):
            yield cards
    finally:
        torch._C._set_only_lift_cpu_tensors(only_lift)
