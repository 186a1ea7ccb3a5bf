import pytest

from trainyard.evaluate.rouge import sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Ada is home. Ben is out.", ["Ada is home.", "Ben is out."]),
        ("A line\n\n another line ", ["A line", "another line"]),
        ("Really?! yes. Good", ["Really?!", "yes.", "Good"]),
        ("Mr. Brown met Dr. A. Smith. They spoke.", ["Mr. Brown met Dr. A. Smith.", "They spoke."]),
        ("It cost 3.50 pounds. 12 people paid.", ["It cost 3.50 pounds.", "12 people paid."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("It is in the U.S. Navy now. So it goes.", ["It is in the U.S. Navy now.", "So it goes."]),
        ("well... maybe not. ok", ["well... maybe not. ok"]),
        ("Well… maybe", ["Well…", "maybe"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_end_where_the_rules_say(text: str, parts: list[str]):
    assert sentences(text) == parts


def test_no_word_is_lost():
    text = "One (two). 'Three!' four? \u201cFive.\u201d Six e.g. Seven"
    assert " ".join(sentences(text)) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("今天下雨。明天呢？太好了！", ["今天下雨。", "明天呢？", "太好了！"]),
        ("他说：「下雨了。」我走了。", ["他说：「下雨了。」", "我走了。"]),
        ("雨です｡晴れ?!", ["雨です｡", "晴れ?!"]),
        ("हाँ। नहीं॥ ठीक", ["हाँ।", "नहीं॥", "ठीक"]),
        ("هل تمطر؟ نعم.", ["هل تمطر؟", "نعم."]),
        ("بارش ہے۔کل", ["بارش ہے۔", "کل"]),
        ("ခိုင်။မာ။", ["ခိုင်။", "မာ။"]),
        ("Дождь. Потом солнце. и ветер", ["Дождь.", "Потом солнце. и ветер"]),
        ("А. С. Пушкин родился. Он писал.", ["А. С. Пушкин родился.", "Он писал."]),
        ("نعم. لا.", ["نعم.", "لا."]),
        ("Il pleut. Été. école", ["Il pleut.", "Été. école"]),
    ],
)
def test_sentences_end_by_the_marks_of_their_script(text: str, found: list[str]):
    assert sentences(text) == found
