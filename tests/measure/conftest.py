import os
from pathlib import Path

import pytest

from trainyard.launch import launch


@pytest.fixture(scope="module", autouse=True)
def _process_of_tests_can_be_launched():
    """Processes of a launch import our code alone; here, failing.py beside this file too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "SOURCE", f"{launch.SOURCE}{os.pathsep}{Path(__file__).parent}")
        yield
