"""Decide whether a node on our host lends us its files: a manifest says where, or an operator."""

from pathlib import Path

from cache_protocol.local import host_name
from cache_protocol.manifest import CACHE, Manifest

AUTO, OFF = "auto", "off"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def socket_for(manifest: Manifest, wish: str) -> Path | None:
    """Return the socket to ask at; None: read over the network.

    ``wish`` is "auto" (the socket that the manifest names, where its kernel is ours), "off", or a
    path, which containers need that see the node's directory elsewhere. A node on another host
    cannot lead us to a socket of ours: it does not know the name of our kernel.
    """
    if wish == OFF or manifest.source != CACHE:
        return None
    if wish != AUTO:
        return Path(wish)
    offer = manifest.local
    return Path(offer.socket) if offer is not None and offer.host == _our_host() else None


def _our_host() -> str | None:
    try:
        return host_name(_BOOT_ID.read_text())
    except OSError:  # a /proc that hides it
        return None
