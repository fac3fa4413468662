"""A node's worth of pipelines, laid out by hand: what pages are looked at with.

Models have the sizes of real ones, in files that are sparse: 400 GB of them take no room. What a
service finds is what a fill would have left, so that nothing of it is pretended but the bytes.
"""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cache_protocol.digests import DIGEST_SIZE
from cache_server.catalogue.boots import Boots
from cache_server.catalogue.registry import Key, Registration, Registry
from cache_server.core.content import Content, Listing, ModelContent, ModelSpec, OriginFile
from cache_server.store.generation import Generation
from cache_server.store.stored_file import StoredFile

GB = 10**9
SHARD = 5 * GB  # bytes at which weights are split, as the hub does it


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One pipeline as it is to stand."""

    id: str
    models: dict[str, tuple[str, int]]  # name to source and bytes
    filled: float = 1.0  # share that is there; 1: whole, 0: nothing was ever pulled
    asked: timedelta | None = timedelta(hours=1)  # since the last request
    pinned: bool = False
    tenant: str = "default"
    starts: int = 0  # boots that were reported
    slower: float = 1.0  # how much longer the last ten took than the ones before

    @property
    def key(self) -> Key:
        """What it is known by."""
        return Key(self.tenant, self.id)

    @property
    def specs(self) -> tuple[ModelSpec, ...]:
        """Its models as they are registered."""
        return tuple(ModelSpec(name, source) for name, (source, _) in self.models.items())

    @property
    def size(self) -> int:
        """Bytes of all its models."""
        return sum(size for _, size in self.models.values())


HOUR, DAY = timedelta(hours=1), timedelta(days=1)
FLEET = (
    Exhibit(
        "voice-agent",
        {
            "asr": ("hf://openai/whisper-large-v3", 3_087_000_000),
            "llm": ("hf://meta-llama/Llama-3.1-8B-Instruct", 16_060_000_000),
            "tts": ("s3://weights/tts/kokoro-82m", 327_000_000),
        },
        asked=timedelta(minutes=4), pinned=True, starts=64,
    ),
    Exhibit(
        "transcribe", {"asr": ("hf://openai/whisper-large-v3-turbo", 1_620_000_000)},
        filled=0.43, asked=timedelta(minutes=1), starts=9,
    ),
    Exhibit(
        "chat-70b", {"llm": ("hf://meta-llama/Llama-3.3-70B-Instruct", 141_100_000_000)},
        asked=timedelta(minutes=31), starts=70, slower=1.35,
    ),
    Exhibit(
        "code-review", {"llm": ("hf://Qwen/Qwen2.5-Coder-32B-Instruct", 65_530_000_000)},
        asked=3 * HOUR, starts=22,
    ),
    Exhibit(
        "image-studio", {"flux": ("hf://black-forest-labs/FLUX.1-dev", 23_800_000_000)},
        filled=0, asked=timedelta(minutes=12),
    ),
    Exhibit(
        "search", {
            "embed": ("hf://BAAI/bge-m3", 2_270_000_000),
            "rerank": ("hf://BAAI/bge-reranker-v2-m3", 2_290_000_000),
        },
        asked=timedelta(minutes=9), starts=120,
    ),
    Exhibit(
        "vision-qa", {"vlm": ("hf://Qwen/Qwen2.5-VL-7B-Instruct", 16_580_000_000)},
        asked=26 * HOUR, starts=14,
    ),
    Exhibit(
        "moderation", {"guard": ("hf://meta-llama/Llama-Guard-3-8B", 16_060_000_000)},
        asked=7 * HOUR, starts=31, tenant="safety",
    ),
    Exhibit(
        "summarise", {"llm": ("s3://weights/team-a/mistral-nemo-12b", 24_500_000_000)},
        asked=5 * DAY, starts=6,
    ),
    Exhibit(
        "translate", {"nllb": ("hf://facebook/nllb-200-3.3B", 17_580_000_000)},
        asked=9 * DAY, starts=3,
    ),
    Exhibit(
        "math-tutor", {"llm": ("hf://Qwen/Qwen2.5-Math-7B-Instruct", 15_230_000_000)},
        filled=0, asked=21 * DAY, starts=4,
    ),
    Exhibit(
        "music", {"gen": ("hf://facebook/musicgen-large", 6_510_000_000)},
        filled=0, asked=None,
    ),
)  # fmt: skip


def lay_out(root: Path, fleet: tuple[Exhibit, ...]) -> None:
    """Make ``root`` that of a node which has filled ``fleet`` and served it for weeks."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    registry, dice = Registry(f"sqlite:///{root}/catalogue.db"), random.Random(1)
    boots, now = Boots(registry), datetime.now(UTC)
    for exhibit in fleet:
        registration = Registration(exhibit.key, exhibit.specs, exhibit.pinned)
        registry.put(registration, now)
        if exhibit.asked is not None:
            registry.touch({exhibit.key: now - exhibit.asked})
        if exhibit.filled:
            _lay_out_one(root / "slots" / exhibit.tenant / exhibit.id, registration, exhibit, dice)
        for report in starts(exhibit, now, dice):
            boots.add(exhibit.key, report, datetime.fromisoformat(report["started"]))
    registry.close()


def listing(source: str, size: int) -> Listing:
    """Return what the origin of a model of ``size`` bytes has: small files, and shards."""
    dice = random.Random(source)
    small = [("config.json", 1_423), ("generation_config.json", 212), ("tokenizer.json", 9_085_657)]
    count = -(-size // SHARD)
    shards = [
        (f"model-{n + 1:05}-of-{count:05}.safetensors", min(SHARD, size - n * SHARD))
        for n in range(count)
    ]
    files = [
        OriginFile(path, length, tag="1")
        for path, length in [*small, *(shards if count > 1 else [("model.safetensors", size)])]
    ]
    return Listing(dice.randbytes(20).hex(), tuple(files))


def starts(exhibit: Exhibit, now: datetime, dice: random.Random) -> Iterator[dict[str, Any]]:
    """Yield the reports of a pipeline's starts, the oldest first."""
    for number in range(exhibit.starts):
        last = exhibit.starts - number <= 10
        at = now - (exhibit.asked or DAY) - (exhibit.starts - 1 - number) * timedelta(hours=2.6)
        yield _start(exhibit, at, exhibit.slower if last else 1.0, dice, from_origin=number == 38)


def _start(
    exhibit: Exhibit, at: datetime, slower: float, dice: random.Random, *, from_origin: bool
) -> dict[str, Any]:
    rate = (0.24 if from_origin else 2.3) * GB * dice.uniform(0.93, 1.06)
    pull = slower * exhibit.size / rate
    ready = 5.1 * dice.uniform(0.95, 1.12)
    wait = max(0.0, 0.19 + pull - ready - 0.09)
    load = 0.35 + exhibit.size / (28 * GB)
    loaded = 0.09 + ready + wait + load
    warm_up = dice.uniform(0.9, 1.2)
    phases = (
        ("agent-start", 0.0, 0.09),
        ("manifest", 0.09, 0.1 * dice.uniform(0.5, 1.0)),
        ("pull", 0.19, pull),
        ("engine-import", 0.09, ready),
        ("weight-wait", 0.09 + ready, wait),
        ("load", loaded - load, load),
        ("warm-up", loaded, warm_up),
        ("first-token", loaded + warm_up, 0.12),
    )
    reason = "the cache did not answer within 30 s: connection refused"
    return {
        "pipeline": exhibit.id,
        "host": f"gpu-{dice.randrange(1, 40):02}",
        "device": "cuda:0",
        "start_path": "cold",
        "region": "eu-north",
        "ok": True,
        "started": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "phases": [{"name": n, "start": s, "seconds": round(t, 3)} for n, s, t in phases],
        "bytes": exhibit.size,
        "verified_bytes": exhibit.size,
        "source": "origin" if from_origin else "cache",
        **({"reason": reason} if from_origin else {}),
        "weight_wait": round(wait, 3),
        "time_to_ready": round(loaded + warm_up + 0.12, 3),
    }


def _lay_out_one(
    slot: Path, registration: Registration, exhibit: Exhibit, dice: random.Random
) -> None:
    models = []
    for name, (source, size) in exhibit.models.items():
        found = listing(source, size)
        models.append(ModelContent(name, source, found.revision, None, found.files))
    content = Content(*exhibit.key, tuple(models), registration.spec)
    generation = Generation.create(slot, content, datetime.now(UTC))
    (generation.directory / "digests").mkdir()
    for file in generation.files:
        _lay_out_file(file, exhibit.filled, dice)
    if exhibit.filled == 1:
        generation.publish()


def _lay_out_file(file: StoredFile, filled: float, dice: random.Random) -> None:
    file.path.parent.mkdir(parents=True, exist_ok=True)
    file.path.touch(0o600)
    os.truncate(file.path, file.size)
    chunks = file.map.count
    there = chunks if chunks == 1 else round(chunks * filled)
    missing = bytes((chunks - there) * DIGEST_SIZE)
    file.table_path.write_bytes(dice.randbytes(there * DIGEST_SIZE) + missing)
    file.load()
    if filled == 1:
        file.sha256 = dice.randbytes(32)
