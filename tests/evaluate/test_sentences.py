import pytest

from trainyard.evaluate.sentences import sentences


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
