"""What is said of a run that went on after an update of its code."""

import pytest

from trainyard.core.code_versions import CodeVersion, cut, trained_by, with_commits

TORCH = {"torch": "2.5.1"}


def version(step, code, commit=None, dirty=False, packages=TORCH):
    return CodeVersion(step, code, commit, dirty, packages)


def steps(versions):
    return [(each.code, each.step) for each in versions]


@pytest.mark.parametrize(
    ("versions", "said"),
    [
        ([], ""),
        ([version(1, "a")], ""),
        ([version(1, "a"), version(51, "b")], "trained by two versions of the code, from step 51"),
        (
            [version(1, "a"), version(51, "b"), version(81, "a")],
            "trained by 3 versions of the code, from steps 51 and 81",
        ),
        (
            [version(1, "a"), version(51, "a", packages={"torch": "2.6.0"})],
            "trained by two versions of the code or its packages, from step 51",
        ),
    ],
)
def test_it_says_how_many_versions_trained_a_run_and_from_which_steps(versions, said):
    assert trained_by(versions) == said


def test_commits_changes_and_packages_are_named():
    versions = [
        version(1, "a" * 16, "1" * 40, dirty=True),
        version(51, "b" * 16, packages={"torch": "2.6.0", "numpy": "2.0"}),
    ]
    assert with_commits(versions) == (
        "trained by two versions of the code, from step 51: commit 111111111111 with uncommitted changes "
        "(code aaaaaaaa), then an unknown commit (code bbbbbbbb); torch 2.5.1, then 2.6.0, numpy none, then 2.0"
    )
    assert with_commits(versions[:1]) == ""


def test_a_run_that_goes_on_after_an_earlier_step_keeps_the_versions_up_to_it():
    versions = [version(1, "a"), version(51, "b"), version(81, "c")]
    assert steps(cut(versions, 100)) == [("a", 1), ("b", 51), ("c", 81)]
    assert steps(cut(versions, 80)) == [("a", 1), ("b", 51), ("c", 81)]
    assert steps(cut(versions, 60)) == [("a", 1), ("b", 51), ("c", 61)]
    assert steps(cut(versions, 50)) == [("a", 1), ("c", 51)]
    assert steps(cut(versions, 0)) == [("c", 1)]
