"""Write a tiny Llama that a real vLLM runs: ``python -m tests.engines.tiny DIRECTORY``.

Random weights from a fixed seed, in several safetensors files with an index, and a tokenizer of
a few words. Runs in the vLLM venv.
"""

import sys

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

WORDS = 250


def main(directory):
    torch.manual_seed(7)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,  # heads of 32, which vLLM's CPU attention wants
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
    )
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(directory, max_shard_size="400KB")
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"w{n}": n + 3 for n in range(WORDS)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    ).save_pretrained(directory)


if __name__ == "__main__":
    main(sys.argv[1])
