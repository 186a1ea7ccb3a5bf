import threading
import time

import pytest

from trainyard.tools.gpu_check import ranks
from trainyard.tools.gpu_check.cases import Cases
from trainyard.tools.gpu_check.facts import Facts


def curve(name, **more):
    facts = Facts("cpu", ["CPU"], None, None, None, True, {"torch": "2.13.0"})
    case = next(case for case in Cases(facts, "tiny").all() if case.kind == "reference")
    return {"name": name, "specification": case.specification | {"steps": 2, **more}}


def run(tmp_path, cases, seconds=100.0):
    told = []
    ending = ranks.run(cases, 1, 1, tmp_path / "log", time.monotonic() + seconds, threading.Event(), told.append)
    return ending, [row["name"] for row in told]


@pytest.mark.slow
def test_a_case_that_raises_says_which_and_why_after_those_before_it(tmp_path):
    too_long = curve("second", sequence_length=1000)
    ending, told = run(tmp_path, [curve("first"), too_long, curve("third")])
    assert (ending.kind, ending.begun, told) == ("failed", "second", ["first"])
    assert ending.reason
    assert "Error" in ending.reason
    assert "Traceback" in (tmp_path / "log").read_text()


@pytest.mark.slow
def test_a_case_that_hangs_is_ended_and_one_that_time_does_not_allow_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(ranks, "CASE_SECONDS", 2.0)
    ending, told = run(tmp_path, [curve("first"), curve("endless", steps=10**6), curve("next")])
    assert (ending.kind, ending.begun, told) == ("stalled", "endless", ["first"])
    assert ending.reason == "said nothing for 2 s and was ended"
    ending, told = run(tmp_path, [curve("first")], seconds=0.5)
    assert (ending.kind, ending.begun, told) == ("stopped", None, [])


@pytest.mark.slow
def test_one_process_as_on_a_machine_with_one_gpu_takes_deepspeed_through_its_steps(tmp_path):
    zero2 = {"name": "zero2", "engine": "deepspeed", "options": {"level": 2}, "tensor": 1, "pipeline": 1}
    ending, told = run(tmp_path, [curve("parity", kind="parity", parallel=zero2)])
    assert (ending.kind, told) == ("finished", ["parity"]), ending.reason
