"""Weights & Biases: every study is a run; each trial's curve is logged under the trial's name.

Nothing here may block or end a study: offline unless the user's environment says otherwise, no account, no prompt, and
an online run that cannot start falls back to offline with one line of warning.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from jfhpo.core.errors import unknown

MODES = ("auto", "offline", "online", "none")
INIT_TIMEOUT = 30
"""Seconds to wait for the server before going on offline."""


def wandb_mode(tracking: str) -> str | None:
    """The W&B mode for a `tracking` setting, or None for no tracking.

    ``auto`` is online when ``WANDB_MODE=online`` or an API key is in the environment, otherwise offline;
    ``WANDB_MODE=disabled`` turns it off.
    """
    if tracking not in MODES:
        raise unknown("tracking", tracking, MODES)
    if tracking == "none":
        return None
    if tracking != "auto":
        return tracking
    asked = os.environ.get("WANDB_MODE", "")
    if asked in ("disabled", "dryrun", "offline", "online"):
        return {"disabled": None, "dryrun": "offline"}.get(asked, asked)
    return "online" if os.environ.get("WANDB_API_KEY") else "offline"


class WandbTracker:
    """An observer of a study's events. `folder` is the study's; offline runs are kept in it under ``wandb/``."""

    def __init__(self, mode: str, folder: Path, group: str, config: dict[str, Any]):
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        name = "/".join(folder.parts[-3:])
        arguments = {
            "project": os.environ.get("WANDB_PROJECT", "jfhpo"),
            "group": group,
            "name": name,
            "dir": str(folder),
            "config": config,
            "reinit": "finish_previous",
        }
        settings = {"init_timeout": INIT_TIMEOUT, "console": "off", "x_disable_stats": True, "silent": True}
        try:
            self.run = wandb.init(mode=mode, settings=wandb.Settings(**settings), **arguments)
        except Exception as error:  # W&B raises many kinds; tracking is never worth a study
            if mode != "online":
                raise
            warnings.warn(f"W&B cannot start online ({error}); going on offline, `wandb sync` later", stacklevel=2)
            self.run = wandb.init(mode="offline", settings=wandb.Settings(**settings), **arguments)
        self.run.define_metric("spent")

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "asked":
            name = _trial_name(event["trial"]["id"])
            self.run.define_metric(f"{name}/step")
            self.run.define_metric(f"{name}/*", step_metric=f"{name}/step")
        elif kind == "step":
            record = {k: v for k, v in event["record"].items() if v is not None and k != "cost"}
            name = _trial_name(event["trial"])
            self.run.log(
                {f"{name}/{k}": v for k, v in record.items()} | {f"spent/{k}": v for k, v in event["spent"].items()}
            )
        elif kind == "told":
            result = event["result"]
            told = {"trial/id": result["trial"], "trial/steps": result["steps_done"], "trial/status": result["status"]}
            if result["score"] is not None:
                told["trial/validation"] = result["score"]
            self.run.log(told)
        elif kind == "recommended":
            self.run.summary.update({"recommended": event["config"]})
        elif kind == "evaluated":
            shown = ("greedy", "mean_at_k", "standard_error")
            self.run.summary.update({f"test/{k}": event["evaluation"][k] for k in shown})

    def close(self) -> None:
        self.run.finish()


def _trial_name(trial: int) -> str:
    return f"trial-{trial:03d}"
