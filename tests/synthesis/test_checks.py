"""Checks on text: what each finds, and how rarely people's own words are taken for it."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caredio import cultures, features
from caredio.errors import InputError
from caredio.llm.rows import Unusable
from caredio.synthesis import checks
from caredio.synthesis.checks import reason
from caredio.synthesis.settings import Settings

KNOWN = cultures.load()
SLUGS = st.sampled_from([*KNOWN, None])
BLEND = Path(__file__).parents[1] / "data" / "blend"
LANGUAGES = {  # of the sample's regions, where the detector knows them
    "Algeria": "ar",
    "Azerbaijan": "az",
    "China": "zh-CN",
    "Ethiopia": "am",
    "Greece": "el",
    "Indonesia": "id",
    "Iran": "fa",
    "Mexico": "es-MX",
    "South_Korea": "ko-KR",
    "Spain": "es",
    "UK": "en-GB",
}
PROMPT = (
    'Answer as yourself.\n- Japan: "We take off our shoes at the door, and guests are given slippers for the hall."'
)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("I'm sorry, but I can't share views on this topic.", "en"),
        ("I cannot assist with that request.", "en"),
        ("I must decline to answer this question.", "en"),
        ("抱歉，我无法回答这个问题。", "zh-CN"),
        ("申し訳ありませんが、お答えできません。", "ja-JP"),
        ("죄송하지만 그 질문에는 답변할 수 없습니다.", "ko-KR"),
        ("Lo siento, pero no puedo responder a eso.", "es-MX"),
        ("Sinto muito, mas não posso responder.", "pt-BR"),
        ("Tut mir leid, aber ich kann das nicht beantworten.", "de-DE"),
        ("Üzgünüm, bu soruya cevap veremem.", "tr-TR"),
        ("عذرًا، لا أستطيع الإجابة عن هذا السؤال.", "ar-EG"),
        ("क्षमा करें, मैं इसका उत्तर नहीं दे सकता।", "hi-IN"),
    ],
)
def test_refusals(text, language):
    assert reason(text, language) == "refusal"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("As an AI language model, I eat nothing.", "en"),
        ("We eat at six. I don't have personal experiences, though.", "en"),
        ("Sure, here is what I would say: rice.", "en"),
        ("Here's my answer: rice.", "en"),
        ("作为一个人工智能，我不吃饭。", "zh-CN"),
        ("AIとして、私は食事をしません。", "ja-JP"),
        ("저는 인공지능이기 때문에 먹지 않습니다.", "ko-KR"),
        ("Als KI esse ich nichts.", "de-DE"),
        ("Como modelo de lenguaje, no como nada.", "es-MX"),
        ("Bir yapay zeka olarak yemek yemem.", "tr-TR"),
    ],
)
def test_talk_about_the_model(text, language):
    assert reason(text, language) == "meta-talk"


@pytest.mark.parametrize(
    "text",
    [
        "I can't help my parents as much as I would like, so I send money.",
        "I am sorry to say that we rarely eat together.",
        "As an aunt, I bring sweets; my son studies artificial intelligence.",
        "Of course, the eldest sits first.",
        "Here is where we differ: the bride's family pays.",
    ],
)
def test_everyday_words_are_neither(text):
    assert reason(text) is None


def test_a_stretch_of_the_prompt_is_a_leak_whatever_its_case_and_marks():
    assert reason("we take off our shoes at the door and guests are given slippers!", prompt=PROMPT) == "leaked prompt"
    assert reason("We take off our shoes at the door.", prompt=PROMPT) is None  # anyone might say so


def test_the_question_is_no_part_of_what_leaks():
    question = "What do you give to guests who come to your home for the first time?"
    messages = [{"role": "system", "content": "Be concrete."}, {"role": "user", "content": f"{question}\n\nAnswer."}]
    said = "What I give to guests who come to your home for the first time? Tea."
    assert reason(said, prompt=checks.shown(messages, question)) is None
    assert reason(said, prompt="\n".join(message["content"] for message in messages)) == "leaked prompt"


@pytest.mark.parametrize(
    ("text", "language", "found"),
    [
        ("At home my grandmother cooks, and the children set the table.", "en", None),
        ("At home my grandmother cooks, and the children set the table.", "ko-KR", "wrong language"),
        ("집에서는 할머니가 요리를 하시고 아이들이 상을 차립니다.", "ko-KR", None),
        ("집에서는 할머니가 요리를 하시고 아이들이 상을 차립니다.", "en", "wrong language"),
        ("En casa cocina mi abuela y los niños ponen la mesa.", "en", "wrong language"),
        ("احنا بنفطر فول وطعمية كل يوم الصبح مع العيلة في البيت", "ar-EG", None),  # as spoken in Egypt
        ("For my house, na mama dey cook, and wetin we dey chop na rice and stew.", "en-NG", None),
        ("我哋屋企食飯嘅時候，阿嫲坐咗先，其他人先至可以起筷。", "zh-SG", None),
        ("rice", "ko-KR", None),  # too short to tell
        ("At home my grandmother cooks, and the children set the table.", "su-ID", None),  # one the detector lacks
    ],
)
def test_the_language(text, language, found):
    assert reason(text, language) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I hate those fucking newcomers in our street.", "toxic"),
        ("Go to hell, you stupid idiots over there.", "toxic"),
        ("We eat stinky tofu and braised pork balls on feast days.", None),
        ("We roast a suckling pig and eat its balls and tongue.", None),
        ("My brother is gay, and the whole family came to his wedding.", None),
        ("We pray to God before we eat the lamb.", None),
    ],
)
def test_toxic_words(text, found):
    assert reason(text) == found


@pytest.mark.parametrize(
    ("text", "country", "found"),
    [
        ("Write to mei.lin@example.com before you come.", None, "personal data"),
        ("Call +44 20 7946 0958 before you come.", None, "personal data"),
        ("Call 020 7946 0958 before you come.", "GB", "personal data"),
        ("Send the money to DE89 3704 0044 0532 0130 00.", None, "personal data"),
        ("Pay with card 4111 1111 1111 1111 if you like.", None, "personal data"),
        ("Send the money to DE89 3704 0044 0532 0130 01.", None, None),  # its check digits are wrong
        ("In 1997, 2008 and 2019 about 1,400,000 people came.", "GB", None),
        ("We married on 12/06/1998 and paid 20 000 for the hall.", "GB", None),
    ],
)
def test_personal_data(text, country, found):
    assert reason(text, country=country) == found


@pytest.mark.parametrize(
    ("text", "country", "found"),
    [
        ("Ｗｒｉｔｅ ｔｏ ｍｅｉ．ｌｉｎ＠ｅｘａｍｐｌｅ．ｃｏｍ.", None, True),
        ("Write to mei\u00ad.lin@\u200bexample.com.", None, True),
        ("電話は０３－１２３４－５６７８です。", "JP", True),
        ("رقمي ٠١٠٠ ١٢٣ ٤٥٦٧.", "EG", True),
        ("电话13800138000联系我。", "CN", True),
        ("Call 020\u00a07946\u20110958.", "GB", True),
        ("银行卡号4111111111111111请转账。", "CN", True),
        ("Pay with ４１１１ １１１１ １１１１ １１１１.", None, True),
        ("Pay with 4111 1111 1111 1111 12/27 if you like.", None, True),
        ("IBAN：DE89 3704 0044 0532 0130 00 OR CASH", None, True),
        ("Send it to de89370400440532013000 please.", None, True),
        ("My amex is 3782 822463 10005.", None, True),
        ("We met in 2018 2019 2020 2021 and 2022.", None, False),
    ],
)
def test_personal_data_in_any_digits_and_between_any_letters(text, country, found):
    assert checks.is_personal(text, country) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("All Turkish men are proud of that.", "sweeping statement"),
        ("Every German loves order.", "sweeping statement"),
        ("Japanese people never show anger.", "sweeping statement"),
        ("In my family women are naturally better at it.", "sweeping statement"),
        ("Pedestrians always wait for a walk signal.", None),
        ("In China the eldest usually sits first.", None),
        ("All my friends are at the market, and the women always laugh.", "sweeping statement"),
        ("Many Turkish men I know like tea.", None),
        ("All Chinese women are obedient", "sweeping statement"),
        ("ALL CHINESE WOMEN ARE OBEDIENT", "sweeping statement"),
        ("All\u00a0Chinese\nwomen are obedient.", "sweeping statement"),
        ("every German child must obey", "sweeping statement"),
        ("All Chinese girls obey their fathers.", "sweeping statement"),
        ("All women in China are obedient.", "sweeping statement"),
        ("Women in South Korea always serve first.", "sweeping statement"),
        ("The Japanese are always polite.", "sweeping statement"),
        ("Not all German men are on time.", None),
        ("All German shops are closed on Sundays.", None),
    ],
)
def test_sweeping_statements(text, found):
    assert reason(text) == found


def names(text, slug, language="en"):
    """Whether the text names a culture other than `slug`."""
    try:
        assert checks.names_no_other(text, KNOWN[slug], KNOWN, language) == text
    except Unusable as error:
        return str(error) == "names another culture"
    return False


@pytest.mark.parametrize(
    ("text", "slug", "found"),
    [
        ("In Japan they do it otherwise.", "china", True),
        ("In Japan they do it otherwise.", "japan", False),
        ("Unlike Americans, we wait.", "china", True),
        ("The Brits do it too.", "china", False),  # nobody listed it
        ("People from the UK wait.", "china", True),
        ("We have turkey at Christmas, and it feeds all of us.", "united_kingdom", False),
        ("We have been to Turkey.", "united_kingdom", True),
        ("They told us so.", "china", False),
        ("The US is far away.", "china", True),
        ("In the U.S. it is so.", "china", True),
        ("South Korea has changed, and Koreans with it.", "south_korea", False),
        ("Chinese families here meet at New Year.", "singapore", False),  # one of its languages
        ("Chinese families here meet at New Year.", "south_korea", True),
        ("We know chinaware and germane matters.", "brazil", False),
        ("China's New Year is long.", "japan", True),
        ("China’s New Year is long.", "japan", True),
        ("IN JAPAN THEY BOW.", "china", True),
        ("TURKEY'S TEA IS STRONG.", "china", True),
        ("Germans, Turks and Mexicans came.", "china", True),
        ("we eat japanese rice and drink german beer", "china", True),
        ("we eat japanese rice", "japan", False),
        ("the turkey stands on the china, and they gave it to us", "brazil", False),
        ("We drove from New England to New Mexico.", "united_states", False),
        ("We have been to South\nKorea.", "china", True),
        ("We have been to Ｊａｐａｎ.", "china", True),
        ("We have been to Tu\u0308rkiye.", "china", True),  # the letter and its dots apart
        ("Japanese-style houses are cold.", "china", True),
        ("We live in New South Wales.", "australia", True),  # Wales; a name of one's own takes it out, see below
    ],
)
def test_names_of_other_cultures(text, slug, found):
    assert names(text, slug) is found


def test_a_name_of_ones_own_may_hold_another_s(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("- slug: australia\n  aliases: [New South Wales]\n")
    known = cultures.load(file)
    assert checks.names_no_other("We live in New South Wales.", known["australia"], known, "en")
    with pytest.raises(Unusable):
        checks.names_no_other("We live in Wales.", known["australia"], known, "en")


def test_what_is_put_to_all_names_nobody():
    for culture in KNOWN.values():
        assert checks.names_other(f"What do you eat in {culture.name}?", None, KNOWN, "en")
    assert not checks.names_other("What do you eat at home?", None, KNOWN, "en")
    assert not checks.names_other("What do you eat in China?", None, {}, "en")


def test_a_longer_name_of_another_culture_is_not_taken_for_a_name_of_ones_own(tmp_path):
    file = tmp_path / "mine.yaml"
    ireland = "name: Ireland, adjective: Irish, languages: [en-IE], region: Northern Europe, neighbours: [germany]"
    file.write_text(f"- {{slug: ireland, {ireland}}}\n")
    known = cultures.load(file)
    assert checks.names_other("We live in Northern Ireland.", known["ireland"], known, "en")
    assert not checks.names_other("We live in the north of Ireland.", known["ireland"], known, "en")


@pytest.mark.parametrize(
    ("text", "slug", "language", "found"),
    [
        ("En Japón es distinto.", "mexico", "es-MX", True),
        ("En México es así.", "mexico", "es-MX", False),
        ("일본에서는 다릅니다.", "south_korea", "ko-KR", True),
        ("한국에서는 대한민국의 명절을 지냅니다.", "south_korea", "ko-KR", False),
        ("प्राचीन काल से ऐसा है।", "india", "hi-IN", False),  # "ancient" ends in the word for China
        ("चीन में अलग है।", "india", "hi-IN", True),
        ("في اليابان يختلف الأمر.", "egypt", "ar-EG", True),
        ("نحن والصين نختلف.", "egypt", "ar-EG", True),  # and China
        ("سافرنا للصين.", "egypt", "ar-EG", True),  # to China
        ("EN JAPÓN ES DISTINTO.", "mexico", "es-MX", True),
        ("La china poblana baila.", "mexico", "es-MX", False),  # a dress; a name only in English
    ],
)
def test_names_in_the_culture_s_own_language(text, slug, language, found):
    assert names(text, slug, language) is found


def test_a_setting_that_cannot_be_is_told():
    with pytest.raises(InputError, match="checks is 'some'"):
        Settings(checks="some")


TEXTS = st.text(st.characters(), max_size=200) | st.lists(  # any character, halves of surrogate pairs too
    st.sampled_from(
        ["All", "Chinese", "women", "are", "0", "４", "٣", "²", "@", ".", "+44", "DE89", " ", "-", "\ud800", "日本"]
    )
).map("".join)


@settings(max_examples=200, deadline=None)
@given(text=TEXTS, language=st.sampled_from(["en", "zh-CN", "ar-EG", "hi-IN", "su-ID", "en-GB"]), slug=SLUGS)
def test_no_text_is_too_odd_to_be_checked(text, language, slug):
    for column, declared in features.COLUMNS.items():
        if isinstance(declared.checks, tuple):
            found = checks.against(column, text, language, PROMPT, KNOWN.get(slug), KNOWN)
            assert found is None or found in declared.checks


@settings(max_examples=200, deadline=None)
@given(
    before=TEXTS,
    after=TEXTS,
    digits=st.sampled_from(["0123456789", "０１２３４５６７８９", "٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९"]),
)
def test_a_number_and_an_address_are_found_in_any_digits_and_any_text(before, after, digits):
    number = "+44 20 7946 0958".translate(str.maketrans("0123456789", digits))
    assert checks.is_personal(f"{number}")
    assert checks.is_personal(f"{before} mei.lin@example.com {after}")


def test_people_s_own_answers_pass():
    """The sample of BLEnD: 16 regions, questions and answers in English and in the region's language."""
    texts = []
    for path in sorted(BLEND.glob("*_data.json")):
        language = LANGUAGES.get(path.stem.removesuffix("_data"))
        for item in json.loads(path.read_text(encoding="utf-8")).values():
            texts += [("en", text) for one in item["annotations"] for text in (item["en_question"], *one["en_answers"])]
            texts += [(language, text) for one in item["annotations"] for text in one["answers"] if language]
    assert len(texts) > 5000
    assert Counter(filter(None, (reason(text, language) for language, text in texts))) == {}


def test_without_the_classifier_toxic_text_passes_and_that_is_told(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "profanity_check.profanity_check", None)
    checks._insults.cache_clear()
    assert not checks.is_toxic("Go to hell, you stupid idiots over there.")
    assert not checks.is_toxic("Go to hell, you stupid idiots over there.")
    assert [record.getMessage() for record in caplog.records] == [
        "toxic text is not looked for; pip install 'caredio[toxicity]' brings the classifier."
    ]
    checks._insults.cache_clear()
