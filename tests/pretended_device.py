"""An accelerator that is not there: tensors on torch's device ``meta`` that hold their numbers on the processor.

Within ``PretendedDevice`` whatever a program makes on ``meta`` is computed, but a call that takes tensors of both
devices is refused, as CUDA refuses it; calls, and waits for a number of the device, are counted.
"""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("meta")


class _There(torch.Tensor):
    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )

    def __init__(self, held):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of the pretended device")


class PretendedDevice(TorchDispatchMode):
    """Computes what runs within it."""

    def __init__(self):
        super().__init__()
        self.calls = Counter()  # on the device, by name
        self.waits = 0  # for numbers to come back
        self.largest = 0  # values of the largest tensor that a call made

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        name = func.name()
        tensors = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
        there = [isinstance(t, _There) for t in tensors]
        here = [t for t, far in zip(tensors, there, strict=True) if not far and t.dim()]  # a number may come along
        if any(there) and here and name not in ("aten::copy_", "aten::_to_copy"):
            raise RuntimeError(f"{name}: tensors of two devices")
        on_device = any(there)
        if kwargs.get("device") is not None:
            on_device = torch.device(kwargs["device"]) == DEVICE
            kwargs["device"] = torch.device("cpu")
        self.waits += any(there) and (name == "aten::_local_scalar_dense" or not on_device)
        if on_device and name == "aten::_conj":
            func = torch.ops.aten.conj_physical.default  # below this point torch no longer looks at the bit of a view
        out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        if not on_device:
            return out
        self.calls[name] += 1
        return tree_map(lambda o: self._there(o, tensors), out)

    def _there(self, out, tensors):
        if not isinstance(out, torch.Tensor):
            return out
        self.largest = max(self.largest, out.numel())
        same = [t for t in tensors if isinstance(t, _There) and t.held is out]  # in place
        return same[0] if same else _There(out)


def _held(a):
    return a.held if isinstance(a, _There) else a
