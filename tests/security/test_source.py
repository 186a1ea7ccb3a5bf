"""What could run code from a file is called nowhere in the source, or told not to."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
FORBIDDEN = {
    *("pickle.load", "pickle.loads", "torch.jit.load", "joblib.load", "marshal.loads", "shelve.open", "eval", "exec"),
    *("yaml.unsafe_load", "yaml.full_load", "yaml.load_all", "shutil.unpack_archive", "os.system", "os.popen"),
}


def calls(text: str) -> Iterator[tuple[str, ast.Call]]:
    """Each call, with the name of what is called."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def faults(text: str) -> list[str]:
    """Calls that read a file and could run what it holds."""
    found = []
    for name, call in calls(text):
        told = {word.arg: ast.unparse(word.value) for word in call.keywords}
        unsafe = {
            "torch.load": told.get("weights_only") != "True",
            "np.load": told.get("allow_pickle", "False") != "False",
            "yaml.load": True,
        }
        trusts = told.get("trust_remote_code", "False") != "False"
        extracts = name.endswith((".extractall", ".extract"))
        shell = name.startswith("subprocess.") and told.get("shell", "False") != "False"
        if name in FORBIDDEN or unsafe.get(name) or trusts or extracts or shell:
            found.append(f"{name}, line {call.lineno}")
        if name.split(".")[0] in ("AutoConfig", "AutoTokenizer") and not {"trust_remote_code", None} & set(told):
            found.append(f"{name}, line {call.lineno}: asks at the terminal whether code may run")
    return found


def test_no_file_of_ours_reads_what_could_run() -> None:
    found = {str(path.relative_to(ROOT)): faults(path.read_text(encoding="utf-8")) for path in SOURCES}
    assert len(found) > 200
    assert {name: unsafe for name, unsafe in found.items() if unsafe} == {}


@pytest.mark.parametrize(
    "text",
    [
        *("torch.load(p)", "torch.load(p, weights_only=False)", "np.load(p, allow_pickle=True)", "pickle.load(f)"),
        *("yaml.load(t, Loader=L)", "archive.extractall()", "eval(t)", "AutoTokenizer.from_pretrained(folder)"),
        *("AutoConfig.from_pretrained(folder, trust_remote_code=True)", "subprocess.run(t, shell=True)"),
    ],
)
def test_each_of_these_is_found(text: str) -> None:
    assert faults(text)
