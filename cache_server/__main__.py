"""``cache-server``: the only place that reads the environment and picks the parts."""

import json
import logging
import os
import resource
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from cache_protocol import errors
from cache_protocol.errors import CacheError, MalformedError
from cache_server import crash_points
from cache_server.cli.api import NodeApi
from cache_server.cli.arguments import SERVE_FLAGS, parser
from cache_server.settings import Settings

log = logging.getLogger("cache_server")

EXIT: dict[type[CacheError], int] = {
    errors.MalformedError: 2,
    errors.ServerUnreachableError: 3,
    errors.UnknownPipelineError: 4,
    errors.UnauthorizedError: 4,
    errors.ForbiddenError: 4,
    errors.UnknownTokenError: 4,
    errors.OriginError: 5,
    errors.IntegrityError: 6,
    errors.CapacityError: 7,
    CacheError: 1,
}


def main() -> None:
    """Run the command line; exits with a code of ``cache-server --help``."""
    args = parser().parse_args()
    try:
        if args.verb == "serve":
            serve(args, os.environ)
        else:
            args.run(_api(args, os.environ), args)
    except CacheError as error:
        print(f"cache-server: {error}", file=sys.stderr)  # noqa: T201 - a command talks to its terminal
        sys.exit(next(EXIT[kind] for kind in type(error).__mro__ if kind in EXIT))
    except OSError as error:
        print(f"cache-server: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def serve(args: Namespace, env: Mapping[str, str]) -> None:
    """Run a node until it is told to stop."""
    given = {flag.replace("-", "_") for flag in SERVE_FLAGS}
    flags = {name: value for name in given if (value := getattr(args, name)) is not None}
    settings = Settings.from_env(env, flags)
    os.umask(0o077)
    _raise_descriptor_limit()
    # Many threads move bytes, each in Python for microseconds at a time; one answers requests and
    # must not stand in line for 5 ms, the default, whenever it wants the interpreter's lock.
    sys.setswitchinterval(0.0005)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if crash_at := env.get("WARMLINE_CRASH_AT"):
        crash_points.arm(crash_at)
    # Imported here: the other commands start without a web framework.
    from cache_server.node import Node  # noqa: PLC0415

    node = Node(settings, env)
    log.info("control plane %(control)s, data plane %(data)s", node.addresses)
    node.run()


def _raise_descriptor_limit() -> None:
    """Take as many descriptors as the host allows; the usual soft limit serves few readers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _api(args: Namespace, env: Mapping[str, str]) -> NodeApi:
    """Return a client of the node that the command line, ROOT or the environment names.

    ROOT's own token goes to the node of that ROOT and to nobody else: whoever is named by
    ``--server`` would learn it.
    """
    root = Path(args.root or env.get("CACHE_SERVER_ROOT") or "cache")
    node = _read(root / "node.json")
    of_root = json.loads(node)["control"] if node else None
    server = args.server or of_root or _default_server(args, root)
    token = env.get("CACHE_SERVER_ADMIN_TOKEN")
    if not token and server.rstrip("/") == of_root:
        token = _read(root / "admin-token")
    return NodeApi(server, token, args.tenant)


def _default_server(args: Namespace, root: Path) -> str:
    if args.root:
        raise MalformedError(f"no node runs on {root}: it has no node.json")
    return "http://127.0.0.1:8080"


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


if __name__ == "__main__":
    main()
