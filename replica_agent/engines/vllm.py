"""The plug-in of vLLM: ``--load-format warmline``.

vLLM calls ``register`` in every one of its processes, before it reads its arguments, and dies of
whatever it raises. So this module imports nothing of vLLM, and ``register`` never raises: the
reason why the load format is missing goes to the log, and engines that do not ask for it start.
"""

import logging

LOAD_FORMAT = "warmline"  # vLLM lowers the letters of what it is given

# A child of vLLM's own logger, so that the line looks and goes where its lines do.
_log = logging.getLogger("vllm.replica_agent")


def register() -> None:
    """Make the load format known to vLLM; does nothing when it is known. Never raises."""
    try:
        _register()
    except Exception:  # noqa: BLE001 - see above
        _log.exception("load format %s is not available with this vLLM", LOAD_FORMAT)


def _register() -> None:
    from vllm.model_executor import model_loader  # noqa: PLC0415 - only where vLLM asks for us

    from replica_agent.engines.vllm_loader import WarmlineLoader  # noqa: PLC0415 - as above

    known = getattr(model_loader, "_LOAD_FORMAT_TO_MODEL_LOADER", {})
    if known.get(LOAD_FORMAT) is not WarmlineLoader:
        model_loader.register_model_loader(LOAD_FORMAT)(WarmlineLoader)
