"""Tiny checkpoints of several kinds; random weights, fixed seed. Runs in the vLLM venv."""

import json
import os

import torch
import transformers
from safetensors.torch import load_file, save_file

USUAL = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
FP8 = {"quant_method": "fp8", "activation_scheme": "static"}
_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def write(name, directory):
    """Put the checkpoint ``name`` into ``directory``."""
    torch.manual_seed(7)
    transformers.logging.set_verbosity_error()
    _WRITERS[name](directory)


def _llama(directory):
    config = transformers.LlamaConfig(**USUAL, num_key_value_heads=2, pad_token_id=0)
    _save(transformers.LlamaForCausalLM(config), directory)


def _qwen3(directory):
    """Tied embeddings, and key heads that every rank has a copy of."""
    usual = {**USUAL, "tie_word_embeddings": True}
    config = transformers.Qwen3Config(**usual, num_key_value_heads=1, head_dim=32)
    _save(transformers.Qwen3ForCausalLM(config), directory)


def _mixture(directory):
    config = transformers.Qwen3MoeConfig(
        **USUAL, num_key_value_heads=2, head_dim=32, num_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=128, decoder_sparse_step=1,
    )  # fmt: skip
    _save(transformers.Qwen3MoeForCausalLM(config), directory)


def _vision(directory):
    text = {**USUAL, "num_key_value_heads": 2, "pad_token_id": 0}
    config = transformers.Idefics3Config(
        text_config=transformers.LlamaConfig(**text),
        vision_config={
            "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 1,
            "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
        },
        scale_factor=2, image_token_id=500, pad_token_id=0, tie_word_embeddings=False,
    )  # fmt: skip
    _save(transformers.Idefics3ForConditionalGeneration(config), directory)


def _turned(directory):
    """Matrices that lie in the file the other way round."""
    config = transformers.GPT2Config(
        vocab_size=512, n_embd=128, n_layer=2, n_head=4, n_positions=256, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    _save(transformers.GPT2LMHeadModel(config), directory)


def _fp8(directory):
    _llama(directory)
    for name in sorted(os.listdir(directory)):
        if name.endswith(".safetensors"):
            path = f"{directory}/{name}"
            save_file(dict(_quantised(load_file(path))), path, {"format": "pt"})
    path = f"{directory}/config.json"
    with open(path) as file:
        config = json.load(file)
    with open(path, "w") as file:
        json.dump({**config, "quantization_config": FP8}, file)


def _quantised(tensors):
    """Yield ``tensors``, those of linear layers in eight bits, with their scales."""
    for name, tensor in tensors.items():
        if name.removesuffix(".weight").endswith(_LINEAR):
            scale = (tensor.abs().max().float() / 448).reshape(())
            yield name, (tensor.float() / scale).to(torch.float8_e4m3fn)
            yield f"{name}_scale", scale
            yield name.replace(".weight", ".input_scale"), torch.rand(())
        else:
            yield name, tensor


def _save(model, directory):
    model.to(torch.bfloat16).save_pretrained(directory, max_shard_size="400KB")


_WRITERS = {
    "llama": _llama,
    "qwen3": _qwen3,
    "mixture": _mixture,
    "vision": _vision,
    "turned": _turned,
    "fp8": _fp8,
}
