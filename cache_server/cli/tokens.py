"""Commands about who may ask."""

import sys
from argparse import Namespace
from typing import Any

from rich.table import Table

from cache_protocol import routes
from cache_server.cli.api import NodeApi
from cache_server.cli.foreign import foreign
from cache_server.cli.printing import say, show_tables


def create(api: NodeApi, args: Namespace) -> None:
    """``tokens create``: the token alone on stdout, so that a script can take it."""
    body: dict[str, Any] = {"role": args.role, "name": args.name}
    if args.pipeline:
        body["pipelines"] = args.pipeline
    if args.lifetime is not None:
        body["lifetime"] = args.lifetime
    answer = api.call("POST", routes.TOKENS, body)
    say(args, answer, answer["token"])
    if not args.json:
        about = f"token {answer['id']} of tenant {answer['tenant']}; it is not shown again"
        print(about, file=sys.stderr)  # noqa: T201 - stdout has the token alone


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
