"""Where selection's heavy parts run: in this process, or on Ray's workers, on this machine or many.

The parts are the same functions either way: `tasks` (a culture's clusters) are independent of each other, `batches`
(embedding, distinctiveness) go row by row. An engine changes where that is, and at most the last digits of the numbers.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import pyarrow as pa

from caredio.errors import InputError

_BATCH = 1024  # rows that a worker takes at once
WITHOUT_EFFECT = ("_BATCH",)

Work = Callable[[pa.Table], pa.Table]  # rows -> as many rows


class Engine(Protocol):
    def tasks(self, function: Callable[..., Any], items: Iterable[Sequence[Any]]) -> list[Any]:
        """`function(*item)` of every item, in order."""

    def batches(self, make: Callable[[Any], Work], shared: Any, rows: pa.Table) -> pa.Table:
        """`make(shared)` applied to all rows, in order; each worker makes it once, `shared` is sent to it once."""


class Local:
    """Here and now, one after the other."""

    def tasks(self, function: Callable[..., Any], items: Iterable[Sequence[Any]]) -> list[Any]:
        return [function(*item) for item in items]

    def batches(self, make: Callable[[Any], Work], shared: Any, rows: pa.Table) -> pa.Table:
        return make(shared)(rows)


class Ray:
    """Workers of the Ray cluster that `$RAY_ADDRESS` names, else of one that is started on this machine's cores."""

    def __init__(self) -> None:
        """See whether Ray is there; nothing is started yet.

        Raises:
            InputError: it is not.
        """
        if importlib.util.find_spec("ray") is None:
            raise InputError("engine ray needs a package; pip install 'caredio[scale]' brings it.")

    def tasks(self, function: Callable[..., Any], items: Iterable[Sequence[Any]]) -> list[Any]:
        ray = _joined()
        remote = ray.remote(function)
        return _in_one_sentence(lambda: ray.get([remote.remote(*item) for item in items]))

    def batches(self, make: Callable[[Any], Work], shared: Any, rows: pa.Table) -> pa.Table:
        ray = _joined()
        sent = ray.put(shared)

        class Worker:
            def __init__(self) -> None:
                self.work = make(ray.get(sent))

            def __call__(self, piece: pa.Table) -> pa.Table:
                return self.work(piece.drop_columns(["row"])).append_column("row", piece["row"])

        numbered = rows.append_column("row", pa.array(range(len(rows)), pa.int64()))
        pieces = [numbered.slice(start, _BATCH).combine_chunks() for start in range(0, len(rows), _BATCH)]
        gpus, cores = (int(ray.cluster_resources().get(kind, 0)) for kind in ("GPU", "CPU"))
        done = ray.data.from_arrow(pieces).map_batches(
            Worker,
            batch_size=None,  # a piece at a time
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=max(1, min(gpus or cores, len(pieces)))),
            num_gpus=1 if gpus else 0,
        )
        found = pa.concat_tables(_in_one_sentence(lambda: ray.get(done.to_arrow_refs())))
        return found.sort_by("row").drop_columns(["row"])


def _in_one_sentence(result: Callable[[], Any]) -> Any:
    """What the workers made.

    Raises:
        InputError: one of them could not; the last line of its message.
    """
    import ray

    try:
        return result()
    except ray.exceptions.RayError as error:
        raise InputError(f"engine ray: a worker failed ({str(error).strip().splitlines()[-1]}).") from None


def _joined() -> Any:
    """Ray, once this process belongs to a cluster.

    Raises:
        InputError: the cluster cannot be joined.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to others
    import ray
    import ray.data

    if not ray.is_initialized():
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise InputError(f"engine ray: no cluster ({str(error).splitlines()[0]}); check RAY_ADDRESS.") from None
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


def connect(engine: str) -> Engine:
    """The engine of that name: `local` or `ray`.

    Raises:
        InputError: it is Ray, which is not there.
    """
    return Ray() if engine == "ray" else Local()
