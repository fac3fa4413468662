"""Commands about who may ask."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from rich.table import Table

from cache_protocol import routes
from cache_server.cli.api import NodeApi
from cache_server.cli.foreign import foreign
from cache_server.cli.printing import say, show_tables
from cache_server.core.hub_tokens import hub_spelling


def create(api: NodeApi, args: Namespace) -> None:
    """``tokens create``: the token, or settings with it, alone on stdout for a script to take."""
    body: dict[str, Any] = {"role": args.role, "name": args.name}
    if args.pipeline:
        body["pipelines"] = args.pipeline
    if args.lifetime is not None:
        body["lifetime"] = args.lifetime
    answer = api.call("POST", routes.TOKENS, body)
    say(args, answer, _shown(api.server, answer, args))
    if not args.json:
        about = f"token {answer['id']} of tenant {answer['tenant']}; it is not shown again"
        print(about, file=sys.stderr)  # noqa: T201 - stdout has the token alone


def _shown(server: str, answer: Mapping[str, Any], args: Namespace) -> str:
    settings = _hf_settings(server, answer) if args.hf else {}
    settings |= _s3_settings(server, answer["s3"]) if args.s3 else {}
    lines = "\n".join(f"{name}={value}" for name, value in settings.items())
    return lines or str(answer["token"])


def _hf_settings(server: str, answer: Mapping[str, Any]) -> dict[str, str]:
    """Return what programs of the hub read from their environment."""
    pipelines: list[str] = answer["pipelines"] or []
    # A token of several pipelines has several endpoints: then it is not for us to choose.
    one = {"HF_ENDPOINT": f"{server}/hf/{pipelines[0]}"} if len(pipelines) == 1 else {}
    return one | {"HF_TOKEN": hub_spelling(answer["token"]), "HF_HUB_DISABLE_XET": "1"}


def _s3_settings(server: str, keys: Mapping[str, str]) -> dict[str, str]:
    """Return what S3's clients read from their environment."""
    return {
        "AWS_ACCESS_KEY_ID": keys["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
        "AWS_ENDPOINT_URL": f"{server}/s3",
        "S3_ENDPOINT_URL": f"{server}/s3",  # s5cmd's word for it
        # Any region is right, but boto3 presigns in an old way for the one that it takes by itself.
        "AWS_REGION": "local",
        "AWS_DEFAULT_REGION": "local",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",  # buckets are in the path
    }


def ls(api: NodeApi, args: Namespace) -> None:
    """``tokens ls``."""
    answer = api.call("GET", routes.TOKENS)
    table = Table("id", "tenant", "role", "pipelines", "name", "created", "expires", box=None)
    for token in answer["tokens"]:
        table.add_row(
            token["id"],
            token["tenant"],
            token["role"],
            "all" if token["pipelines"] is None else "\n".join(token["pipelines"]),
            foreign(token["name"]),
            token["created"],
            token["expires"] or "never",
        )
    show_tables(args, answer, table)


def revoke(api: NodeApi, args: Namespace) -> None:
    """``tokens revoke``."""
    say(args, api.call("DELETE", f"{routes.TOKENS}/{args.id}"), f"{args.id}: revoked")
