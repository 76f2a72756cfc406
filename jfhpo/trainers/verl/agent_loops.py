"""How verl asks for one response: its single-turn agent loop, for any tokenizer, and the same at temperature 0.

A run is told of them by ``rollout.agent.agent_loop_config_path`` (`jfhpo.trainers.verl.words.AGENT_LOOPS`), and verl's
agent workers import them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verl.experimental.agent_loop.single_turn_agent_loop import SingleTurnAgentLoop


class SingleTurn(SingleTurnAgentLoop):
    """verl chooses by the model's type how turns are joined, and for Qwen's asks the tokenizer for ChatML's tokens
    (utils/tokenizer/continuous_token.py:540), which the miniature family's has not. One turn is joined to nothing."""

    def __init__(self, *arguments: Any, hf_model_type: str | None = None, **named: Any):
        super().__init__(*arguments, hf_model_type=None, **named)


class Greedy(SingleTurn):
    """verl takes the temperature of its validation from the configuration, once for a run
    (trainer/ppo/v1/agent_loop_tq.py:76); the prompts of a greedy evaluation choose this loop."""

    async def run(self, sampling_params: Mapping[str, Any], **prompt: Any) -> Any:
        return await super().run({**sampling_params, "temperature": 0.0, "top_p": 1.0, "top_k": -1}, **prompt)
