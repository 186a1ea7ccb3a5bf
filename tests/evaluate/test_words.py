"""Words of any language: letters with their marks, and single characters where a script puts no space between words."""

import pytest

from trainyard.evaluate.words import count_letters, count_unspaced_letters, find_words


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, world's 2nd naïve_x!", ["hello", "world", "s", "2nd", "naïve", "x"]),
        ("Привет, как дела?", ["привет", "как", "дела"]),
        ("مَرْحَبًا بالعالم؟", ["مَرْحَبًا", "بالعالم"]),
        ("हिन्दी में लिखा।", ["हिन्दी", "में", "लिखा"]),
        ("한국어 문장.", ["한국어", "문장"]),
        ("北京在2023年 举办了ABC会议。", [*"北京在", "2023", *"年举办了", "abc", *"会议"]),
        ("カーナビを買う", list("カーナビを買う")),
        ("สวัสดีครับ", ["ส", "วั", "ส", "ดี", "ค", "รั", "บ"]),
        ("ພາສາ", ["ພ", "າ", "ສ", "າ"]),
        ("ខ្មែរ។", ["ខ្", "មែ", "រ"]),
        ("မြန်မာ။", ["မြ", "န်", "မာ"]),
        ("🙂 … —", []),
        ("", []),
    ],
)
def test_words_are_found_in_every_script(text: str, found: list[str]) -> None:
    assert find_words(text) == found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cafe\N{COMBINING ACUTE ACCENT}", "café"),
        ("STRASSE", "Straße"),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}\N{FULLWIDTH DIGIT TWO}", "a2"),
        ("ﬁne", "fine"),
        ("ｶﾞ", "ガ"),
        ("ΣΟΦΟΣ", "σοφος"),
    ],
)
def test_what_means_the_same_is_one_word(one: str, other: str) -> None:
    assert find_words(one) == find_words(other) != []


def test_tibetan_puts_no_space_between_words() -> None:
    text = "བོད་ཡིག་ནི་བོད་མིའི་སྐད་ཡིག་ཡིན།"
    assert count_unspaced_letters(text) == count_letters(text)
    assert len(find_words(text)) > 10


def test_letters_are_counted_without_marks_and_punctuation() -> None:
    assert (count_letters("Ada, 12!"), count_unspaced_letters("Ada, 12!")) == (5, 0)
    assert (count_letters("用 ABC 的 12。"), count_unspaced_letters("用 ABC 的 12。")) == (7, 2)
    assert (count_letters("สวัสดี"), count_unspaced_letters("สวัสดี")) == (4, 4)
