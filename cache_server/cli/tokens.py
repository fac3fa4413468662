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


def create(api: NodeApi, args: Namespace) -> None:
    """``tokens create``: the token, or its S3 keys, alone on stdout for a script to take."""
    body: dict[str, Any] = {"role": args.role, "name": args.name}
    if args.pipeline:
        body["pipelines"] = args.pipeline
    if args.lifetime is not None:
        body["lifetime"] = args.lifetime
    answer = api.call("POST", routes.TOKENS, body)
    say(args, answer, _s3_settings(api.server, answer["s3"]) if args.s3 else answer["token"])
    if not args.json:
        about = f"token {answer['id']} of tenant {answer['tenant']}; it is not shown again"
        print(about, file=sys.stderr)  # noqa: T201 - stdout has the token alone


def _s3_settings(server: str, keys: Mapping[str, str]) -> str:
    """Return what S3's clients read from their environment, a line each, as an env file has it."""
    settings = {
        "AWS_ACCESS_KEY_ID": keys["access_key_id"],
        "AWS_SECRET_ACCESS_KEY": keys["secret_access_key"],
        "AWS_ENDPOINT_URL": f"{server}/s3",
        "S3_ENDPOINT_URL": f"{server}/s3",  # s5cmd's word for it
        # Any region is right, but boto3 presigns in an old way for the one that it takes by itself.
        "AWS_REGION": "local",
        "AWS_DEFAULT_REGION": "local",
        "RUNAI_STREAMER_S3_USE_VIRTUAL_ADDRESSING": "0",  # buckets are in the path
    }
    return "\n".join(f"{name}={value}" for name, value in settings.items())


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
