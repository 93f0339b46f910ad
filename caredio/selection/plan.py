"""What the scores that ask a model will cost, before they cost anything.

Every sample is counted as its cluster's centre; those that are none are not asked about.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from datasets import Dataset

from caredio.llm.embeddings import batches
from caredio.llm.plan import ANSWER, CHARACTERS, QUESTION, Candidates, Step, is_local, likelihoods, of_calls, tokens
from caredio.llm.plan import vectors as embedded
from caredio.llm.spec import Spec
from caredio.selection import distinct, embed, represent, validation
from caredio.selection.conditioning import Conditioning, probe
from caredio.selection.settings import Settings

_CHOICE = 8  # tokens of a multiple-choice answer
_SAMPLE = {"question": "?" * QUESTION, "response": "." * ANSWER}


def expected(candidates: Sequence[Candidates], settings: Settings, spec: Spec) -> tuple[Step, ...]:
    """The calls of `select` on candidates that are not written yet; none where neither scores nor embedder ask."""
    local, answer, found = is_local(spec), ANSWER // CHARACTERS, []
    if settings.embedder.startswith(embed.ENDPOINT):
        rows = sum(one.rows for one in candidates)
        texts = 2 * rows + sum(one.rows * (one.others + one.panel) for one in candidates)
        found.append(_vectors(settings, texts, texts * ANSWER + rows * (QUESTION + 1)))
    if settings.representativeness == "in_context":
        found.append(_in_context({one.culture: one.rows for one in candidates}, _SAMPLE, settings, spec))
    if settings.representativeness == "information":
        counts = [informing(one.rows, one.panel, settings) for one in candidates]
        texts, chats = (sum(numbers) for numbers in zip(*counts, strict=True))
        asked = tokens(_conditioning(settings).chat("", [_SAMPLE], _SAMPLE["question"]))
        found.append(likelihoods("information", texts, chats, asked, answer, local))
    if settings.distinctiveness == "information":
        new = [one for one in candidates if not one.measured]
        calls = sum(one.rows * (1 + min(settings.compared, one.others)) for one in new)
        asked = tokens(_conditioning(settings).chat("", [], _SAMPLE["question"]))
        found.append(likelihoods("other cultures", calls, calls, asked, answer, local))
    return tuple(found)


def probes(prompts: str | None, spec: Spec) -> tuple[Step, ...]:
    """The call that shows, before candidates are paid for, whether the model returns log-probabilities."""
    messages, answer = probe(Conditioning(prompts=prompts))
    return (likelihoods("log-probabilities", 1, 1, tokens(messages), len(answer), is_local(spec)),)


def informing(rows: int, panel: int, settings: Settings) -> tuple[int, int]:
    """(answers, chats before them) that a culture's `information` asks about at most.

    The panel's answers to a question share a chat. A sample's placebo is a sample too, so that there are no more
    chats than samples before the questions of others.
    """
    near, rest = represent.most_references(rows, panel, settings)
    pairs = min(2 * rows * rest, rows * (rows - 1))
    return 2 * rows * near + pairs, 2 * rows * min(near, 1) + pairs


def steps(candidates: Dataset, settings: Settings, spec: Spec) -> tuple[Step, ...]:
    """The calls of `select` on `features.CANDIDATES`; none where neither scores nor embedder ask."""
    local, found = is_local(spec), []
    if settings.embedder.startswith(embed.ENDPOINT):
        texts = embed.texts(embed.samples(candidates))
        step = _vectors(settings, len(texts), sum(map(len, texts)))
        found.append(Step(step.stage, sum(1 for _ in batches(texts)), step.prompt_tokens, 0, step.model))
    if settings.representativeness == "in_context":
        rows = max(1, len(candidates))
        sample = {name: "." * (sum(map(len, candidates[name][:])) // rows) for name in _SAMPLE}
        found.append(_in_context(Counter(candidates["culture"][:]), sample, settings, spec))
    if settings.representativeness == "information":
        apart = represent.apart(candidates)
        calls = represent.calls(apart, represent.CultureIndex(apart), settings, _conditioning(settings))
        found.append(of_calls("information", calls, local))
    if settings.distinctiveness == "information":
        found.append(of_calls("other cultures", distinct.calls(candidates, settings, _conditioning(settings)), local))
    return tuple(found)


def pool(candidates: Dataset) -> tuple[Candidates, ...]:
    """How many candidates there are of each culture; the most others and panel of one."""
    rows = Counter(candidates["culture"][:])
    others, panel = dict.fromkeys(rows, 0), dict.fromkeys(rows, 0)
    for row in candidates.select_columns(["culture", "others", "panel"]):
        n_others = len({other["culture"] for other in row["others"]})
        others[row["culture"]] = max(others[row["culture"]], n_others)
        panel[row["culture"]] = max(panel[row["culture"]], len(row["panel"]))
    return tuple(Candidates(culture, rows[culture], others[culture], panel[culture]) for culture in sorted(rows))


def _vectors(settings: Settings, texts: int, characters: int) -> Step:
    model = settings.embedder.partition(":")[2]
    return embedded("vectors", model, [(texts, characters // max(1, texts))])


def _in_context(rows: Mapping[str, int], sample: Mapping[str, str], settings: Settings, spec: Spec) -> Step:
    """The questions with known answers, each put to the largest clusters of its culture."""
    file = settings.validation or ""
    items = validation.read(file, settings.prompts)
    calls = asked = 0
    for culture, count in rows.items():
        known = validation.of(items, culture, file)
        put = min(count, settings.centers) * min(settings.validation_items, len(known))
        calls += put
        asked += put * sum(len(item.question) for item in known) // len(known)
    before = tokens(_conditioning(settings).chat("", [sample] * settings.shots, ""), validation.SCHEMA, spec)
    prompt = calls * before + asked // CHARACTERS
    return Step("in context", calls, prompt, calls * min(_CHOICE, spec.max_tokens), upper_bound=2 * calls)


def _conditioning(settings: Settings) -> Conditioning:
    return Conditioning(prompts=settings.prompts)
