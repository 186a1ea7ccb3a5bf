"""metrics.jsonl while it grows."""

import math

import pytest

from trainyard.core.files import read_json_lines
from trainyard.train.metrics import MetricsFile, finite_or_none


@pytest.fixture
def path(tmp_path):
    return tmp_path / "metrics.jsonl"


def write(path, *steps):
    with MetricsFile(path) as metrics:
        for step in steps:
            metrics.append({"step": step, "loss": 1 / step})


def test_rows_are_there_for_the_next_start(path):
    write(path, 1, 2)
    write(path, 3)
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 3]


def test_rows_are_cut_back_to_the_resumed_step(path):
    write(path, 1, 2, 3)
    with MetricsFile(path) as metrics:
        metrics.cut(1)
        metrics.append({"step": 2, "loss": 0.25})
    assert read_json_lines(path) == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.25}]


@pytest.mark.parametrize(
    "tail",
    [
        *(b'{"step": 3, "lo', b'{"step": 3, "loss": 0.5}', b"\0\0\0\n", b'{"step": 7}\n', b"[]\n"),
        *(b'{"step": 3, "loss": 1.50}\n', b'{"step": 3, "loss": 0.5 }\n', b'{"step": 3, "loss": NaN}\n'),
    ],
)
def test_a_half_written_or_damaged_row_is_forgotten(path, tail):
    write(path, 1, 2)
    with path.open("ab") as file:
        file.write(tail)
    with MetricsFile(path) as metrics:
        assert [row["step"] for row in metrics.rows] == [1, 2]
        metrics.cut(len(metrics.rows))
        metrics.append({"step": 3, "loss": 1 / 3})
    assert [row["step"] for row in read_json_lines(path)] == [1, 2, 3]


def test_json_has_no_word_for_infinity():
    assert finite_or_none(2.5) == 2.5
    assert finite_or_none(math.inf) is None
    assert finite_or_none(math.nan) is None
