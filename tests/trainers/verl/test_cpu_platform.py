"""The CPU as verl's platform: what is added, what is mended, and that mending twice is mending once."""

from __future__ import annotations

import types

import pytest
import torch

from jfhpo.trainers.verl import cpu_platform
from jfhpo.trainers.verl.compose import installed


def test_only_what_the_device_lacks_is_added():
    device = types.SimpleNamespace(memory_allocated=lambda: 5)
    cpu_platform.add_device_functions(device)
    assert device.memory_allocated() == 5
    assert device.max_memory_reserved() == 0 and device.mem_get_info() == (0, 0) and device.empty_cache() is None
    state = device.get_rng_state()
    drawn = torch.rand(3)
    device.set_rng_state(state)
    assert torch.equal(torch.rand(3), drawn)


def test_a_doubled_backend_is_named_once():
    asked = []
    inner = types.SimpleNamespace()
    module = types.SimpleNamespace(init_process_group=lambda backend=None, **_: asked.append(backend))
    module.distributed_c10d = inner
    cpu_platform.accept_doubled_backend(module)
    once = module.init_process_group
    cpu_platform.accept_doubled_backend(module)
    assert module.init_process_group is once is inner.init_process_group
    for backend in ("cpu:gloo,cpu:gloo", "cpu:gloo,cuda:nccl", "gloo", None):
        module.init_process_group(backend)
    assert asked == ["cpu:gloo", "cpu:gloo,cuda:nccl", "gloo", None]


def test_offloaded_parameters_are_never_pinned(monkeypatch):
    from torch.distributed.fsdp import CPUOffloadPolicy

    monkeypatch.setattr(CPUOffloadPolicy, "__init__", CPUOffloadPolicy.__init__)  # put back afterwards
    assert CPUOffloadPolicy(pin_memory=True).pin_memory
    cpu_platform.never_pin_memory()
    assert not CPUOffloadPolicy(pin_memory=True).pin_memory and not CPUOffloadPolicy().pin_memory


def test_vllm_is_left_alone_where_it_is_not_loaded():
    cpu_platform.keep_weights_in_place({})  # would import vLLM


def test_the_platform_says_cpu_and_takes_slots_for_gpus():
    platform = cpu_platform.platform(object)()
    assert (platform.device_name, platform.device_module, platform.current_device()) == ("cpu", torch.cpu, "cpu")
    assert torch.zeros(1).to(platform.current_device()).device.type == "cpu"
    assert platform.communication_backend_name() == "gloo" and platform.ray_resource_name() == "GPU"
    assert not platform.is_ipc_supported() and platform.is_available()
    platform.manual_seed_all(3)
    drawn = torch.rand(2)
    platform.manual_seed(3)
    assert torch.equal(torch.rand(2), drawn)


@pytest.mark.skipif(not installed(), reason="verl is not installed (./run_all.sh setup verl-cpu)")
def test_nothing_of_verls_interface_is_missing():
    from verl.plugin.platform import PlatformBase

    assert not cpu_platform.platform(PlatformBase).__abstractmethods__
