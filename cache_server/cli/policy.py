"""Commands about who stays and who goes."""

from argparse import Namespace

from cache_protocol import routes
from cache_protocol.units import parse_size, show_size
from cache_server.cli.api import NodeApi
from cache_server.cli.printing import say, show_tables
from cache_server.cli.show import plan_line, plan_table


def evict(api: NodeApi, args: Namespace) -> None:
    """``evict``: delete what is kept of a pipeline; it stays registered."""
    body = {"force": True} if args.force else {}
    answer = api.call("POST", routes.pipeline(args.id, "evict"), body)
    say(args, answer, f"{args.id}: evicted, {show_size(answer['freed'])} freed")


def pin(api: NodeApi, args: Namespace) -> None:
    """``pin``."""
    say(args, api.call("PUT", routes.pipeline(args.id, "pin")), f"{args.id}: pinned")


def unpin(api: NodeApi, args: Namespace) -> None:
    """``unpin``."""
    say(args, api.call("DELETE", routes.pipeline(args.id, "pin")), f"{args.id}: not pinned")


def touch(api: NodeApi, args: Namespace) -> None:
    """``touch``."""
    say(args, api.call("POST", routes.pipeline(args.id, "touch")), f"{args.id}: touched")


def plan(api: NodeApi, args: Namespace) -> None:
    """``plan-eviction``: who would go for a fill of a size."""
    answer = api.call("GET", f"{routes.EVICTION_PLAN}?need={parse_size(args.need)}")
    tables = [plan_table(answer)] if answer["victims"] else []
    show_tables(args, answer, *tables, plan_line(answer))
