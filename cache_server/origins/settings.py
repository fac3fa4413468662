"""What the adapters need to know from the operator; it is ``__main__`` that reads it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from cache_protocol.errors import MalformedError
from cache_server.core.reach import Reach, parse_reach

HUB = "https://huggingface.co"
_WORD = re.compile(r"[\x21-\x7e]+")
_SECRET = ("HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
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
    secrets: frozenset[str] = field(default=frozenset(), repr=False)  # not to be repeated
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
        """Return the settings that ``env`` holds, by the names that other tools read too.

        Raises:
            MalformedError: HF_TOKEN is not one printable word.
        """
        token = (env.get("HF_TOKEN") or "").strip() or None
        if token is not None and not _WORD.fullmatch(token):
            # A header with it would be refused by the HTTP library, which would print it.
            raise MalformedError("HF_TOKEN is not one printable word")
        named = {k.lower(): v for k, v in sorted(env.items()) if v and _PROXY.fullmatch(k)}
        return cls(
            hf_endpoint=(env.get("HF_ENDPOINT") or HUB).rstrip("/"),
            hf_token=token,
            secrets=_secrets(env, named.values()),
            secrets_dir=secrets_dir,
            private=private,
            ca_bundle=env.get("AWS_CA_BUNDLE") or env.get("REQUESTS_CA_BUNDLE") or None,
            proxies={name.removesuffix("_proxy"): value for name, value in named.items()},
        )


def _secrets(env: Mapping[str, str], proxies: Iterable[str]) -> frozenset[str]:
    """Return what no error may repeat: keys and tokens, and the passwords of proxies."""
    passwords = (urlsplit(url if "://" in url else f"//{url}").password for url in proxies)
    return frozenset(filter(None, [*(env.get(name, "").strip() for name in _SECRET), *passwords]))
