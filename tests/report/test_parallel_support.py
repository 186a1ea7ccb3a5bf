import pytest

from trainyard.core.errors import InputError
from trainyard.core.files import write_json
from trainyard.tools import parallel_support

CATALOGUE = """
ddp: {title: PyTorch DDP, engine: ddp, precision: [fp32, bf16]}
pipeline: {title: Pipeline, engine: pipeline, precision: [fp32], pipeline: 2, families: [gpt2, opt]}
gemini:
  {title: Gemini, engine: colossalai, precision: [bf16, fp16], gpu_precision: [fp16], gpu: true,
   packages: [colossalai, "transformers<5"], compiler: true, libraries: [libaio]}
zero2: {title: ZeRO-2, engine: deepspeed, precision: [fp32], packages: [deepspeed]}
"""
FAMILIES = {"gpt2-1m": "gpt2", "bart-tiny": "bart"}


def probed(results, parallel, largest, torch="2.13.0", **more):
    path = results.add_parity(parallel, largest, **more)
    family = FAMILIES[more.get("model", "gpt2-1m")]
    write_json(path.parent / "spec.json", {"model": {"family": family}})
    provenance = {
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "versions": {"python": "3.11.7", "torch": torch, "deepspeed": None, "colossalai": "0.5.0"},
        "cpu": "A processor",
        "gpu": None,
        "cores": 2,
        "ended": "2026-01-01T00:01:00+00:00",
    }
    write_json(path.parent / "provenance.json", provenance)
    return path


@pytest.fixture
def write(empty):
    """Write the page of the study's probes; gives its text."""

    def written(*folders):
        (empty.root / "parallel.yaml").write_text(CATALOGUE)
        output = empty.root / "page.md"
        folders = [str(folder) for folder in folders or [empty.folder]]
        assert (
            parallel_support.main([*folders, "--catalogue", str(empty.root / "parallel.yaml"), "--output", str(output)])
            == 0
        )
        return output.read_text()

    return written


def row(page, setting):
    """The first row of a setting, its cells by number."""
    line = next(line for line in page.splitlines() if line.startswith(f"| `{setting}`"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_family_is_named_with_its_largest_difference_in_fp32(empty, write):
    probed(empty, "ddp", 2.4e-7)
    probed(empty, "ddp", 3e-3, precision="bf16")
    probed(empty, "ddp", 0.0, model="bart-tiny")
    assert row(write(), "ddp") == [
        "`ddp`: PyTorch DDP",
        "torch 2.13.0",
        "fp32, bf16",
        "gpt2 2.4e\N{MINUS SIGN}7, bart 0",
        "\N{EM DASH}",
        "\N{EM DASH}",
    ]


def test_a_setting_says_what_it_needs_and_whom_it_does_not_spread(empty, write):
    probed(empty, "gemini", 1e-2, precision="bf16")
    page = write()
    assert row(page, "gemini")[1:] == [
        "colossalai 0.5.0, torch 2.13.0",
        "bf16, fp16 (GPU)",
        "gpt2 1e\N{MINUS SIGN}2 in bf16",
        "\N{EM DASH}",
        "an NVIDIA GPU, `colossalai`, `transformers<5`, a C++ compiler, libaio",
    ]
    assert row(page, "pipeline")[4:] == ["gpt2_modern, llama, bart, t5", "a multiple of 2 processes"]


def test_what_did_not_run_stands_with_its_reason_once(empty, write):
    for model in FAMILIES:
        probed(empty, "gemini", None, precision="bf16", model=model, outcome="unsupported", reason="needs <b> a | GPU.")
    probed(empty, "ddp", 1e-7)
    page = write()
    assert "- `gemini` (bf16; bart-tiny and gpt2-1m): unsupported: needs &lt;b> a | GPU." in page.splitlines()
    assert "- `zero2`: was not probed." in page.splitlines()
    assert row(page, "gemini")[3] == "\N{EM DASH}"


def test_each_precision_has_a_table_of_every_model(empty, write):
    probed(empty, "ddp", 3e-7)
    probed(empty, "zero2", 6e-7, model="bart-tiny")
    probed(empty, "ddp", 3e-3, precision="bf16")
    page = write()
    fp32, bf16 = page.partition("### fp32")[2].split("### bf16")
    assert "| parallel setting | gpt2-1m | bart-tiny | tolerance | compared steps |" in fp32
    assert row(fp32, "ddp")[1:] == [
        "3e\N{MINUS SIGN}7 / 1e\N{MINUS SIGN}7",
        "\N{EM DASH}",
        "1e\N{MINUS SIGN}6",
        "100",
    ]
    assert row(fp32, "zero2")[1] == "\N{EM DASH}"
    assert row(bf16, "ddp")[3] == "20"
    assert "fp16" not in bf16
    assert "The tolerance of 2e\N{MINUS SIGN}2 in bf16 over the first 20 steps: the order of summation." in bf16


def test_a_difference_outside_its_tolerance_is_bold(empty, write):
    probed(empty, "ddp", 2e-6)
    page = write()
    assert row(page, "ddp")[3] == "gpt2 **2e\N{MINUS SIGN}6**"


def test_a_result_of_another_environment_stands_for_what_this_one_cannot(empty, write):
    probed(empty, "gemini", None, precision="bf16", outcome="unsupported", reason="needs its own pins")
    here = empty.root / "here"
    empty.folder.rename(here)
    probed(empty, "gemini", 1e-3, precision="bf16", torch="2.5.1")
    page = write(here, empty.folder)
    assert row(page, "gemini")[1] == "colossalai 0.5.0, torch 2.5.1"
    assert "its own pins" not in page


def test_the_page_says_how_it_was_made_and_is_the_same_each_time(empty, write):
    probed(empty, "ddp", 1e-7)
    page = write()
    assert f"python -m trainyard.tools.parallel_support {empty.folder} --output {empty.root / 'page.md'}" in page
    assert "- Studies: demo; 2 processes, 100 steps; run on 2026-01-01 from commit 0123456789ab." in page
    assert "- Machine: A processor, 2 cores." in page
    assert "- Versions: python 3.11.7, torch 2.13.0, colossalai 0.5.0." in page
    assert write() == page


def test_folders_without_a_probe_are_an_error(empty):
    with pytest.raises(InputError, match="run the study first"):
        parallel_support.read([empty.folder])


def test_what_the_catalogue_no_longer_says_of_a_setting_is_left_out_and_what_it_says_stands_there(empty, write):
    probed(
        empty, "pipeline", None, model="bart-tiny", outcome="unsupported", reason="does not spread bart (it does t5)"
    )
    probed(empty, "zero2", 1e-3, precision="bf16")  # which it trains in no longer
    probed(empty, "zero9", 1e-7)  # which is gone
    probed(empty, "pipeline", 1e-7)
    page = write()
    assert "- `pipeline`: is for gpt2 and opt models only." in page.splitlines()
    assert "it does t5" not in page
    assert "- `zero2`: was not probed." in page.splitlines()
    assert "### bf16" not in page
    assert "zero9" not in page
