"""Tables of a release as files: as `datasets` writes them, and their first rows in a row group of their own."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hub_server import HubServer
from publishing.test_hub import python

from caredio import features
from caredio.publishing import parquet


def rows(count, seed=0):
    draw = np.random.default_rng(seed)
    return Dataset.from_dict(
        {
            "sample_id": [f"{number:016x}" for number in range(count)],
            "prompt": [[{"role": "user", "content": draw.bytes(40).hex()}] for _ in range(count)],
            "response": [draw.bytes(400).hex() for _ in range(count)],
            "completion": [[{"role": "assistant", "content": "tea"}] for _ in range(count)],
        },
        features=features.columns("sample_id prompt response completion"),
    )


@pytest.fixture
def file(tmp_path):
    parquet.write(rows(2_500), tmp_path / "china" / "train.parquet")
    return tmp_path / "china" / "train.parquet"


def test_what_is_trained_on_comes_first_and_ids_last():
    for columns in (features.RANKED, features.SCORED, features.PREFERENCE, features.UNPAIRED):
        ordered = parquet.ordered(columns)
        assert ordered == columns  # as a dict: nothing is lost
        assert list(ordered)[-2:] == ["question_id", "sample_id"]
    assert list(parquet.ordered(features.RANKED))[:5] == ["prompt", "completion", "culture", "rank", "score"]
    assert list(parquet.ordered(features.PREFERENCE))[:3] == ["prompt", "chosen", "rejected"]
    assert list(parquet.ordered(features.UNPAIRED))[:3] == ["prompt", "completion", "label"]
    assert list(parquet.ordered(features.vectors(3))) == ["sample_id", "sample_embedding", "response_embedding"]


def test_a_file_reads_back_as_the_table(file):
    back = Dataset.from_parquet(str(file), cache_dir=str(file.parent / "cache"))
    assert back.to_list() == rows(2_500).to_list()
    assert back.column_names == ["prompt", "completion", "response", "sample_id"]
    assert parquet.features(file) == rows(1).features
    assert parquet.first(file) == rows(2_500)[0]


def test_sizes_are_those_of_the_loaded_table(file):
    size = parquet.size(file)
    assert size.rows == 2_500
    assert size.memory == pytest.approx(pq.read_table(file).nbytes, rel=0.02)  # a bitmap ends at each row group


def test_page_index_and_chunks_are_those_that_datasets_writes(file, tmp_path):
    rows(2_500).to_parquet(str(tmp_path / "theirs.parquet"))
    ours, theirs = (pq.ParquetFile(one) for one in (file, tmp_path / "theirs.parquet"))
    for one in (ours, theirs):
        column = one.metadata.row_group(0).column(0)
        assert column.has_offset_index
        assert column.has_column_index
    key = b"content_defined_chunking"
    assert json.loads(ours.metadata.metadata[key]) == json.loads(theirs.metadata.metadata[key])
    assert ours.metadata.row_group(0).column(0).compression == theirs.metadata.row_group(0).column(0).compression


def test_equal_tables_are_equal_bytes_however_they_lie_in_memory(tmp_path):
    whole = rows(1_500)
    table = whole.with_format("arrow")[:]
    parts = Dataset(pa.concat_tables([table.slice(0, 7), table.slice(7, 900), table.slice(907)]))
    for number, one in enumerate((whole, parts.cast(whole.features), whole.select(range(1_500)))):
        parquet.write(one, tmp_path / f"{number}.parquet")
    assert len({(tmp_path / f"{number}.parquet").read_bytes() for number in range(3)}) == 1


def test_a_row_that_changes_leaves_most_of_the_file_as_it_was(tmp_path):
    """By shared blocks of 4 KiB at any offset, as the Hub finds what it has already."""
    whole = rows(20_000)
    parquet.write(whole, tmp_path / "a.parquet")
    parquet.write(whole.select([row for row in range(20_000) if row != 9_000]), tmp_path / "b.parquet")
    before, after = ((tmp_path / name).read_bytes() for name in ("a.parquet", "b.parquet"))
    found = sum(after[at : at + 4096] in before for at in range(0, len(after), 4096))
    assert found > 0.9 * len(after) / 4096  # 0.83 without chunks by content


def test_the_first_rows_are_row_groups_of_their_own(file, tmp_path):
    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [200, 200, 2_100]
    for count, wanted in ((0, [0]), (1, [1]), (200, [200]), (201, [200, 1]), (401, [200, 200, 1])):
        parquet.write(rows(count), tmp_path / "few.parquet")
        few = pq.read_metadata(tmp_path / "few.parquet")
        assert [few.row_group(number).num_rows for number in range(few.num_row_groups)] == wanted


def test_a_large_table_has_groups_of_no_more_than_datasets_would_write(monkeypatch, tmp_path):
    monkeypatch.setattr(parquet, "_GROUP", 500_000)
    parquet.write(rows(2_500), tmp_path / "large.parquet")
    metadata = pq.read_metadata(tmp_path / "large.parquet")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    assert groups[0].num_rows == 200
    assert sum(group.num_rows for group in groups) == 2_500
    assert 4 <= len(groups) <= 8
    assert all(group.total_byte_size < 600_000 for group in groups)


def test_vectors_of_a_fixed_length_are_written(tmp_path):
    made = Dataset.from_dict(
        {"sample_id": ["a", "b"], "sample_embedding": [[1.0, 0.0], None], "response_embedding": [[0.0, 1.0]] * 2},
        features=features.vectors(2),
    )
    parquet.write(made, tmp_path / "vectors.parquet")
    assert parquet.features(tmp_path / "vectors.parquet") == features.vectors(2)
    assert Dataset.from_parquet(str(tmp_path / "vectors.parquet"), cache_dir=str(tmp_path)).to_list() == made.to_list()


@pytest.mark.slow
def test_streaming_the_first_200_rows_leaves_the_rest_where_it_is(tmp_path):
    """With one row group a shard, as `reshard` has it; a client's file reads 5 MiB ahead at each place."""
    draw = np.random.default_rng(0)
    vectors = {
        name: draw.normal(size=(8_000, 384)).astype("float32") for name in ("sample_embedding", "response_embedding")
    }
    names = {"sample_id": [f"{number:016x}" for number in range(8_000)]}
    parquet.write(Dataset.from_dict(names | vectors, features=features.vectors(384)), tmp_path / "r" / "train.parquet")
    with HubServer(tmp_path / "hub") as hub:
        python(
            hub,
            tmp_path / "home",
            f"""
            from huggingface_hub import HfApi
            HfApi().create_repo("tester/vectors", repo_type="dataset")
            HfApi().upload_folder(repo_id="tester/vectors", repo_type="dataset", folder_path={str(tmp_path / "r")!r})
            """,
        )
        sent, honest = [], hub.honest_answer

        def counted(call):
            answer = honest(call)
            sent.append(len(answer.body) if call.method == "GET" and call.path.endswith(".parquet") else 0)
            return answer

        hub.honest_answer = counted
        found = python(
            hub,
            tmp_path / "fresh",
            """
            from datasets import load_dataset
            rows = load_dataset("tester/vectors", split="train", streaming=True).reshard()
            print([row["sample_id"] for row in rows.take(200)][-1])
            """,
        )
    assert found == [f"{199:016x}"]
    size = (tmp_path / "r" / "train.parquet").stat().st_size
    groups = pq.read_metadata(tmp_path / "r" / "train.parquet")
    read = sum(groups.row_group(number).total_byte_size for number in (0, 1))
    assert sum(sent) < read + 2 * 5 * 2**20 + 2**20 < 0.6 * size
