"""Which executor a study runs on: the one its settings name, or the one that suits its trainer."""

from __future__ import annotations

from jfhpo.core.errors import UsageError, unknown
from jfhpo.study.executors.local import LocalExecutor
from jfhpo.study.executors.packed import PackedExecutor
from jfhpo.study.executors.protocol import Executor, TrainerSpec
from jfhpo.study.executors.simulated import SimulatedExecutor

EXECUTORS = ("local", "packed", "simulated")
DEVICES = ("auto", "cpu", "cuda")


def executor_name(name: str | None, device: str, spec: TrainerSpec) -> str:
    """The executor's name: `name`, or without one what suits the trainer; a `UsageError` for one that cannot run it,
    and for a device that it would not look at."""
    if name is not None and name not in EXECUTORS:
        raise unknown("executor", name, EXECUTORS)
    if device not in DEVICES:
        raise unknown("device", device, DEVICES)
    if device != "auto" and name != "packed":
        raise UsageError(f"device={device} is for executor=packed; other trials run where their trainer decides")
    suits = "simulated" if spec.simulated else "local"
    if name == "packed" and not spec.packed:
        raise UsageError(
            f"executor=packed: trainer {spec.name} runs one trial at a time; mini trains packed, and executor={suits} "
            "runs this one"
        )
    if name is not None and name != "packed" and name != suits:
        why = "tells costs and takes no time" if spec.simulated else "takes real time"
        raise UsageError(f"executor={name}: trainer {spec.name} {why}; executor={suits} runs it")
    return name or suits


def executor(name: str | None, device: str, timeout: float, spec: TrainerSpec) -> Executor:
    """The executor itself; `timeout` in seconds for an answer of a process."""
    found = executor_name(name, device, spec)
    if found == "simulated":
        return SimulatedExecutor(spec)
    if found == "packed":
        return PackedExecutor(spec, device, timeout)
    return LocalExecutor(spec, timeout)
