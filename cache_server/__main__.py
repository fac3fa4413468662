"""``cache-server``: the only place that reads the environment and picks the parts."""

import json
import logging
import os
import resource
import sys
from argparse import ArgumentError, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from cache_protocol import routes
from cache_protocol.errors import CacheError, MalformedError, ServerUnreachableError
from cache_server import crash_points
from cache_server.cli import completion, exits
from cache_server.cli.api import TIMEOUT, NodeApi
from cache_server.cli.arguments import SERVE_FLAGS, parser
from cache_server.cli.trust import Trust
from cache_server.settings import Settings

log = logging.getLogger("cache_server")

COMPLETION_TIMEOUT = 1.0  # seconds; somebody waits with a finger on the key


def main() -> None:
    """Run the command line; exits with a code of ``cache-server --help``."""
    if sys.argv[1:2] == [completion.FLAG]:
        _complete(sys.argv[2:], os.environ)
        return
    args = parser().parse_args()
    try:
        _run(args, os.environ)
    except CacheError as error:
        as_json = getattr(args, "json", False)
        said = json.dumps(exits.document(error)) if as_json else exits.complaint(error)
        print(said, file=sys.stderr)  # noqa: T201 - a command talks to its terminal
        sys.exit(exits.exit_code(error))
    except OSError as error:
        print(f"cache-server: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _run(args: Namespace, env: Mapping[str, str]) -> None:
    if args.verb == "serve":
        serve(args, env)
    elif args.verb == "completion":
        print(completion.SCRIPTS[args.shell], end="")  # noqa: T201
    else:
        args.run(_api(args, env), args)


def _complete(words: list[str], env: Mapping[str, str]) -> None:
    """Answer a shell's question what may come next; in doubt nothing."""
    for line in completion.answer(parser(), words, lambda before: _pipelines(before, env)):
        print(line)  # noqa: T201


def _pipelines(words: Sequence[str], env: Mapping[str, str]) -> list[str]:
    """Return the ids of the pipelines of the node that ``words`` name; none if it is not there."""
    typed = ArgumentParser(add_help=False, exit_on_error=False)
    for flag in ("--server", "--root", "--ca", "--tenant"):
        typed.add_argument(flag)
    try:
        args, _ = typed.parse_known_args(words)
        pipelines = _api(args, env, COMPLETION_TIMEOUT).call("GET", routes.PIPELINES)["pipelines"]
    except (CacheError, ArgumentError):
        return []
    return [each["id"] for each in pipelines]


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
    from cache_server.logs import write_logs  # noqa: PLC0415 - as the node, below

    write_logs(sys.stderr, settings.log_format, settings.log_level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    if crash_at := env.get("WARMLINE_CRASH_AT"):
        crash_points.arm(crash_at)
    # Imported here: the other commands start without a web framework.
    from cache_server.node import Node  # noqa: PLC0415

    if settings.speaks_plainly:
        log.warning(
            "plain text on %s: whoever is on the way reads tokens, URLs and weights, and can use "
            "them; CACHE_SERVER_TLS_CERT and CACHE_SERVER_TLS_KEY would keep them out",
            settings.host,
        )
    node = Node(settings, env)
    log.info("control plane %(control)s, data plane %(data)s", node.addresses)
    if os.geteuid() == 0:
        log.warning(
            "this node runs as root: a fault in it could reach every file of the machine, where a "
            "user of its own reaches ROOT alone. Make one that owns ROOT, and run it as that"
        )
    node.run()


def _raise_descriptor_limit() -> None:
    """Take as many descriptors as the host allows; the usual soft limit serves few readers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _api(args: Namespace, env: Mapping[str, str], timeout: float = TIMEOUT) -> NodeApi:
    """Return a client of the node that the command line, ROOT or the environment names.

    ROOT's own token goes to the node of that ROOT and to nobody else: whoever is named by
    ``--server`` would learn it.
    """
    root = Path(args.root or env.get("CACHE_SERVER_ROOT") or "cache")
    node = json.loads(_read(root / "node.json") or "{}")
    server = args.server or node.get("control") or _default_server(args, root)
    is_of_root = server.rstrip("/") == node.get("control")
    token: str | None = env.get("CACHE_SERVER_ADMIN_TOKEN", "").strip()  # a file ends with \n
    if not token and is_of_root:
        token = _read(root / "admin-token")
    ca = args.ca or env.get("CACHE_SERVER_CA")
    pinned = node.get("certificate") if is_of_root and not ca else None
    trust = Trust(Path(ca) if ca else None, pinned)
    return NodeApi(server, token, args.tenant, timeout=timeout, trust=trust)


def _default_server(args: Namespace, root: Path) -> str:
    if not args.root:
        return "http://127.0.0.1:8080"
    if not root.is_dir():
        raise MalformedError(f"--root {root} is no directory")
    if not os.access(root, os.X_OK):
        raise MalformedError(
            f"--root {root} is another user's: be that one (sudo -u), or give --server URL and a "
            "token in CACHE_SERVER_ADMIN_TOKEN"
        )
    raise ServerUnreachableError(f"no node runs on {root}: it has no node.json")


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


if __name__ == "__main__":
    main()
