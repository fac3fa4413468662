"""Write checkpoints that look like a Llama-3.1-8B layer stack, of any size, without a hub.

    out/config.json
    out/model-00001-of-00002.safetensors     whole layers, in order
    out/model-00002-of-00002.safetensors     the rest, and the last norm
    out/model.safetensors.index.json         tensor name -> shard

Names and shapes are those of the published model, cut to the layers that fit. The two vocabulary
tables (1.05 GB each) are left out. Below 900 MB every dimension is divided by the same power of
two, so that a test gets its megabytes with the same names and at least two layers.

The data are random, finite and non-zero in bf16, and a function of (seed, shard, offset) alone:
any span can be made again without the file. PCG64 was taken for that: it can be advanced, and
makes 4.7 GB/s a core here (Philox 3.0, AES-CTR 2.6).
"""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cache_protocol.ranges import Span, cut

# Source: config.json of meta-llama/Llama-3.1-8B.
HIDDEN, KEY_VALUE, FEED_FORWARD, HEAD = 4096, 1024, 14336, 128
BF16 = 2  # bytes
_BLOCK = 8 * 2**20  # bytes written at once
_WORD = 8  # bytes per step of the generator

# sign, two low bits of the exponent and the mantissa are random; the exponent's upper bits are
# fixed: magnitudes from 2**-7 up to 2**-3, the range of real weights, never 0, inf or NaN.
_RANDOM_BITS = np.uint64(0x81FF_81FF_81FF_81FF)
_FIXED_BITS = np.uint64(0x3C00_3C00_3C00_3C00)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor to write."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes in bf16."""
        return BF16 * int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Shard:
    """One safetensors file to write."""

    path: str
    number: int  # from 0
    tensors: tuple[Tensor, ...]

    @property
    def header(self) -> bytes:
        """The length and the JSON, padded to 8 bytes as the format's own writer does."""
        at, fields = 0, {}
        for t in self.tensors:
            fields[t.name] = {
                "dtype": "BF16",
                "shape": t.shape,
                "data_offsets": [at, at + t.size],
            }
            at += t.size
        text = json.dumps({"__metadata__": {"format": "pt"}, **fields}).encode()
        text += b" " * (-len(text) % 8)
        return len(text).to_bytes(8, "little") + text

    @property
    def data_size(self) -> int:
        """Bytes behind the header."""
        return sum(t.size for t in self.tensors)


def write_checkpoint(out: Path, size: int, *, seed: int = 0, shards: int = 2) -> int:
    """Write a checkpoint of at most about ``size`` bytes to ``out``; return its bytes in all."""
    out.mkdir(parents=True, exist_ok=True)
    layers, divisor = plan(size)
    pieces = cut_shards(stack(layers, divisor), shards)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for shard in pieces:
            _write_shard(out / shard.path, shard, seed, pool)
    _write_json(out / "config.json", _config(layers, divisor))
    _write_json(out / "model.safetensors.index.json", _index(pieces))
    return sum(path.stat().st_size for path in out.iterdir())


def plan(size: int) -> tuple[int, int]:
    """Return ``(layers, divisor of the dimensions)`` for about ``size`` bytes: widest first."""
    divisor = 1
    while _layer_size(divisor) * 2 > size and divisor < 32:
        divisor *= 2
    return max(2, size // _layer_size(divisor)), divisor


def stack(layers: int, divisor: int = 1) -> list[Tensor]:
    """Return the tensors of ``layers`` layers and the last norm, as the model names them."""
    hidden = HIDDEN // divisor
    tensors = [t for n in range(layers) for t in _layer(n, divisor)]
    return [*tensors, Tensor("model.norm.weight", (hidden,))]


def cut_shards(tensors: list[Tensor], shards: int) -> list[Shard]:
    """Return the tensors in ``shards`` files of about equal size, in order."""
    total, at = sum(t.size for t in tensors), 0
    groups: list[list[Tensor]] = [[] for _ in range(shards)]
    for tensor in tensors:
        groups[min(shards - 1, at * shards // total)].append(tensor)
        at += tensor.size
    return [
        Shard(f"model-{n + 1:05}-of-{shards:05}.safetensors", n, tuple(group))
        for n, group in enumerate(groups)
    ]


def data(seed: int, shard: int, span: Span) -> np.ndarray:
    """Return the bytes of ``span`` (from the end of the header) of a shard, as uint8."""
    first = span.begin // _WORD
    words = np.random.PCG64([seed, shard]).advance(first).random_raw(-(-span.end // _WORD) - first)
    words &= _RANDOM_BITS
    words |= _FIXED_BITS
    skip = span.begin - first * _WORD
    return words.view(np.uint8)[skip : skip + span.size]


def _write_shard(path: Path, shard: Shard, seed: int, pool: ThreadPoolExecutor) -> None:
    header = shard.header
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.pwrite(fd, header, 0)

        def write(span: Span) -> None:
            block = data(seed, shard.number, span).data
            while block:
                done = os.pwrite(fd, block, len(header) + span.end - len(block))
                block = block[done:]

        for _ in pool.map(write, cut(Span(0, shard.data_size), _BLOCK)):
            pass
    finally:
        os.close(fd)


def _layer(n: int, divisor: int) -> Iterator[Tensor]:
    hidden, kv, ffn = HIDDEN // divisor, KEY_VALUE // divisor, FEED_FORWARD // divisor
    for name, shape in {
        "input_layernorm": (hidden,),
        "mlp.down_proj": (hidden, ffn),
        "mlp.gate_proj": (ffn, hidden),
        "mlp.up_proj": (ffn, hidden),
        "post_attention_layernorm": (hidden,),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.v_proj": (kv, hidden),
    }.items():
        yield Tensor(f"model.layers.{n}.{name}.weight", shape)


def _layer_size(divisor: int) -> int:
    return sum(t.size for t in _layer(0, divisor))


def _config(layers: int, divisor: int) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "bfloat16",
        "hidden_size": HIDDEN // divisor,
        "intermediate_size": FEED_FORWARD // divisor,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": HEAD // divisor,
        "num_hidden_layers": layers,
    }


def _index(shards: list[Shard]) -> dict[str, object]:
    return {
        "metadata": {"total_size": sum(s.data_size for s in shards)},
        "weight_map": {t.name: s.path for s in shards for t in s.tensors},
    }


def _write_json(path: Path, fields: dict[str, object]) -> None:
    path.write_text(json.dumps(fields, indent=2) + "\n")
