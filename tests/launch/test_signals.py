"""What the signals that end a process do while it works."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from trainyard.launch.signals import exit_on_signals

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


@pytest.mark.parametrize("number", ENDING)
def test_a_signal_ends_the_process_as_an_exception_does_and_only_then_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    done = []

    def work() -> None:
        with exit_on_signals(lambda: done.append("first")):
            try:
                signal.raise_signal(number)
            finally:
                done.append("then")

    with pytest.raises(SystemExit) as ended:
        work()
    assert (ended.value.code, done) == (128 + number, ["first", "then"])
    assert signal.getsignal(number) is before


def test_a_second_signal_does_not_cut_the_ending_off() -> None:
    done = []

    def work() -> None:
        with exit_on_signals():
            try:
                signal.raise_signal(signal.SIGINT)
            finally:
                for number in ENDING:
                    signal.raise_signal(number)
                done.append("saved")

    with pytest.raises(SystemExit) as ended:
        work()
    assert (ended.value.code, done) == (128 + signal.SIGINT, ["saved"])


def test_signals_are_left_to_the_main_thread() -> None:
    before = [signal.getsignal(number) for number in ENDING]
    seen = []

    def work() -> None:
        with exit_on_signals():
            seen.extend(signal.getsignal(number) for number in ENDING)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


HEEDING = """
import signal, sys, time
from trainyard.launch.signals import heed_sigterm
heard = []
heed_sigterm(lambda: heard.append("heard"), 0.5)
print("ready", flush=True)
for _ in range(20):
    time.sleep(0.1)
print(*heard, flush=True)
"""


def test_a_process_that_hears_sigterm_has_all_the_time_that_it_takes() -> None:
    source = Path(__file__).parents[2] / "src"
    words = [sys.executable, "-c", HEEDING]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(source)}) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        for _ in range(2):
            process.send_signal(signal.SIGTERM)
        assert process.stdout.read().split() in ([b"heard"], [b"heard"] * 2)  # a second may come with the first
    assert process.returncode == 0
