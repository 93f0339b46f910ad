"""Others' contrastive answers: asked for where they are wanted, counted before, and what pairs are then made of."""

import caredio
from caredio import cultures, features, prompts, runs
from caredio.synthesis import voice
from caredio.synthesis.settings import Settings as Synthesis
from caredio.training import views
from caredio.training.settings import Settings

SMALL = {"per_topic": 3, "neighbours": 2, "compared": 1, "model": "scripted", "embedder": "openai:m", "theta": 0.99}
LOOSE = {"pairs": 9, "length_ratio": 1}


def read(run, table):
    return runs.read(sorted((run / table).glob("*.parquet")))


def test_each_other_answers_shown_the_candidate_s_isolated_answer_and_others(server, tmp_path):
    known = cultures.load()
    asking = {**SMALL, "base_url": server.url, "retries": 0}
    del asking["theta"]
    result = caredio.synthesize(["china"], ["food"], out=tmp_path / "run", contrast_others=True, **asking)
    made = read(tmp_path / "run", "contrasted_others")
    assert made.features == features.CONTRASTED_OTHERS
    rows = {row["sample_id"]: row for row in result.candidates}
    wanted = [(name, other["culture"]) for name, row in rows.items() for other in row["others"]]
    assert len(wanted) == 9  # three questions, three others each
    assert list(zip(made["sample_id"], made["culture"], strict=True)) == wanted
    template = prompts.load("contrast")
    sent = [body.get("messages") for body in server.bodies.values()]
    for row in made:
        candidate = rows[row["sample_id"]]
        rest = [one for one in candidate["others"] if one["culture"] != row["culture"]]
        shown = [(candidate["culture"], candidate["isolated_response"]), (rest[0]["culture"], rest[0]["response"])]
        assert row["response"] not in {other["response"] for other in candidate["others"]}
        messages = template.messages(
            name=known[row["culture"]].name,
            question=candidate["question"],
            answers="\n".join(f"- {known[slug].name}: {prompts.quote(said)}" for slug, said in shown),
            **voice.slots(Synthesis(), known[row["culture"]], "en"),
        )
        assert sent.count(messages) == 1


def test_pairs_are_then_contrastive_on_both_sides_and_the_plan_counted_the_calls(server, tmp_path):
    asking = {**SMALL, **LOOSE, "base_url": server.url, "retries": 0}
    arguments = (["china", "brazil"], ["food"])
    plain = caredio.plan(caredio.build, *arguments, **asking)
    planned = caredio.plan(caredio.build, *arguments, contrast_others=True, **asking)
    (step,) = [one for one in planned.steps if one.stage == "contrastive of others"]
    assert "contrastive of others" not in {one.stage for one in plain.steps}
    assert planned.total.calls - plain.total.calls == step.calls == 2 * 3 * 3
    out = tmp_path / "run"
    without = caredio.build(*arguments, out=out, **asking)
    before = without.preference.to_list()
    asked = len(server.bodies)
    made = caredio.build(*arguments, out=out, contrast_others=True, **asking)
    sent = [body["messages"] for body in list(server.bodies.values())[asked:]]
    assert sum(len(messages) == 2 for messages in sent) == step.calls  # a scripted text may be asked for again
    assert step.calls <= len(sent) <= step.upper_bound
    ranked = {row["sample_id"]: row for row in made.ranked}
    said = {(row["sample_id"], row["culture"]): row["response"] for row in read(out, "contrasted_others")}
    assert len(made.preference) == len(before) > 0
    for pair in made.preference:
        assert pair["chosen"] == ranked[pair["sample_id"]]["completion"]
        assert pair["rejected"][0]["content"] == said[pair["sample_id"], pair["rejected_culture"]]
    card = (caredio.publish(out) / "README.md").read_text()
    assert "Both sides are answers that were given in contrast to others'" in card
    asked = len(server.seen)
    ranking = {name: asking[name] for name in ("embedder", "theta", "compared", "base_url", "retries", *LOOSE)}
    again = caredio.select(out=out, **ranking)
    assert len(server.seen) == asked
    assert again.preference.to_list() == made.preference.to_list()


def test_an_other_that_gave_no_answer_rejects_nothing(server, tmp_path):
    asking = {**SMALL, **LOOSE, "base_url": server.url, "retries": 0}
    made = caredio.build(["china"], ["food"], out=tmp_path / "run", contrast_others=True, **asking)
    ranked, said = made.ranked, read(tmp_path / "run", "contrasted_others")
    lacking = said["culture"][0]
    some = said.filter(lambda row: row["culture"] != lacking)
    pairs = views.preference(ranked, made.vectors, Settings(pairs=9, length_ratio=1), some)
    assert lacking not in set(pairs["rejected_culture"])
    assert len(pairs) == sum(other["culture"] != lacking for row in ranked for other in row["others"])
    hardest = views.preference(ranked, made.vectors, Settings(rejected="hardest", length_ratio=1), some)
    assert len(hardest) == len(ranked)
    assert set(zip(hardest["sample_id"], hardest["rejected_culture"], strict=True)) <= set(
        zip(pairs["sample_id"], pairs["rejected_culture"], strict=True)
    )
