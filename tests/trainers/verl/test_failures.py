# ruff: noqa: E501 -- lines of logs as they are
"""A log's one reason, from excerpts as verl, Ray, NCCL and vLLM print them."""

from __future__ import annotations

import pytest

from jfhpo.trainers.verl.failures import explain

CUDA = """\
\x1b[36m(WorkerDict pid=18302)\x1b[0m   File ".../torch/nn/functional.py", line 2380, in embedding
Error executing job with overrides: ['algorithm.adv_estimator=grpo', 'data.train_batch_size=16']
Traceback (most recent call last):
  File ".../verl/trainer/main_ppo.py", line 184, in main
ray.exceptions.RayTaskError(OutOfMemoryError): \x1b[36mray::TaskRunnerV1.run()\x1b[39m (pid=17455, ip=10.0.0.1)
ray.exceptions.RayTaskError(OutOfMemoryError): \x1b[36mray::WorkerDict.actor_rollout_update_actor()\x1b[39m (pid=18302)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.32 GiB. GPU 0 has a total capacity of 79.19 GiB of which
"""
VLLM = """\
(EngineCore pid=7276) ValueError: Free memory on device cuda:0 (10.2/79.2 GiB) on startup is less than desired GPU memory utilization (0.5, 39.6 GiB).
(vLLMHttpServer pid=6982) vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.
"""
HOST = """\
ray.exceptions.OutOfMemoryError: Task was killed due to the node running low on memory.
Memory on the node (IP: 10.0.0.1) where the task was running was 121.65GB / 128.00GB (0.950416), which exceeds the threshold
"""
NCCL = """\
(WorkerDict pid=99) [rank0]: torch.distributed.DistBackendError: NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:268, unhandled cuda error, NCCL version 2.21.5
(WorkerDict pid=99) ncclUnhandledCudaError: Call to CUDA function failed.
"""
WATCHDOG = """\
[rank1]:[E ProcessGroupNCCL.cpp:616] [Rank 1] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=42, OpType=ALLREDUCE) ran for 600021 milliseconds before timing out.
"""
GPUS = """\
  File ".../verl/single_controller/ray/base.py", line 300, in _check_resource_available
ValueError: Total available GPUs 0 is less than total desired GPUs 8
"""
NO_RAY = """\
  File ".../ray/_private/services.py", line 700, in canonicalize_bootstrap_address
ConnectionError: Could not find any running Ray instance. Please specify the one to connect to by setting `--address` flag
"""
DIED = """\
Traceback (most recent call last):
ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.
	class_name: TaskRunnerV1
"""
OWN = """\
(TaskRunnerV1 pid=1) UserWarning: torchtitan engine is not available: ModuleNotFoundError("No module named 'torchtitan'")
(WorkerDict pid=4) ValueError: Expected Qwen newline to tokenize to one token, got []
ray.exceptions.RayTaskError(ValueError): ray::TaskRunnerV1.run() (pid=4712, ip=10.0.0.1)
ValueError: Expected Qwen newline to tokenize to one token, got []
Set the environment variable HYDRA_FULL_ERROR=1 for a complete stack trace.
"""


@pytest.mark.parametrize(
    "log, code, said",
    [
        (CUDA, 1, "out of GPU memory: CUDA out of memory. Tried to allocate 2.32 GiB"),
        (VLLM, 1, "out of GPU memory for vLLM: Free memory on device cuda:0 (10.2/79.2 GiB) on startup is less than"),
        (HOST, 1, "out of memory: Task was killed due to the node running low on memory."),
        (NCCL, 1, "NCCL: NCCL error in: ../torch/csrc/distributed/c10d/NCCLUtils.hpp:268, unhandled cuda error"),
        (WATCHDOG, 134, "NCCL: Watchdog caught collective operation timeout: WorkNCCL(SeqNum=42, OpType=ALLREDUCE)"),
        (GPUS, 1, "Ray has too few GPUs: Total available GPUs 0 is less than total desired GPUs 8"),
        (NO_RAY, 1, "Ray: Could not find any running Ray instance."),
        (DIED, 1, "verl failed: ActorDiedError: The actor died unexpectedly before finishing this task."),
        (OWN, 1, "verl failed: ValueError: Expected Qwen newline to tokenize to one token, got []"),
        ("", 137, "ended by signal 9, as the kernel does when memory runs out; its log names no reason"),
        ("", 143, "verl was ended by signal 15; its log names no reason"),
        ("Training Progress: 3/30", 2, "verl ended with exit code 2; its log names no reason"),
        (OWN, 0, "verl ended by itself (exit code 0)"),
        ("Training Progress: 3/30", None, "its log names no reason"),
    ],
)
def test_the_reason(log, code, said):
    reason = explain(log, code)
    assert said in reason and "\n" not in reason and len(reason) <= 300


def test_the_cause_is_named_however_much_is_written_after_it():
    assert explain(CUDA + DIED * 50 + OWN, 1).startswith("out of GPU memory")
