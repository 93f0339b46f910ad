"""Who answers on the page: the chats that weights and endpoints are asked, and what they say."""

import json

import pytest
from llm_server import LLMServer

from caredio import checkpoints, cultures
from caredio.errors import InputError
from caredio.llm.settings import Endpoint
from caredio.llm.spec import Spec

pytest.importorskip("peft")

from caredio.app import speakers

QUESTION = "What is eaten at a wedding?"
KNOWN = cultures.load()
ASKED = [KNOWN["china"], KNOWN["brazil"]]


def greedy(folder, chat, adapter=None, longest=8):
    """What transformers alone writes."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model = PeftModel.from_pretrained(model, adapter) if adapter else model
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    made = model.generate(**inputs, max_new_tokens=longest, do_sample=False)
    written = tokenizer.decode(made[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True).strip()
    return written or "(the model ended at once)"


def test_weights_answer_as_they_are_in_their_part_and_trained(tiny, trained):
    local = speakers.Local(str(tiny), trained, ASKED, longest=8)
    assert local.names == ("raw", "role-play", "trained")
    user = {"role": "user", "content": QUESTION}
    part = {
        "role": "system",
        "content": "You speak as a member of Chinese society: you grew up in it, live in it, and know its values, norms"
        " and customs from the inside. Answer every question as such a person would.",
    }
    adapted = greedy(tiny, [user], trained / "china")
    assert local.answer("trained", "china", QUESTION) == adapted != greedy(tiny, [user])
    assert local.answer("raw", "china", QUESTION) == greedy(tiny, [user])  # the adapter is off again
    assert local.answer("role-play", "china", QUESTION) == greedy(tiny, [part, user])
    assert local.answer("trained", "brazil", QUESTION) == "(trained: no model for Brazil)"
    assert any("trained" in note and "brazil" in note for note in local.notes)


def test_an_endpoint_is_asked_the_same_chats(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    tuned = tmp_path / "finetune" / "china"
    tuned.mkdir(parents=True)
    (tuned / "finetune.json").write_text(json.dumps({"job": {"fine_tuned_model": "ft:m:me::1"}}))
    with LLMServer() as server:
        endpoint = Endpoint(base_url=server.url)
        remote = speakers.Remote(Spec(model="m"), endpoint, tuned.parent, ASKED)
        said = {name: remote.answer(name, "china", QUESTION) for name in remote.names}
        assert remote.answer("trained", "brazil", QUESTION) == "(trained: no model for Brazil)"
        asked = [(body["model"], [turn["role"] for turn in body["messages"]]) for body in server.bodies.values()]
    assert asked == [("m", ["user"]), ("m", ["system", "user"]), ("ft:m:me::1", ["user"])]
    assert all(said.values())
    with pytest.raises(InputError, match="names no model that 'm''s endpoint serves"):
        speakers.Remote(Spec(model="m"), endpoint, tmp_path, ASKED)


def test_an_exported_adapter_is_asked_by_the_name_that_the_server_gives_it(tiny, trained, tmp_path):
    import caredio

    caredio.export(trained, to=tmp_path / "out", adapter=True)
    assert speakers._tuned(tmp_path / "out", "japan") == "japan"
    assert speakers._tuned(tmp_path / "out", "brazil") is None
    assert not (tmp_path / "out" / "japan" / checkpoints.CONFIG).exists()
