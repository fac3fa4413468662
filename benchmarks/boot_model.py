"""Write a Llama with random weights that vLLM runs: ``python -m benchmarks.boot_model DIR LAYERS``.

Runs in the vLLM venv. A layer has 122 MB; the tokenizer knows a few words.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

WIDTH, INNER, HEADS, GROUPS, WORDS = 2048, 8192, 32, 8, 250


def main(directory: Path, layers: int) -> None:
    # By name: type checkers look at the project's own venv, which has not all of them.
    torch, tokenizers, transformers = map(import_module, ("torch", "tokenizers", "transformers"))
    torch.manual_seed(7)
    config = transformers.LlamaConfig(
        vocab_size=256,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        num_key_value_heads=GROUPS,
        max_position_embeddings=256,
        bos_token_id=1,
        eos_token_id=2,
        dtype="bfloat16",
    )
    torch.set_default_dtype(torch.bfloat16)
    transformers.LlamaForCausalLM(config).save_pretrained(directory, max_shard_size="500MB")
    words = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"w{n}": n + 3 for n in range(WORDS)}}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>"
    ).save_pretrained(directory)
    print(json.dumps({"bytes": sum(p.stat().st_size for p in directory.glob("*.safetensors"))}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
