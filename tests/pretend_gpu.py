# SPDX-License-Identifier: Apache-2.0
"""A GPU for tests on a machine without one: tensors that say they are on another device, ``gpu``, and hold their
numbers on the CPU.

    @on_pretended_gpu
    def test_something(gpu):
        network, images = gpu.move(network), gpu.move(images)
        with gpu:
            ...                  # the code under test
        gpu.waits                # what the CPU had to wait for: every read of a number and every copy to it

What a GPU refuses is refused here too: an operation on tensors of both devices (numbers of no dimension from the CPU
are allowed, as there), a CPU generator for a tensor on the GPU, ``.numpy()``. Copies and reads are counted with the
line of the package that asked for them; so are ``.item()``, ``float()``, ``bool()``, ``.tolist()`` and indices whose
number depends on values (``nonzero``, masks). The numbers are those of the CPU: neither speed nor rounding nor memory
is simulated, nor MetaTensors (they become plain ones), nor autocast.
"""

from __future__ import annotations

import collections
import functools
import importlib
import inspect
import multiprocessing
import pickle
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

import monai_diffae

__all__ = ["PretendedGPU", "on_pretended_gpu"]

KIND = "gpu"
PACKAGE = Path(monai_diffae.__file__).parent
# Operations that make the CPU wait for a number.
READS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero"}
# Those that take tensors of both devices.
MIXED = {"_to_copy", "copy_", "index", "index_put_", "_index_put_impl_", "set_"}


class OnGPU(torch.Tensor):
    @staticmethod
    def __new__(cls, held: torch.Tensor, requires_grad: bool = False) -> OnGPU:
        x = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=torch.device(KIND, 0),
            requires_grad=requires_grad,
        )
        x.held = held
        return x

    def __repr__(self) -> str:
        return f"OnGPU({self.held!r})"

    def numpy(self, *args: Any, **kwargs: Any) -> None:
        raise TypeError("can't convert gpu:0 device type tensor to numpy. Use Tensor.cpu() first.")

    __array__ = numpy

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, dict(kwargs or {}))


class PretendedGPU(TorchFunctionMode):
    """Counts while it is entered.

    Attributes:
        copies: how often, by (kind, shape, line of the package).
    """

    def __init__(self) -> None:
        super().__init__()
        self.copies: collections.Counter = collections.Counter()

    @property
    def waits(self) -> int:
        """Times that the CPU waited for the GPU: reads of numbers, and copies to the CPU."""
        return sum(count for (kind, *_), count in self.copies.items() if not kind.startswith("to gpu"))

    @property
    def copies_to_gpu(self) -> int:
        return sum(count for (kind, *_), count in self.copies.items() if kind.startswith("to gpu"))

    def move(self, x: Any) -> Any:
        """A tensor, or all of a module (in place); not counted."""
        if isinstance(x, torch.Tensor):
            return _move(x, torch.device(KIND))
        for module in x.modules():
            for table in (module._parameters, module._buffers):
                table.update({k: _move(v, torch.device(KIND)) for k, v in table.items() if v is not None})
        return x

    def __enter__(self) -> PretendedGPU:
        _counting.append(self)
        self._inference_mode, torch.inference_mode = (
            torch.inference_mode,
            _no_grad,
        )  # wrappers have no inference tensors
        self._factories = _Factories()
        self._factories.__enter__()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self._factories.__exit__(*exception)
        torch.inference_mode = self._inference_mode
        _counting.remove(self)

    def __torch_function__(self, f: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs, name = kwargs or {}, getattr(f, "__name__", "")
        if name in ("to", "cuda", "cpu") and args and isinstance(args[0], torch.Tensor):
            device, dtype = _wanted(name, args, kwargs)
            if device is not None and (device.type == KIND) != (args[0].device.type == KIND):
                return _move(args[0], device, dtype)
            if device is not None and device.type == KIND:  # the same device: only the type
                return args[0] if dtype in (None, args[0].dtype) else f(args[0], dtype)
        if name == "tolist" and isinstance(args[0], OnGPU):
            _count("tolist", args[0].shape)
            return args[0].held.tolist()
        if name == "new_tensor" and isinstance(args[0], OnGPU):
            _count("to gpu", ())
            return OnGPU(torch.tensor(args[1], dtype=kwargs.get("dtype") or args[0].dtype))
        if name == "__getitem__" and isinstance(args[0], OnGPU):  # lists become tensors where the index is used
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            return f(
                args[0], tuple(OnGPU(torch.tensor(i, dtype=torch.long)) if isinstance(i, list) else i for i in index)
            )
        if (
            kwargs.get("device") is not None and torch.device(kwargs["device"]).type == KIND
        ):  # a build for CPUs refuses it
            _refuse_generator(kwargs)
            if name in ("tensor", "as_tensor"):
                _count("to gpu", ())
            held = [a.held if isinstance(a, OnGPU) else a for a in args]
            made = f(*held, **{**kwargs, "device": "cpu"})
            return OnGPU(made.detach(), made.requires_grad)
        return f(*args, **kwargs)


class _Factories(TorchDispatchMode):
    """``torch.zeros(..., device="gpu")`` and the like."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, dict(kwargs or {}))


_counting: list[PretendedGPU] = []


def _count(kind: str, shape: tuple[int, ...]) -> None:
    lines = [f for f in traceback.extract_stack() if PACKAGE in Path(f.filename).parents]
    where = f"{Path(lines[-1].filename).relative_to(PACKAGE)}:{lines[-1].lineno}" if lines else "?"
    for gpu in _counting:
        gpu.copies[(kind, tuple(shape), where)] += 1


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """An operation, on what the tensors hold."""
    name, given = func._schema.name.removeprefix("aten::"), []
    tree_map(lambda a: given.append(a) if isinstance(a, torch.Tensor) else None, (args, kwargs))
    on_gpu = [a for a in given if isinstance(a, OnGPU)]
    if on_gpu and name not in MIXED and any(not isinstance(a, OnGPU) and a.ndim > 0 for a in given):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found gpu:0 and cpu ({name}, shapes "
            f"{[tuple(a.shape) for a in given]})"
        )
    wants_gpu = bool(on_gpu)
    if kwargs.get("device") is not None:
        wants_gpu = torch.device(kwargs["device"]).type == KIND
        kwargs["device"] = torch.device("cpu")
    if wants_gpu:
        _refuse_generator(kwargs)
        kwargs.pop("pin_memory", None)
    masks = name.startswith("index") and any(a.dtype == torch.bool for a in on_gpu[1:])
    if on_gpu and (name in READS or masks):
        _count(name, on_gpu[0].shape)
    if name == "_to_copy" and given and wants_gpu != bool(on_gpu):
        _count("to gpu" if wants_gpu else "to cpu", given[0].shape)
    elif name == "copy_" and isinstance(args[0], OnGPU) != isinstance(args[1], OnGPU):
        _count("to gpu" if isinstance(args[0], OnGPU) else "to cpu", args[0].shape)
    held_args, held_kwargs = tree_map(lambda a: a.held if isinstance(a, OnGPU) else a, (args, kwargs))
    out = func(*held_args, **held_kwargs)
    if not wants_gpu:
        return out
    known = {id(a.held): a for a in on_gpu}  # operations in place, and out=, give back what they got
    return tree_map(lambda a: known.get(id(a), OnGPU(a)) if isinstance(a, torch.Tensor) else a, out)


def _refuse_generator(kwargs: dict) -> None:
    if kwargs.get("generator") is not None and kwargs["generator"].device.type == "cpu":
        raise RuntimeError(f"Expected a '{KIND}' device type for generator but found 'cpu'")


def _wanted(name: str, args: tuple, kwargs: dict) -> tuple[torch.device | None, torch.dtype | None]:
    """Device and type that ``.to`` and its like ask for."""
    device, dtype = None, kwargs.get("dtype")
    if name != "to":
        device = torch.device(KIND if name == "cuda" else "cpu")
    for a in (*args[1:], *kwargs.values()):
        if isinstance(a, (str, torch.device)):
            device = torch.device(a)
        elif isinstance(a, torch.dtype):
            dtype = a
        elif isinstance(a, torch.Tensor):
            device, dtype = a.device, a.dtype
    return device, dtype


def _move(x: torch.Tensor, device: torch.device, dtype: torch.dtype | None = None) -> torch.Tensor:
    if isinstance(x, torch.nn.Parameter):
        return torch.nn.Parameter(_move(x.data, device, dtype), x.requires_grad)
    if type(x).__name__ == "MetaTensor":
        return x.as_tensor() if device.type == "cpu" else _move(x.as_tensor(), device, dtype)
    to_gpu = device.type == KIND
    _count("to gpu" if to_gpu else "to cpu", x.shape)
    held = x.held if isinstance(x, OnGPU) else x
    y = held.detach().clone() if dtype is None else held.detach().to(dtype).clone()
    return OnGPU(y, x.requires_grad and y.is_floating_point()) if to_gpu else y


def _no_grad(mode: Any = True) -> Any:
    """In the place of ``torch.inference_mode``."""
    return torch.no_grad() if mode is True else torch.enable_grad() if mode is False else torch.no_grad()(mode)


def _install() -> None:
    """Give this process the device; it cannot be taken away again."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(KIND)  # of Python's own, with what autograd and indexing need of a device

    @torch.library.impl("aten::empty_strided", "PrivateUse1")
    def empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=False):
        return OnGPU(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))

    @torch.library.impl("aten::empty.memory_format", "PrivateUse1")
    def empty(size, *, dtype=None, layout=None, device=None, pin_memory=False, memory_format=None):
        return OnGPU(torch.empty(size, dtype=dtype, device="cpu"))


def on_pretended_gpu(test: Callable) -> Callable:
    """A test with an argument ``gpu``, a :class:`PretendedGPU`, that runs in a process of its own.

    A process that knows the device keeps it for good, and other tests would find an accelerator. Processes are forked
    from one that has imported everything and computed nothing: autograd does not learn of a device later. Fixtures are
    saved and loaded.
    """

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        pytest.importorskip("torch.utils.backend_registration")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["pretend_gpu", "monai_diffae.inferers", "monai_diffae.training"])
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_report, args=(there, test.__module__, test.__name__, pickle.dumps(arguments)))
        process.start()
        there.close()
        try:
            failure = here.recv()
        except EOFError:
            failure = "The process ended without a word."
        process.join()
        if failure:
            pytest.fail(failure, pytrace=False)

    # pytest asks the signature which fixtures a test wants.
    signature = inspect.signature(test)
    run.__signature__ = signature.replace(parameters=[p for n, p in signature.parameters.items() if n != "gpu"])
    return run


def _report(pipe: Any, module: str, name: str, saved: bytes) -> None:
    try:
        _install()
        arguments = pickle.loads(saved)
        inspect.unwrap(getattr(importlib.import_module(module), name))(gpu=PretendedGPU(), **arguments)
        pipe.send("")
    except BaseException:
        pipe.send(traceback.format_exc())
