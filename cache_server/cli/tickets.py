"""Commands about the keys that sign URLs of the data plane."""

from argparse import Namespace

from cache_protocol import routes
from cache_server.cli.api import NodeApi
from cache_server.cli.printing import say


def rotate(api: NodeApi, args: Namespace) -> None:
    """``tickets rotate``: sign with a fresh key; with ``--revoke`` end all tickets at once."""
    answer = api.call("POST", routes.ROTATE_TICKETS, {"revoke": args.revoke})
    older = len(answer["accepted"]) - 1
    rest = f"{older} older, until their tickets run out" if older else "no older key"
    say(args, answer, f"tickets are signed with {answer['key']}; accepted besides: {rest}")
