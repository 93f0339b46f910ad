"""`calibrate`: the theta that fits an embedder."""

from __future__ import annotations

from functools import partial

from caredio.api import Table
from caredio.selection import calibrate, embed, engine
from caredio.selection.calibrate import Calibration
from caredio.selection.embedders import ENDPOINT
from caredio.selection.pipeline import candidates_and_vectors
from caredio.settings import view
from caredio.verbs import arguments, work
from caredio.verbs.arguments import Given, Place


class Calibrating:
    """A calibration whose arguments are checked."""

    def __init__(self, data: Table | None, out: Place, given: Given) -> None:
        arguments.to_rank(data, out)
        self.settings, self.endpoint = arguments.settings("calibrate", given)
        self.out = out
        self.rows, self.record = arguments.table(data, self.settings)
        if self.settings.embedder.startswith(ENDPOINT):  # too few are known before vectors are paid for
            calibrate.cultures(work.candidates(out, self.rows, self.settings))

    def result(self) -> Calibration:
        """What clusters look like at each theta."""
        with work.opened(self.out, create=self.rows is not None) as run:
            run.charge(self.endpoint.budget)
            reading, device = self.settings, engine.connect(self.settings.engine)
            encode = partial(embed.encoder, reading.embedder, reading.embedding_batch_size, self.endpoint, device)
            candidates, vectors = candidates_and_vectors(
                run, reading, self.rows, self.record, encode, aside="calibration"
            )
            return calibrate.run(candidates, vectors, view("calibrated", self.settings))
