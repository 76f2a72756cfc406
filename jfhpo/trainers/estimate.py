"""What a GRPO step on large models takes before anybody has run one: memory of a GPU, FLOPs, seconds. Pure functions.

With N parameters in L layers of width d and a vocabulary of V, on G GPUs that shard the trainer's state (FSDP) and
share their memory with the sampler (vLLM, tensor-parallel over TP), bytes on each GPU:

    training   (4 + 8 + 4)·N/G          weights, Adam's two moments, gradients: all fp32, sharded
             + w·N/G                    the reference, w = 2 (bf16) or 4 (fp32); 0 where it is offloaded or not needed
             + 2·(E + 2·(N − E)/L)      bf16 weights gathered for use: embeddings and head E, two layers
             + 2·t·d·L + 34·t·d         activations of t tokens: every layer's input, and one layer whole, recomputed
                                        (Korthikanti et al. 2022, eq. 2 without attention scores); 34·t·d·L otherwise
             + 10·t·V                   logits: bf16, fp32 and their fp32 gradient
    sampling   share·card               vLLM: weights 2·N/TP, the rest KV cache, 4·L·h·(KV heads)/TP a token
             + (4 + 8)·N/G + w·N/G      what the trainer keeps meanwhile

and a fixed allowance for CUDA and libraries on top of either. FLOPs by 2·N per token read and 6·N per token trained
(Kaplan et al. 2020; attention is left out), T = prompts · n · (prompt + response tokens) a step:

    sampling 2·N·T + old log-probabilities 2·N·T + reference 2·N·T + training 6·N·T a pass (8·N·T with recomputation)

Seconds are FLOPs over G · peak · utilisation, one utilisation for sampling and one for the rest. Every number that is
assumed, and not read from a configuration, is a field of `Assumptions`; docs/paper_scale.md says why it is what it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jfhpo.trainers.declared import SHAPE

GB = 1e9


@dataclass(frozen=True)
class Assumptions:
    card_gb: float = 80.0
    """Memory of a GPU (H100 SXM), in units of 10⁹ bytes."""
    peak_tflops: float = 989.0
    """Of a GPU in bf16, dense (H100 SXM)."""
    train_utilisation: float = 0.40
    sample_utilisation: float = 0.10
    """Decoding is bound by memory, not by arithmetic."""
    prompt_filled: float = 0.25
    """Mean length of prompts as a share of their limit."""
    response_filled: float = 0.4
    """Mean length of responses as a share of theirs."""
    allowance_gb: float = 3.0
    """CUDA context, NCCL buffers, fragmentation."""


@dataclass(frozen=True)
class Shape:
    parameters: int
    width: int
    layers: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    embeddings: int
    """Parameters of embeddings and head, tied ones once."""

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Shape | None:
        """Of an entry of ``problem.models``; None where it does not say enough."""
        if any(name not in model for name in SHAPE):
            return None
        return cls(*(int(model[name]) for name in ("parameters", "width", *SHAPE)))


@dataclass(frozen=True)
class Job:
    """A step of an engine, in its own terms."""

    prompts: int
    n: int
    prompt_tokens: int
    """The limit."""
    response_tokens: int
    """The limit."""
    gpus: int
    tokens_at_once: int
    """Of one forward and backward pass on one GPU."""
    passes: int = 1
    """Over a step's rollouts."""
    recomputes: bool = True
    """Activations (gradient checkpointing)."""
    reference_bytes: int = 2
    """Per parameter, on the GPU; 0 for none there."""
    has_reference: bool = True
    old_log_probs: bool = True
    """Whether the trainer reads the rollouts once more before the update."""
    sampler_share: float = 0.0
    """Of a GPU's memory for vLLM; 0: the trainer samples by itself."""
    tensor_parallel: int = 1


@dataclass(frozen=True)
class Term:
    name: str
    formula: str
    gb: float


@dataclass(frozen=True)
class Memory:
    """Of one GPU."""

    training: tuple[Term, ...]
    sampling: tuple[Term, ...]
    cache_tokens: int
    """That vLLM's KV cache holds, per replica; 0 without vLLM."""

    @property
    def peak_gb(self) -> float:
        return max(sum(term.gb for term in phase) for phase in (self.training, self.sampling))


def memory(shape: Shape, job: Job, assumed: Assumptions) -> Memory:
    """Both phases, term by term."""
    N, G, t, d, L = shape.parameters, job.gpus, job.tokens_at_once, shape.width, shape.layers
    E, w = shape.embeddings, job.reference_bytes if job.has_reference else 0
    activations = 2 * t * d * L + 34 * t * d if job.recomputes else 34 * t * d * L
    formula = "2·t·d·L + 34·t·d" if job.recomputes else "34·t·d·L"
    fixed = Term("CUDA and libraries", "allowance", assumed.allowance_gb)
    reference = Term("reference", f"{w}·N/G", w * N / G / GB)
    training = (
        Term("weights fp32", "4·N/G", 4 * N / G / GB),
        Term("Adam", "8·N/G", 8 * N / G / GB),
        Term("gradients", "4·N/G", 4 * N / G / GB),
        reference,
        Term("gathered bf16", "2·(E + 2·(N − E)/L)", 2 * (E + 2 * (N - E) / L) / GB),
        Term("activations", formula, activations / GB),
        Term("logits", "10·t·V", 10 * t * shape.vocabulary / GB),
        fixed,
    )
    if not job.sampler_share:
        return Memory(training, (), 0)
    vllm = job.sampler_share * assumed.card_gb
    sampling = (
        Term("vLLM", "share·card", vllm),
        Term("weights and Adam", "12·N/G", 12 * N / G / GB),
        reference,
        fixed,
    )
    per_token = 4 * L * shape.kv_heads * shape.head_dim / job.tensor_parallel
    free = vllm * GB - 2 * N / job.tensor_parallel
    return Memory(training, sampling, max(0, int(free / per_token)))


@dataclass(frozen=True)
class Step:
    tokens: float
    """Read a step: prompts and responses."""
    sampling_flops: float
    other_flops: float
    seconds: float
    tokens_per_second: float
    """Read, per GPU."""


def step(shape: Shape, job: Job, assumed: Assumptions) -> Step:
    """One step of GRPO."""
    length = assumed.prompt_filled * job.prompt_tokens + assumed.response_filled * job.response_tokens
    tokens = job.prompts * job.n * length
    each = shape.parameters * tokens
    sampling = 2 * each
    read = 2 * each * (job.old_log_probs + job.has_reference)
    other = read + (8 if job.recomputes else 6) * each * job.passes
    speed = job.gpus * assumed.peak_tflops * 1e12
    seconds = sampling / (speed * assumed.sample_utilisation) + other / (speed * assumed.train_utilisation)
    return Step(tokens, sampling, other, seconds, tokens / seconds / job.gpus)
