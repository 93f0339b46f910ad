"""A fine-tuning of a model behind an API, checked: what it will cost, or the job that is submitted and watched."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
import sys
from pathlib import Path
from typing import Any

from caredio import cultures, disk, packages, runs
from caredio.errors import InputError
from caredio.llm.access import Access
from caredio.llm.settings import Endpoint
from caredio.llm.spec import LOCAL_MODEL, Spec
from caredio.publishing.settings import Settings as Release
from caredio.runs import Run
from caredio.training import finetune, job_record, jobs
from caredio.training.finetune import Estimate
from caredio.training.finetuning_settings import DPO, Settings

log = logging.getLogger("caredio")


class Tuning:
    """A fine-tuning whose arguments and rows are checked: its estimate, or the job."""

    def __init__(
        self,
        data: Path,
        culture: str,
        out: Path | str | None,
        settings: Settings,
        spec: Spec,
        endpoint: Endpoint,
        release: Release,
        export_only: bool = False,
        yes: bool = False,
        cancel: bool = False,
    ) -> None:
        """Read a run's rows and check them by the rules of the API.

        Args:
            data: the run folder.
            release: of which the share that is held out is read.
            culture, out, export_only, yes, cancel: as `api.finetune` takes them.

        Raises:
            InputError: there is nothing to tune on, or a row breaks a rule.
        """
        if spec.model == LOCAL_MODEL:
            raise InputError("name the model to fine-tune, as its endpoint does: gpt-4.1-2025-04-14.")
        self.data, self.culture, self.settings, self.spec = data, culture, settings, spec
        self.endpoint, self.release = endpoint, release
        self.export_only, self.yes, self.cancel = export_only, yes, cancel
        with Run(data, create=False) as run:
            ranked = run.table("ranked")
            pairs = run.table("preference") if settings.method == DPO else None
            names = {slug: one.name for slug, one in run.cultures().items()}
            self.files = finetune.examples(ranked, pairs, culture, names, settings, release.share)
            self.hash = run.hashes()["ranked"]
        self.cultures = sorted(set(ranked["culture"][:])) if culture == finetune.ALL else [culture]
        slug = finetune.ALL if culture == finetune.ALL else cultures.slugs(ranked["culture"][:])[culture]
        self.name = slug if settings.method != DPO else f"{slug}-dpo"
        self.folder = Path(out) if out is not None else disk.named(data / "finetune", self.name)
        finetune.check(self.files, settings.method, spec.model)
        azure = spec.provider == "azure"
        self.estimate = finetune.estimate(self.files, settings, spec.model, azure, endpoint.max_cost)

    def plan(self) -> Estimate:
        return self.estimate

    def result(self) -> job_record.Finetuned:
        """What was exported, tuned or cancelled."""
        lines = {name: finetune.content(examples) for name, examples in self.files.items()}
        access = None
        if not self.export_only:  # without a key nothing is written
            access = Access(self.spec, self.endpoint.base_url, self.endpoint.api_key_variable)
        with job_record.held(self.folder) as state:
            if access is not None and self.cancel:
                return job_record.Finetuned(self.folder, jobs.cancel(state, access, self.endpoint))
            state.begin(self._record(lines))
            for name, content in lines.items():
                with disk.replacing(self.folder / name) as file:
                    file.write(content)
            state.save()
            if access is not None:
                if not state.submitted:
                    log.info("%s", self.estimate)
                    _confirm(self.estimate, self.yes)
                jobs.run(state, access, self.endpoint)
            return job_record.Finetuned(self.folder, state.record)

    def _record(self, lines: dict[str, bytes]) -> dict[str, Any]:
        """What finetune.json holds, before anything is sent; named as in training.json."""
        chosen, hashes = self.settings, {name: hashlib.sha256(content).hexdigest() for name, content in lines.items()}
        names = ("batch_size", "learning_rate_multiplier", *(("beta",) if chosen.method == DPO else ()))
        hyperparameters = {"n_epochs": chosen.epochs, **{name: getattr(chosen, name) for name in names}}
        given = {name: value for name, value in hyperparameters.items() if value is not None}
        kind = "dpo" if chosen.method == DPO else "supervised"
        return {
            "recipe": chosen.method,
            "method": "api",
            "base_model": self.spec.model,
            "provider": self.spec.provider,
            "dataset_name": disk.name(self.data),
            "dataset_config": self.culture,
            "dataset_split": "train",
            "dataset_sha256": self.hash,
            "test_share": self.release.share,
            "budget": chosen.budget,
            "rows": self.estimate.examples,
            "held_out_rows": self.estimate.held_out,
            "rows_sha256": hashes[finetune.TRAIN],
            "cultures": self.cultures,
            "hyperparameters": given,
            "seeds": {"seed": chosen.seed},
            "estimate": {**dataclasses.asdict(self.estimate), "trained_tokens": self.estimate.trained_tokens},
            "versions": {"caredio": runs.version(), **packages.versions("openai", "datasets")},
            "request": {
                "model": self.spec.model,
                "method": {"type": kind, kind: {"hyperparameters": given}},
                "seed": chosen.seed,
                "suffix": chosen.suffix or re.sub(r"[^A-Za-z0-9]+", "-", f"caredio-{self.name}")[:64],
                "sha256": hashes,
            },
            "files": {name: {"bytes": len(content), "sha256": hashes[name]} for name, content in lines.items()},
        }


def _confirm(estimate: Estimate, yes: bool) -> None:
    """See that the user wants to pay.

    Raises:
        InputError: they do not, or there is nobody to ask.
    """
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise InputError(
            f"submitting this job costs money ({estimate.cost}); give --yes to do so (yes=True in Python)."
        )
    if input(f"Submit this job ({estimate.cost})? [y/N] ").strip().lower() not in ("y", "yes"):
        raise InputError("nothing was submitted; the files stay where they were written.")
