"""What a recipe adds to TRL's training loop: both ends of the loss, and the data in the run's configuration."""

from __future__ import annotations

import json
from typing import Any

from transformers import TrainerCallback


class Ends(TrainerCallback):
    """Logs the first and the last step whatever `--logging_steps` is: a run of 12 steps may else log one loss."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 1 or state.global_step >= state.max_steps:
            control.should_log = True


class Data(TrainerCallback):
    """Writes what is trained on into the run's configuration, for TensorBoard and for Weights & Biases."""

    def __init__(self, trainer: Any, facts: dict[str, Any]) -> None:
        self.trainer, self.facts = trainer, facts

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        for callback in self.trainer.callback_handler.callbacks:  # `report_to` names them; each has begun by now
            if writer := getattr(callback, "tb_writer", None):
                writer.add_text("data", json.dumps(self.facts, ensure_ascii=False))
            wandb = getattr(callback, "_wandb", None)
            if wandb is not None and wandb.run is not None:
                wandb.config.update({"data": self.facts}, allow_val_change=True)
