"""The CPU as a platform of verl 0.9.1, so that laptops and CI run verl itself: its driver, Ray workers, FSDP2 on gloo,
checkpoints, and sampling by vLLM's CPU build. No file of verl's is edited.

verl knows CUDA and its like only, behind an interface of its own for plug-ins (`verl.plugin.platform`). `platform`
fills it in. What the interface does not cover is mended at run time by one function each, which names the line of
verl, vLLM or torch that it answers. What such a run says nothing about: docs/verl.md.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import torch

NAME = "cpu"
ENVIRONMENT = {
    "VERL_PLATFORM": NAME,
    # workers/engine/base.py:405 looks up the FSDP engine by device, and it is registered for cuda and npu alone; the
    # engine itself asks the platform for everything.
    "VERL_ENGINE_DEVICE": "cuda",
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # several engines share the cores
    "RAY_worker_niceness": "0",  # 15 by Ray's default: on a busy machine its workers would hardly run
    "TQ_NUM_THREADS": "1",  # of TransferQueue, which else warns with every request on fewer than 8 cores
}
"""Of every process of a run on the CPU, beside ``VERL_USE_EXTERNAL_MODULES``."""
DEVICE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        ("memory_allocated", "memory_reserved", "max_memory_allocated", "max_memory_reserved"), lambda *_: 0
    ),
    **dict.fromkeys(
        ("empty_cache", "ipc_collect", "reset_peak_memory_stats", "reset_accumulated_memory_stats"), lambda *_: None
    ),
    "mem_get_info": lambda *_: (0, 0),
    "get_device_name": lambda *_: "CPU",
    "get_rng_state": torch.get_rng_state,
    "set_rng_state": torch.set_rng_state,
}
"""What verl calls on ``torch.<device>`` (`utils/profiler/performance.py`, `utils/checkpoint/checkpoint_manager.py`,
`workers/engine_workers.py`) and `torch.cpu` does not have. The memory of a GPU is 0 here; the CPU's own generator is
saved and restored twice, once as the device's."""


def install() -> None:
    """Everything here, in this process. Doing it twice changes nothing."""
    from verl.plugin.platform import PlatformBase, PlatformRegistry

    add_device_functions(torch.cpu)
    accept_doubled_backend(torch.distributed)
    never_pin_memory()
    keep_weights_in_place(sys.modules)
    if PlatformRegistry.get(NAME) is None:
        PlatformRegistry.register(platform=NAME)(platform(PlatformBase))


def add_device_functions(device: ModuleType) -> None:
    """Those of `DEVICE_FUNCTIONS` that the module does not have itself."""
    for name, function in DEVICE_FUNCTIONS.items():
        if not hasattr(device, name):
            setattr(device, name, function)


def accept_doubled_backend(distributed: ModuleType) -> None:
    """utils/distributed.py:63 asks for ``cpu:gloo,<device>:<backend>``, here cpu:gloo,cpu:gloo; torch refuses to be
    told of one device twice."""
    original = distributed.init_process_group
    if hasattr(original, "accepts_doubled"):
        return

    @functools.wraps(original)
    def init_process_group(backend: str | None = None, *arguments: Any, **named: Any) -> Any:
        if backend is not None:
            backend = ",".join(dict.fromkeys(backend.split(",")))
        return original(backend, *arguments, **named)

    init_process_group.accepts_doubled = True
    distributed.init_process_group = init_process_group
    distributed.distributed_c10d.init_process_group = init_process_group


def never_pin_memory() -> None:
    """workers/engine/fsdp/transformer_impl.py:462 wraps the reference model in ``CPUOffloadPolicy(pin_memory=True)``;
    pinning memory is for an accelerator, and fails without one."""
    from torch.distributed.fsdp import CPUOffloadPolicy

    def __init__(self: Any, pin_memory: bool = False) -> None:
        object.__setattr__(self, "pin_memory", False)  # a frozen dataclass

    CPUOffloadPolicy.__init__ = __init__


def keep_weights_in_place(modules: dict[str, ModuleType]) -> None:
    """vLLM's CPU build packs linear weights into oneDNN's own form and drops ``layer.weight``
    (model_executor/layers/utils.py:313), so that verl's next weights have nowhere to go; its other branch, torch's
    `linear`, keeps them. verl is imported into vLLM's processes after vLLM; in the others there is nothing to do."""
    if "vllm" in modules:
        import vllm._custom_ops

        vllm._custom_ops._supports_onednn = False


def platform(base: type) -> type:
    """The class to register, of verl's `PlatformBase` (as an argument, for tests without verl)."""

    class PlatformCPU(base):
        device_name = property(lambda self: "cpu")
        vendor_name = property(lambda self: "cpu")
        device_module = property(lambda self: torch.cpu)

        def is_available(self) -> bool:
            return True

        def current_device(self) -> str:
            return "cpu"  # verl hands it to `Tensor.to`, for which a number would be a GPU

        def device_count(self) -> int:
            return 1

        def set_device(self, device_index: int) -> None: ...

        def synchronize(self, device_index: int | None = None) -> None: ...

        def manual_seed(self, seed: int) -> None:
            torch.manual_seed(seed)

        def manual_seed_all(self, seed: int) -> None:
            torch.manual_seed(seed)

        def set_allocator_settings(self, settings: str) -> None: ...

        def empty_cache(self) -> None: ...

        def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
            return (None, None)

        def communication_backend_name(self) -> str:
            return "gloo"

        def visible_devices_envvar(self) -> str:
            return "CUDA_VISIBLE_DEVICES"

        @contextlib.contextmanager
        def nvtx_range(self, msg: str) -> Iterator[None]:
            yield

        def profiler_start(self) -> None: ...

        def profiler_stop(self) -> None: ...

        def ray_resource_name(self) -> str:
            return "GPU"  # slots that `ray.init(num_gpus=…)` is told of; no process looks for a device behind them

        def ray_noset_envvars(self) -> list[str]:
            return []

        def is_ipc_supported(self) -> bool:
            return False  # then weights go to vLLM through shared memory

        def cudart(self) -> None:
            return None

    return PlatformCPU
