"""``problem.trainer_settings`` of the verl trainer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jfhpo.core.errors import UsageError
from jfhpo.trainers.hf.settings import AT, GrpoSettings, check_choices, check_counts

DEVICES = ("auto", "cpu", "cuda")
OWN = (
    "actor_rollout_ref.model.path", "data.train_files", "data.val_files", "data.shuffle", "data.max_prompt_length",
    "data.max_response_length", "data.seed", "trainer.total_training_steps", "trainer.total_epochs",
    "trainer.save_freq", "trainer.test_freq", "trainer.val_before_train", "trainer.val_only", "trainer.logger",
    "trainer.resume_mode", "trainer.resume_from_path", "trainer.default_local_dir", "trainer.device",
    "trainer.checkpoint_callback_class", "trainer.jfhpo", "trainer.v1.trainer_mode", "trainer.use_v1",
    "actor_rollout_ref.rollout.seed", "actor_rollout_ref.rollout.val_kwargs",
    "actor_rollout_ref.rollout.agent.agent_loop_config_path", "actor_rollout_ref.rollout.agent.default_agent_loop",
    "reward.custom_reward_function", "ray_kwargs.ray_init",
)  # fmt: skip
"""Keys of verl's, with all below them, that the trainer itself decides."""


@dataclass(frozen=True)
class VerlSettings(GrpoSettings):
    max_prompt_length: int | None = None
    """In tokens; None: the longest prompt of the data. A longer one is refused."""
    device: str = "auto"
    """``cpu``, ``cuda``, or whichever is there."""
    gpus: int = 1
    """GPUs of this machine, or data-parallel ranks on the CPU."""
    ray_address: str | None = None
    """A Ray cluster that is running, e.g. ``auto``, whose machines share this one's files; None: one of its own for
    every segment of a trial."""
    timeout: float = 540.0
    """Seconds of silence after which a run of verl has hung and is ended. Below the study's ``step_timeout``, which
    knows only that there was no answer."""
    logs: str | None = None
    """Folder that keeps verl's log of every segment."""
    overrides: tuple[str, ...] = ()
    """More words for verl's command line, as they are."""

    def check(self) -> None:
        """A `UsageError` for what can be no setting."""
        super().check()
        check_counts(self, "gpus", "max_prompt_length")
        check_choices(self, device=DEVICES)
        if not isinstance(self.timeout, int | float) or self.timeout <= 0:
            raise UsageError(f"{AT}.timeout={self.timeout} must be seconds, above 0")
        if self.prompts_per_step % self.minibatches:
            raise UsageError(
                f"{AT}.minibatches={self.minibatches} does not divide prompts_per_step={self.prompts_per_step}; "
                "verl's minibatches hold whole groups"
            )
        for word in self.overrides:
            key = word.partition("=")[0].lstrip("+~")
            if own := [name for name in OWN if f"{key}.".startswith(f"{name}.")]:
                raise UsageError(f"{AT}.overrides: {own[0]} is decided by the trainer; leave '{word}' out")

    @classmethod
    def of(cls, given: Mapping[str, object]) -> VerlSettings:
        """From plain data, unchecked."""
        return cls(**{**given, "overrides": tuple(given.get("overrides", ()))})
