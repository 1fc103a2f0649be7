"""Test the rule on lengths with everyday text: translations are kept in every script, mismatched pairs are dropped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmt.config.data import CleaningConfig, CorpusConfig
from nmt.data.cleaning import Rules
from nmt.data.rules import length
from nmt.data.sources import source_of

REAL = Path(os.environ.get("NMT_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

EVERYDAY = {
    "zh": """
        你好。|Hello, how are you?
        好。|All right, then.
        谢谢。|Thank you very much.
        再见！|Goodbye, see you later!
        请进。|Please come in.
        不客气。|You're welcome, don't mention it.
        没关系。|That doesn't matter at all.
        我饿了。|I am getting hungry.
        现在几点？|What time is it now?
        我不知道。|I really don't know.
        请给我一杯水。|Could you please give me a glass of water?
        你叫什么名字？|What is your name?
        他昨天去了北京。|He went to Beijing yesterday.
        我喜欢喝咖啡。|I like drinking coffee.
        今天天气很好。|The weather is very nice today.
        洗手间在哪里？|Excuse me, where is the restroom?
        这个多少钱？|How much does this cost?
        我们明天早上八点出发。|We are going to leave at eight o'clock tomorrow morning.
        他的姐姐在医院工作。|His older sister works at a hospital.
        如果下雨，我们就待在家里。|If it rains, we will simply stay at home.
        图书馆星期一不开门。|The library is closed on Mondays.
        这本书我已经看过三遍了。|I have already read this book three times.
        火车晚点了二十分钟，所以我没赶上会议。|The train was twenty minutes late, so I missed the meeting.
        請把門關上。|Please close the door behind you.
        電影幾點開始？|At what time does the movie begin?""",
    "ja": """
        はい。|Yes, I do.
        こんにちは。|Hello.
        ありがとう。|Thank you very much.
        私は学生です。|I am a student.
        お元気ですか。|How are you doing?
        駅はどこですか。|Where is the train station?
        昨日、友達と映画を見ました。|I watched a movie with a friend yesterday.
        コーヒーを一杯お願いします。|A cup of coffee, please.
        すみません。|Excuse me, I am sorry.
        明日は雨が降るそうです。|They say that it is going to rain tomorrow.
        時々|from time to time""",
    "ko": """
        네.|Yes, I do.
        안녕하세요.|Hello.
        감사합니다.|Thank you very much.
        저는 학생입니다.|I am a student.
        화장실이 어디예요?|Where is the bathroom?
        내일 비가 온대요.|They say it will rain tomorrow.
        어제 친구와 함께 영화를 봤어요.|Yesterday I watched a movie together with a friend.
        커피 한 잔 주세요.|A cup of coffee, please.""",
    "th": """
        สวัสดีครับ|Hello.
        ขอบคุณมากค่ะ|Thank you very much.
        ห้องน้ำอยู่ที่ไหน|Where is the bathroom?
        วันนี้อากาศดีมาก|The weather is very good today.
        พรุ่งนี้เราจะไปตลาดด้วยกัน|Tomorrow we will go to the market together.""",
    "ru": """
        Привет!|Hi there!
        Спасибо.|Thank you.
        Который час?|What time is it?
        Я живу в маленьком городе у моря.|I live in a small town by the sea.
        Завтра мы поедем к бабушке.|Tomorrow we are going to visit grandmother.""",
    "ar": """
        نعم.|Yes, of course.
        شكرا جزيلا.|Thank you very much.
        كيف حالك؟|How are you?
        أين محطة القطار؟|Where is the train station?
        سوف نسافر غدا إلى القاهرة.|We will travel to Cairo tomorrow.""",
    "am": """
        አመሰግናለሁ።|Thank you.
        ሰላም።|Hello there.""",
}


def everyday(language: str) -> Iterator[tuple[str, str]]:
    for line in EVERYDAY[language].strip().splitlines():
        foreign, _, english = line.strip().partition("|")
        yield foreign, english


def drops(pair: tuple[str, str], languages: tuple[str, str] = ("zh", "en")) -> str | None:
    return Rules(CleaningConfig(), languages).examine(pair).broken


@pytest.mark.parametrize("language", EVERYDAY)
def test_everyday_translations_stay_in_both_directions(language: str) -> None:
    for foreign, english in everyday(language):
        assert drops((foreign, english), (language, "en")) is None, (foreign, english)
        assert drops((english, foreign), ("en", language)) is None, (foreign, english)


@pytest.mark.parametrize("language", sorted(set(EVERYDAY) - {"am"}))
def test_whole_pages_of_them_stay_and_parts_of_them_go(language: str) -> None:
    foreign, english = (" ".join(sides) for sides in zip(*everyday(language), strict=True))
    assert drops((foreign, english)) is None
    first = next(everyday(language))
    assert drops((first[0], english)) == drops((foreign, first[1])) == "ratio"


def test_there_are_enough_chinese_pairs_to_tell() -> None:
    pairs = list(everyday("zh"))
    assert len(set(pairs)) >= 20
    by_characters = [pair for pair in pairs if len(pair[1]) > 4 * len(pair[0])]
    assert len(by_characters) > 5, "pairs that a comparison of characters would have dropped"


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("", 0),
        ("naïve Straße", 12),
        ("“Жизнь” — 3 €", 13),
        ("你好。", 9),
        ("ひらカタ", 8),
        ("コーヒー", 8),
        ("ｱｲｳゝヽヾ", 12),
        ("한글 씨", 10),
        ("ＡＢ１", 3),
        ("한", 3),
        ("ሰላ", 4),
        ("สวัสดี", 6),
        ("𠀀\u9fff々", 12),
        ("😀", 1),
    ],
)
def test_signs_count_as_the_letters_they_stand_for(text: str, letters: int) -> None:
    assert length(text) == letters


@pytest.mark.skipif(not REAL.is_dir(), reason="no real text: set NMT_TEST_DATA")
@pytest.mark.parametrize(
    ("corpus", "languages"),
    [
        ("multi30k/train", ("de", "en")),
        ("multi30k/train", ("cs", "fr")),
        ("tatoeba_de_en/dev", ("de", "en")),
        ("wmt_news_de_en/train", ("de", "en")),
        ("canada_laws_en_fr/dev", ("en", "fr")),
    ],
)
def test_text_in_alphabets_is_compared_by_its_characters(corpus: str, languages: tuple[str, str]) -> None:
    for pair in source_of(CorpusConfig(prefix=str(REAL / corpus)), *languages).pairs(print):
        assert (length(pair[0]), length(pair[1])) == (len(pair[0]), len(pair[1]))
