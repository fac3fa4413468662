"""How an engine's weights are laid out before it exists.

    COMMAND, version ─> what plans could hold ─> the node's plans, of all ranks ─> laid out
         anything missing, slow or wrong at any step ─────────────────────────> plain files

It costs a question or two to the node, and nothing where COMMAND starts no engine of ours. A plan
that is wrong costs time and nothing else: the engine compares it with what it reads.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from cache_protocol.errors import CacheError
from cache_protocol.manifest import Manifest
from cache_protocol.plans import Key
from replica_agent.arenas.by_plan import HOST, Choice, Layer
from replica_agent.boot.asking import Asking, Patience
from replica_agent.boot.expected import Expected, UntoldError, choose, expected
from replica_agent.boot.interpreter import engine_version
from replica_agent.boot.options import Options
from replica_agent.client import ControlClient, Listed
from replica_agent.plans.plain import is_plain

if TYPE_CHECKING:
    from replica_agent.arenas.cuda.driver import Driver
    from replica_agent.arenas.cuda.ranks import RankDevices

_KINDS = {"cpu": ("cpu",), "auto": ("cuda", "cpu")}  # of devices to look for plans of, in order


class Planned:
    """What is known of the engine of one boot. For one thread at a time."""

    def __init__(
        self,
        options: Options,
        ask: Callable[[], ControlClient],
        version: Callable[[Sequence[str]], str | None] = engine_version,
        load: "Callable[[], Driver] | None" = None,
    ) -> None:
        """Look for plans of the engine that ``options.command`` starts.

        Args:
            options: of the boot.
            ask: makes a client of the node.
            version: tells that of the engine that a command would run.
            load: starts the devices' driver; None: that of this host.
        """
        self._options = options
        self._ask = ask
        self._version = version
        self._load = load
        self._devices: RankDevices | None = None  # of all models; open until ``release``

    @property
    def notes(self) -> Sequence[str]:
        """What went wrong with devices meanwhile, for the report."""
        return () if self._devices is None else tuple(self._devices.notes)

    def choose(self, manifest: Manifest) -> Mapping[str, Choice]:
        """Return for each model how it comes; a ``by_plan.Choose``.

        Raises:
            CacheError: the node did not answer, or not in time.
        """
        try:
            wanted = self._wanted()
        except UntoldError as why:  # then nobody is asked
            return {name: _plain(why) for name in manifest.models}
        client = self._ask()
        patience = Patience(manifest.size)
        try:
            return {
                name: self._choice(Asking(client, manifest, name, patience), wanted)
                for name in manifest.models
            }
        except CacheError:
            self.release()
            raise
        finally:
            client.close()

    def release(self) -> None:
        """Let go of devices: an open one has a context there, of hundreds of megabytes.

        Not while an engine may be measuring what is free there.
        """
        if self._devices is not None:
            self._devices.let_go()

    def _wanted(self) -> Sequence[Expected]:
        """Return what the engine could be, the likeliest first; raises UntoldError."""
        version, device = self._version(self._options.command), self._options.device
        kinds = _KINDS.get(device, ("cuda",))
        return [expected(self._options.command, version, kind) for kind in kinds]

    def _choice(self, asking: Asking, wanted: Sequence[Expected]) -> Choice:
        listed = {each.key: each for each in asking.listed()}
        reasons: list[str] = []
        for each in wanted:
            try:
                found = choose(list(listed), asking.checkpoint, each)
                _check_use([listed[key] for key in found])
                plans = asking.plans([listed[key] for key in found])
                layer = self._layer(found)  # last: a device that is open for nothing has a context
            except UntoldError as error:
                reasons.append(f"{error}, on {each.device}")
            else:
                where = "in host memory" if layer is HOST else f"on {layer.device}"
                return Choice(plans, f"laid out {where} as {_reader(found[0])} reads it", layer)
        return _plain("; ".join(reasons))

    def _layer(self, found: Sequence[Key]) -> Layer:
        if found[0].device == "cpu":
            return HOST
        # Not before a plan is there: a driver is much to import, and to start.
        from replica_agent.arenas.cuda.bindings import load_driver  # noqa: PLC0415
        from replica_agent.arenas.cuda.ranks import RankDevices  # noqa: PLC0415

        device = self._options.device
        word = "cuda" if device == "auto" else device
        devices = self._devices or RankDevices(word, self._options.lanes, self._load or load_driver)
        self._devices = devices
        reason = devices.unusable([key.rank for key in found])
        if reason is not None:
            raise UntoldError(reason)
        return devices.layer


def foresee(plans: Sequence[Listed], command: Sequence[str]) -> str:
    """Return how a boot of ``command`` would lay weights out, by the plans that a node lists.

    Those are all about one checkpoint. Devices are not looked at.
    """
    listed = {each.key: each for each in plans}
    checkpoint = plans[0].key.checkpoint if plans else ""
    reasons: list[str] = []
    for kind in _KINDS["auto"]:
        try:
            wanted = expected(command, engine_version(command), kind)
            found = choose(list(listed), checkpoint, wanted)
            _check_use([listed[key] for key in found])
        except UntoldError as error:
            reasons.append(str(error))
        else:
            ranks = "1 rank" if len(found) == 1 else f"{len(found)} ranks"
            return f"laid out for {ranks}, as {_reader(found[0])} reads it, on {kind}"
    return f"plain files: {'; '.join(dict.fromkeys(reasons))}"


def _reader(key: Key) -> str:
    return f"{key.engine} {key.version} ({key.layout})"


def _plain(why: object) -> Choice:
    return Choice((), f"plain files: {why}")


def _check_use(found: Sequence[Listed]) -> None:
    """Raise UntoldError for weights that the engine would have to copy all the same."""
    quantisation = found[0].key.quantisation
    if quantisation:
        raise UntoldError(f"the engine rebuilds weights for {quantisation}")
    in_vain = [str(each.key.rank) for each in found if is_plain(*each)]
    if in_vain:
        raise UntoldError(f"rank {', '.join(in_vain)} could not use what was laid out for it")
