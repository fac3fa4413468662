"""What can be typed after ``cache-server``."""

from argparse import (
    ArgumentParser,
    ArgumentTypeError,
    RawDescriptionHelpFormatter,
    _SubParsersAction,
)
from collections.abc import Callable
from importlib.metadata import version

from cache_protocol.errors import MalformedError
from cache_protocol.names import check_pipeline
from cache_server.cli import (
    boot_stats,
    boots,
    commands,
    completion,
    events,
    policy,
    status,
    tickets,
    tokens,
)
from cache_server.cli.exits import EXIT_CODES
from cache_server.core.access import ALL_TENANTS, Role

SETTINGS = """\
settings (environment; flags win):
  CACHE_SERVER_ROOT            directory on NVMe that this process alone writes to   [./cache]
  CACHE_SERVER_CAPACITY        room for slots, '3.5TiB', '500GB'    [90 % of the file system]
  CACHE_SERVER_HOST            address of both planes                            [127.0.0.1]
  CACHE_SERVER_PORT            control plane; 0 takes a free port                     [8080]
  CACHE_SERVER_DATA_PORT       data plane; 0 takes a free port                        [8081]
  CACHE_SERVER_ADVERTISE       host[:port] that replicas are given for the data plane
  CACHE_SERVER_REGION          label of this node                                    [local]
  CACHE_SERVER_HOT_WINDOW      ISO 8601 duration                                     [PT48H]
  CACHE_SERVER_SCRUB_RATE      bytes per second that a scrub reads at most           [100MB]
  CACHE_SERVER_ACCESS_CHECK    how often a hub is asked whether what is kept of a
                               private or gated repository may still be read         [PT1H]
  CACHE_SERVER_ACCESS_GRACE    how old its last yes may be while it does not answer  [P1D]
  CACHE_SERVER_LOG_FORMAT      'json' or 'console'         ['console' on a terminal, else 'json']
  CACHE_SERVER_LOG_LEVEL       'debug', 'info', 'warning' or 'error'                  [info]
  CACHE_SERVER_BOOTS_KEPT      boot reports of one pipeline                           [1000]
  CACHE_SERVER_BOOTS_KEPT_FOR  how long boot reports are kept, ISO 8601               [P90D]
  CACHE_SERVER_DRAIN           how long readers may finish after SIGTERM, ISO 8601    [PT20S]
  CACHE_SERVER_DATABASE_URL    SQLAlchemy URL                            [SQLite under ROOT]
  CACHE_SERVER_AUTH            'off' is accepted on a loopback address only             [on]
  CACHE_SERVER_ADMIN_TOKEN     bearer token        [generated, in ROOT/admin-token, mode 600]
  CACHE_SERVER_PIPELINES       a pipelines.yaml that is registered at start
  CACHE_SERVER_SECRETS_DIR     directory of mounted secrets that 'credentials' names
  CACHE_SERVER_TENANTS         a tenants.yaml: each tenant's origins, secrets and quotas
  CACHE_SERVER_PRIVATE_ORIGINS hosts, addresses and networks that are not public and that
                               origins may lead to, with commas
                               [hosts of HF_ENDPOINT and of S3 endpoints]
  CACHE_SERVER_TLS_CERT        certificate chain in PEM: both planes speak TLS, 1.2 and later
  CACHE_SERVER_TLS_KEY         its key; both files are read again when they change
  CACHE_SERVER_ALLOW_PLAINTEXT 'on' permits plain text off loopback                    [off]
  CACHE_SERVER_LOCAL_SOCKET    where replicas on this host are lent files, or 'off'
                               [ROOT/local.sock, for the node's own user and root]
  CACHE_SERVER_CA              for the other commands, as --ca
  HF_ENDPOINT, HF_TOKEN, AWS_* as their libraries define
"""
SERVE_FLAGS = {
    "root": "DIR",
    "capacity": "SIZE",
    "host": "ADDRESS",
    "port": "PORT",
    "data-port": "PORT",
    "advertise": "HOST[:PORT]",
    "region": "NAME",
    "hot-window": "DURATION",
    "scrub-rate": "SIZE",
    "access-check": "DURATION",
    "access-grace": "DURATION",
    "log-format": "auto|json|console",
    "log-level": "LEVEL",
    "boots-kept": "N",
    "boots-kept-for": "DURATION",
    "drain": "DURATION",
    "database-url": "URL",
    "auth": "on|off",
    "pipelines": "FILE",
    "secrets-dir": "DIR",
    "tenants": "FILE",
    "private-origins": "LIST",
    "allow-plaintext": "on|off",
    "tls-cert": "FILE",
    "tls-key": "FILE",
    "local-socket": "PATH|off",
}


def parser() -> ArgumentParser:
    """Return the parser; ``run`` of its result is the command, absent for ``serve``."""
    top = ArgumentParser(
        prog="cache-server",
        description="A regional cache node for model weights, and its commands.",
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {version('warmline')}")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="COMMAND")
    _add_serve(verbs)
    group = verbs.add_parser(
        "pipelines",
        help="register, list, show and remove pipelines",
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    _add_put(inner)
    _client(inner, "ls", commands.ls, "list all pipelines")
    show = _client(inner, "show", commands.show, "show one pipeline with its files")
    show.add_argument("id", type=_pipeline, metavar="ID")
    rm = _client(inner, "rm", commands.rm, "forget a pipeline and delete its files")
    rm.add_argument("id", type=_pipeline, metavar="ID")
    rm.add_argument("--force", action="store_true", help="although a replica reads it")
    warm = _client(verbs, "warm", commands.warm, "pull a pipeline from its origin")
    warm.add_argument("id", type=_pipeline, metavar="ID")
    warm.add_argument("--wait", action="store_true", help="until it is warm, with progress")
    warm.add_argument("--refresh", action="store_true", help="resolve moving revisions again")
    starts = _client(verbs, "boots", boots.boots, "show what replicas reported of their boots")
    starts.add_argument("id", nargs="?", type=_pipeline, metavar="ID")
    starts.add_argument("--limit", type=int, default=20, metavar="N", help="newest [%(default)s]")
    starts.add_argument(
        "--stats",
        dest="run",
        action="store_const",
        const=boot_stats.stats,
        help="percentiles by region and start path instead, and what became slower",
    )
    scrub = _client(verbs, "scrub", commands.scrub, "check every byte on disk, and repair it")
    scrub.add_argument("id", nargs="?", type=_pipeline, metavar="ID", help="of one pipeline only")
    scrub.add_argument("--wait", action="store_true", help="until the pass is over")
    _add_policy(verbs)
    _add_tokens(verbs)
    _add_tickets(verbs)
    _client(verbs, "status", status.status, "show the node's figures, and how each pipeline stands")
    health = _client(verbs, "health", status.health, "say whether the node should be sent work")
    health.add_argument("--live", action="store_true", help="only whether its process runs")
    _client(verbs, "events", events.events, "say whenever the state of a pipeline changes")
    _add_completion(verbs)
    return top


def _add_serve(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    serve = verbs.add_parser(
        "serve",
        help="start a node",
        description="Start a node. It runs until SIGTERM or Ctrl-C.",
        epilog=f"{SETTINGS}\n{EXIT_CODES}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for flag, metavar in SERVE_FLAGS.items():
        serve.add_argument(f"--{flag}", metavar=metavar)


def _add_policy(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    evict = _client(verbs, "evict", policy.evict, "delete what is kept of a pipeline")
    evict.add_argument("id", type=_pipeline, metavar="ID")
    evict.add_argument("--force", action="store_true", help="although a replica reads it")
    pin = _client(verbs, "pin", policy.pin, "have the policy never evict a pipeline")
    pin.add_argument("id", type=_pipeline, metavar="ID")
    unpin = _client(verbs, "unpin", policy.unpin, "let the policy evict a pipeline again")
    unpin.add_argument("id", type=_pipeline, metavar="ID")
    touch = _client(verbs, "touch", policy.touch, "count a request for the hot window")
    touch.add_argument("id", type=_pipeline, metavar="ID")
    plan = _client(verbs, "plan-eviction", policy.plan, "show who would go, in order; a dry run")
    plan.add_argument("--need", required=True, metavar="SIZE", help="of the fill, e.g. 80GB")


def _add_tokens(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    group = verbs.add_parser(
        "tokens",
        help="make, list and revoke tokens; admins only",
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    create = _client(inner, "create", tokens.create, "make a token of --tenant and show it, once")
    create.description = "Make a token of --tenant and show it, once; of '*' only a viewer's."
    create.add_argument(
        "--role",
        required=True,
        choices=[role.value for role in Role],
        help="admin: everything; deployer: register, warm, evict, pin; "
        "replica: manifests and boot reports; viewer: look",
    )
    create.add_argument(
        "--pipeline", action="append", type=_pipeline, metavar="ID", help="only this; repeatable"
    )
    create.add_argument("--name", default="", metavar="TEXT", help="for people: whose it is")
    create.add_argument(
        "--lifetime", metavar="DURATION", help="ISO 8601, e.g. P30D [until it is revoked]"
    )
    create.add_argument(
        "--hf", action="store_true", help="show it as settings of the hub's programs: HF_…"
    )
    create.add_argument(
        "--s3", action="store_true", help="show it as settings of S3's clients: AWS_…, a line each"
    )
    _client(inner, "ls", tokens.ls, "list the tokens of all tenants, without their secrets")
    revoke = _client(inner, "revoke", tokens.revoke, "end a token at once")
    revoke.add_argument("id", type=_pipeline, metavar="TOKEN-ID")


def _add_tickets(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    group = verbs.add_parser(
        "tickets",
        help="rotate the keys that sign URLs; admins only",
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    inner = group.add_subparsers(dest="action", required=True, metavar="ACTION")
    rotate = _client(inner, "rotate", tickets.rotate, "sign with a fresh key; running pulls go on")
    rotate.add_argument(
        "--revoke", action="store_true", help="refuse every URL that was given out, at once"
    )


def _add_completion(verbs: "_SubParsersAction[ArgumentParser]") -> None:
    about = "print a script that has a shell complete these commands"
    script = verbs.add_parser(
        "completion",
        help=about,
        description=about.capitalize() + ".",
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    script.add_argument("shell", choices=list(completion.SCRIPTS))


def _add_put(inner: "_SubParsersAction[ArgumentParser]") -> None:
    put = _client(inner, "put", commands.put, "register a pipeline, or change it")
    put.add_argument("id", nargs="?", type=_pipeline, metavar="ID")
    put.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=SOURCE",
        help="hf://org/name[@revision], s3://bucket/prefix or file:///directory; repeatable",
    )
    put.add_argument("--include", action="append", metavar="GLOB", help="only these files")
    put.add_argument("--exclude", action="append", metavar="GLOB", help="all but these files")
    put.add_argument("--credentials", metavar="NAME", help="a secret that the operator configured")
    put.add_argument(
        "--allow-pickle",
        action="store_true",
        help="also weights that run their author's code when they are loaded (.bin, .pt, …)",
    )
    put.add_argument(
        "--allow-code", action="store_true", help="also the repository's own code (.py, …)"
    )
    put.add_argument("--pinned", action="store_true", help="never evicted by the policy")
    put.add_argument("--warm", action="store_true", help="pull it now, before anybody asks")
    put.add_argument("--file", metavar="YAML", help="a pipelines.yaml with many of them")


def _client(
    verbs: "_SubParsersAction[ArgumentParser]", name: str, run: Callable[..., None], about: str
) -> ArgumentParser:
    command = verbs.add_parser(
        name,
        help=about,
        description=about.capitalize() + ".",
        epilog=EXIT_CODES,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_argument(
        "--server", metavar="URL", help="the node's control plane [that of ROOT, else port 8080]"
    )
    command.add_argument(
        "--root", metavar="DIR", help="ROOT of a node on this machine, for its address and token"
    )
    command.add_argument(
        "--ca", metavar="FILE", help="authorities of nodes, in PEM [CACHE_SERVER_CA, the system's]"
    )
    command.add_argument(
        "--tenant",
        type=_tenant,
        metavar="NAME",
        help="act for this tenant; admins only. '*' in lists: all of them",
    )
    command.add_argument("--json", action="store_true", help="JSON for programs")
    command.set_defaults(run=run)
    return command


def _tenant(text: str) -> str:
    return text if text == ALL_TENANTS else _pipeline(text)


def _pipeline(text: str) -> str:
    """Check an ID here: one with a slash or none at all would be another path of the node."""
    try:
        return check_pipeline(text)
    except MalformedError as error:
        raise ArgumentTypeError(str(error)) from error
