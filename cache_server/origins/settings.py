"""What the adapters need to know from the operator; it is ``__main__`` that reads it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cache_server.core.reach import Reach, parse_reach

HUB = "https://huggingface.co"
_PROXY = re.compile(r"(https|no)_proxy", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """Settings of all origins; secrets do not show in its repr.

    boto3 reads AWS_* by itself, unless a model names its own credentials.
    """

    hf_endpoint: str = HUB
    hf_token: str | None = field(default=None, repr=False)
    secrets_dir: Path | None = None  # one directory per secret, as Kubernetes mounts them
    # Seconds for TCP and TLS each; a region's origin answers within one, a dead one never.
    connect_timeout: float = 5.0
    stall_timeout: float = 20.0  # seconds without a byte, and for all headers of an answer
    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)  # "https", "no"
    ca_bundle: str | None = None  # file of certificates that S3's servers are checked against
    private: str = ""  # hosts, addresses and networks that origins may be at though not public

    @property
    def reach(self) -> Reach:
        """Return which addresses origins may be at."""
        return parse_reach(self.private, self.hf_endpoint)

    @classmethod
    def from_env(
        cls, env: Mapping[str, str], *, secrets_dir: Path | None = None, private: str = ""
    ) -> Self:
        """Return the settings that ``env`` holds, by the names that other tools read too."""
        named = {k.lower(): v for k, v in sorted(env.items()) if v and _PROXY.fullmatch(k)}
        return cls(
            hf_endpoint=(env.get("HF_ENDPOINT") or HUB).rstrip("/"),
            hf_token=(env.get("HF_TOKEN") or "").strip() or None,
            secrets_dir=secrets_dir,
            private=private,
            ca_bundle=env.get("AWS_CA_BUNDLE") or env.get("REQUESTS_CA_BUNDLE") or None,
            proxies={name.removesuffix("_proxy"): value for name, value in named.items()},
        )
