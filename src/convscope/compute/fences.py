"""Who else notices that we changed torch's global state?

Nobody: it is put back, also when an exception passes.  This is the only module
that touches torch's global generators, thread count, denormal flag, determinism
flags, default dtype and float32 precision settings.

    with training_state(threads=2):            a whole run
        with seeded(streams.torch_seed("init")): build the network
        reseed(streams.torch_seed("dropout", step))     once per step

`torch.set_flush_denormal` sets a flag of the calling thread only.  With two
threads, half of a large tensor was still computed with denormals, and which half
depended on when the pool had been started: enough to make a resumed run differ.
So the flag is set on every thread of the pool, and put back on every one.
"""

import ctypes
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch

# torch's type stubs lack these settings.
_backends: Any = torch.backends
_debugging: Any = torch.utils.deterministic

GRAIN = 32_768
"""Elements below which torch keeps an elementwise operation on one thread (at::internal::GRAIN_SIZE)."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generators as if freshly seeded; afterwards they are where they were.

    Covers the CPU's generator, and those of all CUDA devices if CUDA is in use already.
    """
    cpu = torch.default_generator.get_state()
    cuda = torch.cuda.get_rng_state_all() if _cuda_in_use() else []
    try:
        reseed(seed)
        yield
    finally:
        torch.default_generator.set_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)


def reseed(seed: int) -> None:
    """Start torch's global generators afresh; only inside a fence.  For dropout, which knows no others.

    1.4 us on a CPU: `torch.manual_seed` takes 109 us, most of it for devices that are not there.
    """
    torch.default_generator.manual_seed(seed)
    if _cuda_in_use():
        torch.cuda.manual_seed_all(seed)


def _cuda_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


@contextmanager
def training_state(threads: int) -> Iterator[None]:
    """The state in which a run computes; everything is put back afterwards, also after an exception.

    Inside: `threads` CPU threads, denormals flushed on all of them, deterministic algorithms where they
    cost nothing (on a CPU), default dtype float32, float32 products in full float32, gradients on,
    autocast off.  The global generators may be used freely.

    Args:
        threads: at least 1.
    """
    with ExitStack() as stack:
        # A draw that nobody seeded is a mistake, but at least the same one every time.
        stack.enter_context(seeded(0))
        stack.enter_context(_threads(threads))
        stack.enter_context(_denormals_flushed(threads))
        stack.enter_context(_deterministic())
        stack.enter_context(_full_float32())
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        if torch.cuda.is_available():
            stack.enter_context(torch.autocast("cuda", enabled=False))
        yield


@contextmanager
def _threads(threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _denormals_flushed(threads: int) -> Iterator[None]:
    """Flush on every thread of the pool, and give each its own setting back.

    A thread that joins the pool inside inherits the flag from the calling thread, and gets on the way out
    what the calling thread had.
    """
    before: dict[int, bool] = {}
    caller = flushes_here()

    def flush() -> None:
        before[threading.get_ident()] = flushes_here()
        torch.set_flush_denormal(True)

    def put_back() -> None:
        torch.set_flush_denormal(before.get(threading.get_ident(), caller))

    _on_each_thread(flush, threads)
    try:
        yield
    finally:
        _on_each_thread(put_back, threads)


def _set_deterministic(enabled: bool, *, warn_only: bool) -> None:
    """What torch.use_deterministic_algorithms does, without its import of the compiler: 1.3 s in every process."""
    torch._C._set_deterministic_algorithms(enabled, warn_only=warn_only)


@contextmanager
def _deterministic() -> Iterator[None]:
    """Deterministic algorithms: on a CPU always, since they cost nothing measurable; cuDNN's on CUDA.

    On CUDA the rest is left alone: there torch raises for operations that have no deterministic version.
    Filling uninitialised memory, which torch does by default in this mode, costs up to 30 % of a step
    and changes nothing for code that reads only what it wrote.
    """
    enabled = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fill = _debugging.fill_uninitialized_memory
    cudnn = _backends.cudnn
    cudnn_before = (cudnn.deterministic, cudnn.benchmark)
    mkldnn_before = _backends.mkldnn.deterministic
    try:
        if not torch.cuda.is_available():
            _set_deterministic(True, warn_only=False)
        _debugging.fill_uninitialized_memory = False
        cudnn.deterministic, cudnn.benchmark = True, False
        _backends.mkldnn.deterministic = True
        yield
    finally:
        _set_deterministic(enabled, warn_only=warn_only)
        _debugging.fill_uninitialized_memory = fill
        cudnn.deterministic, cudnn.benchmark = cudnn_before
        _backends.mkldnn.deterministic = mkldnn_before


@contextmanager
def _full_float32() -> Iterator[None]:
    """float32 means float32: no TF32, no bfloat16 inside of float32 products.

    The per-backend settings are read and written, not `torch.get_float32_matmul_precision`, which raises
    once a caller has used the newer settings.
    """
    dtype = torch.get_default_dtype()
    settings = (
        _backends.mkldnn.matmul,
        _backends.mkldnn.conv,
        _backends.cuda.matmul,
        _backends.cudnn.conv,
    )
    before = [setting.fp32_precision for setting in settings]
    try:
        torch.set_default_dtype(torch.float32)
        for setting in settings:
            setting.fp32_precision = "ieee"
        yield
    finally:
        torch.set_default_dtype(dtype)
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


def flushes_here() -> bool:
    """Whether the calling thread computes zero where the result is a denormal."""
    smallest_normal = sys.float_info.min
    return smallest_normal / 2 == 0.0


def denormals() -> str:
    """What torch's threads do with denormals now: 'flushed', 'kept', or 'mixed' if they disagree."""
    smallest_normal = torch.finfo(torch.float32).smallest_normal
    # Large enough that every thread gets a share.
    count = 2 * GRAIN * torch.get_num_threads()
    halves = torch.full((count,), smallest_normal, dtype=torch.float32, device="cpu") / 2
    # As integers: a comparison with 0.0 takes a denormal for zero on a thread that flushes.
    flushed = int((halves.view(torch.int32) == 0).sum())
    return {0: "kept", len(halves): "flushed"}.get(flushed, "mixed")


def _on_each_thread(action: Callable[[], None], threads: int) -> None:
    """Run `action` once on each thread of torch's OpenMP pool, the calling thread included.

    torch offers no way to do that, but the OpenMP library it has loaded does.  Where that library cannot
    be found (no /proc, or another kind of pool) only the calling thread is reached; `denormals` tells.
    """
    pool = _openmp() if threads > 1 else None
    if pool is None:
        action()
    else:
        body = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: action())
        pool.GOMP_parallel(body, None, ctypes.c_uint(threads), ctypes.c_uint(0))


@cache
def _openmp() -> ctypes.CDLL | None:
    """The OpenMP library torch runs on, if it is loaded and speaks GNU's interface (LLVM's does too)."""
    maps = Path("/proc/self/maps")
    if not maps.is_file():
        return None
    loaded = set(re.findall(r"(/\S*lib(?:gomp|iomp5|omp)[^/\s]*\.so\S*)", maps.read_text()))
    # Other packages bring their own copy with its own threads: torch's is in its folder, else shared.
    beside_torch = str(Path(torch.__file__).parent)
    for path in sorted(loaded, key=lambda path: (not path.startswith(beside_torch), path)):
        library = ctypes.CDLL(path)
        if hasattr(library, "GOMP_parallel"):
            return library
    return None
