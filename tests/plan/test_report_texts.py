"""A text among the parameters of a job can't end the script that Snakemake's report writes them into."""

import ast
import pickle

from trainyard.plan.jobs import EscapedParams

TEXTS = {"title": r"</script><script>alert('x')</script> \< \\<!--", "grids": [{"<": ("a<b", None)}]}


def test_no_sign_of_a_tag_is_left_and_the_value_is_the_same() -> None:
    assert "<" not in repr(EscapedParams(TEXTS))
    assert "<" not in f"{EscapedParams(TEXTS)}"
    assert ast.literal_eval(repr(EscapedParams(TEXTS))) == TEXTS == EscapedParams(TEXTS)


def test_text_without_one_is_written_as_ever() -> None:
    assert repr(EscapedParams({"title": "a > b \\ c", "n": 1})) == repr({"title": "a > b \\ c", "n": 1})


def test_a_script_gets_a_plain_dictionary() -> None:
    assert type(pickle.loads(pickle.dumps(EscapedParams(TEXTS), protocol=4))) is dict
