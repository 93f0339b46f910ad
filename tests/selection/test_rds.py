"""The selection of RDS+ by hand: targets take rows in turn; and the encoder that makes it RDS+ itself."""

import csv

import numpy as np
import pytest
from datasets import Dataset

import caredio
from caredio import features
from caredio.errors import InputError
from caredio.selection import embed, rank, rds
from caredio.selection.embedders import MINILM, folder
from caredio.selection.settings import Settings


def known(path, *items):
    """A file of questions with known answers: (country, question, right answer)."""
    with (path / "known.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["country", "prompt", "choices", "answer_idx"])
        rows.writerows([country, asked, f'{{"A": "none", "B": "{answer}"}}', "B"] for country, asked, answer in items)
    return str(path / "known.csv")


@pytest.mark.parametrize(("budget", "taken"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (9, [0, 1, 2, 3])])
def test_each_target_in_turn_offers_its_next_nearest_row_and_passes_where_that_is_taken(budget, taken):
    # the first takes 0; the second, whose nearest is 0 too, passes; the first takes 1; the second 2; the first has 2
    # next, which is taken, and the second 1, which is; 3 is left
    similar = np.array([[0.9, 0.8, 0.7, 0.2], [0.95, 0.3, 0.5, 0.1]])
    assert rds.round_robin(similar, budget) == taken


def test_of_equally_near_rows_the_first_comes_first():
    assert rds.round_robin(np.zeros((3, 4)), 3) == [0, 1, 2]


ANGLES = {"a": 0, "b": 30, "c": 80, "d": 120, "e": 200, "f": 10}  # degrees; e has no other culture, f is another's
AIMS = {"What is eaten?\nrice": 25, "What is drunk?\ntea": 90}


def plane(degrees):
    return [float(np.cos(np.radians(degrees))), float(np.sin(np.radians(degrees)))]


def test_rows_are_ranked_in_the_order_in_which_they_are_taken(tmp_path):
    path = known(
        tmp_path, ("China", "What is eaten?", "rice"), ("China", "What is drunk?", "tea"), ("UK", "Who?", "us")
    )
    columns = features.Features({name: kind for name, kind in features.SCORED.items() if name != "drop_reason"})
    rows = [
        {**dict.fromkeys(columns), "others": [], "sample_id": name, "culture": "uk" if name == "f" else "china"}
        | {"question": "?", "response": name, "is_center": False, "compared": int(name != "e")}
        for name in ANGLES
    ]
    pool = Dataset.from_list(rows, features=columns)
    vectors = Dataset.from_list(
        [
            {"sample_id": name, "sample_embedding": plane(angle), "response_embedding": plane(angle)}
            for name, angle in ANGLES.items()
        ],
        features=features.vectors(2),
    )
    settings = Settings(ranking="rds", validation=path, budget=3)

    def encode(texts):
        return np.array([plane(AIMS.get(text, 0)) for text in texts], np.float32) * 3  # of any length

    measured = rds.scores(pool, vectors, settings, encode)
    orders = {"b": 0.0, "c": -1.0, "a": -2.0}, {"c": 0.0, "b": -1.0, "d": -2.0}  # as rice or tea is drawn first
    drawn = rds.targets(["china"], settings)["china"]
    assert measured == {"a": None, "b": None, "c": None, "d": None, "f": 0.0} | orders[drawn[0].endswith("tea")]
    assert f"{measured['f']:.3f}" == "0.000"  # as the card shows it: no -0
    ranked = rank.run(rank.score(pool, vectors, settings, measured))
    names = [row["sample_id"] for row in ranked if row["culture"] == "china"]
    assert names == list(orders[drawn[0].endswith("tea")])


def test_targets_are_questions_with_their_right_answer_as_samples_are_embedded_and_no_more_than_asked_for(tmp_path):
    path = known(tmp_path, *(("UK", f"What {n}?", f"this {n}") for n in range(5)))
    made = rds.targets(["united_kingdom"], Settings(ranking="rds", validation=path, validation_items=3))
    every = {embed.sample(f"What {n}?", f"this {n}") for n in range(5)}
    assert len(made["united_kingdom"]) == 3
    assert set(made["united_kingdom"]) < every
    drawn = [
        rds.targets(["united_kingdom"], Settings(ranking="rds", validation=path, validation_items=3, seed=seed))
        for seed in range(5)
    ]
    assert drawn[0] == made
    assert any(other != made for other in drawn)


SAID = {"china": ("rice porridge", "the eldest", "at nine"), "uk": ("toast with butter", "all of us", "at five")}
ASKED = ("What is eaten first in the morning?", "Who pays at dinner?", "When do shops close?")
OWN = [
    {"question": question, "culture": culture, "response": SAID[culture][place]}
    for place, question in enumerate(ASKED)
    for culture in SAID
]


def test_a_table_is_ranked_towards_its_targets_without_a_model(tmp_path):
    items = ("China", "Who pays the bill in a restaurant?", "the oldest one"), ("UK", "What is breakfast?", "toast")
    result = caredio.select(Dataset.from_list(OWN), ranking="rds", validation=known(tmp_path, *items))
    assert [row["response"] for row in result.ranked if row["rank"] == 1] == ["the eldest", "toast with butter"]
    assert len(result.ranked) == 6


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({}, "rds selects by questions with known answers: name a file as validation"),
        ({"validation": "none.csv"}, "none.csv: cannot be read"),
        ({"validation": "known.csv"}, "known.csv: no question on uk; found china"),
        ({"validation": "known.csv", "embedder": "given", "theta": 0.7}, "and embedder is given; name one"),
    ],
)
def test_what_is_missing_is_one_sentence(tmp_path, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    known(tmp_path, ("China", "What is eaten?", "rice"))
    with pytest.raises(InputError, match=sentence):
        caredio.select(Dataset.from_list(OWN), ranking="rds", **given)
    with pytest.raises(InputError, match=sentence):
        caredio.plan(caredio.select, Dataset.from_list(OWN), ranking="rds", **given)


def test_scores_that_were_not_found_before_are_one_sentence():
    columns = {name: kind for name, kind in features.SCORED.items() if name not in ("drop_reason", "rank", "score")}
    row = {**dict.fromkeys(columns), "others": [], "sample_id": "a", "culture": "uk", "question": "?", "response": "a"}
    pool = Dataset.from_list([row], features=features.Features(columns))
    with pytest.raises(InputError, match="ranking ifd needs scores that were found before"):
        rank.score(pool, features.table([], features.vectors(2)), Settings(ranking="ifd"))


def test_an_encoder_of_hidden_states_is_a_folder_of_two_modules(tmp_path):
    """That of docs/selection.md, of a tiny model: the mean of its last hidden states by weights 1, 2, 3, ..."""
    torch = pytest.importorskip("torch")
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel

    tokenizer = AutoTokenizer.from_pretrained(folder(MINILM))
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaModel(LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, **size)).eval()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    states = Transformer(str(tmp_path / "model"))
    pooled = Pooling(states.get_embedding_dimension(), pooling_mode="weightedmean")
    SentenceTransformer(modules=[states, pooled], device="cpu").save(str(tmp_path / "encoder"))
    texts = ["What is eaten?\nrice", "rice porridge with a salted egg and some pickles"]
    found = embed.encoder(str(tmp_path / "encoder"))(texts)
    for text, vector in zip(texts, found, strict=True):
        with torch.no_grad():
            hidden = model(**tokenizer(text, return_tensors="pt", return_token_type_ids=False)).last_hidden_state[0]
        weights = torch.arange(1, len(hidden) + 1)[:, None] / (len(hidden) * (len(hidden) + 1) / 2)
        assert vector == pytest.approx((weights * hidden).sum(dim=0).numpy(), abs=1e-5)
