import pytest

from trainyard.launch import progress


def test_a_row_that_takes_long_is_told_of_when_it_is_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "SECONDS", 0.0)
    with progress.progress("a page", 2) as counter:
        done = counter.update_by_piece(rows=1, pieces=3)
        done(2)
        assert "row" not in capsys.readouterr().err
        done(1)
    assert "a page: row 1 of 2" in capsys.readouterr().err
