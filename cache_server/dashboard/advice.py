"""What to do about a failure, by its code: one sentence for who is on call. Pure."""

from cache_protocol.errors import Retry

ADVICE: dict[str, str] = {
    "origin-denied": (
        "Look whether the secret that the model names in credentials (or the node's own HF_TOKEN "
        "or AWS_*) may read this source, and whether its licence was accepted. Then warm again."
    ),
    "origin-not-found": (
        "Compare source, revision, include and exclude with what the origin has; register the "
        "pipeline again with the right ones."
    ),
    "origin-changed": (
        "The source moved during the pull. Warm again: it is resolved afresh. If it comes back, "
        "name a revision that does not move."
    ),
    "origin-unavailable": (
        "The origin did not answer, or stopped half way; what came is kept. Warm again, and look "
        "at the origin's own status and at the way there (proxy, DNS) if it comes back."
    ),
    "origin": "Read the origin's own words above, then warm again.",
    "unsafe-content": (
        "The source has no weights but pickles, which run their author's code when they are "
        "loaded. Name a source with safetensors, or allow pickles if you trust this one."
    ),
    "integrity": (
        "The origin sent other bytes than it announced, more than once. Do not go on with them: "
        "look for a proxy in between, or ask who publishes the source."
    ),
    "capacity": (
        "Nothing that may go would make enough room. Unpin or evict something on the node's page, "
        "wait until the hot window is over, or give the node more capacity."
    ),
    "quota": (
        "The tenant keeps or fills as much as it may. Evict something of it, or ask who runs the "
        "node for a larger quota; replicas are served from the origin meanwhile."
    ),
    "disk": "Look at the node's disk and its kernel log; what was filled is kept. Then warm again.",
    "disk-sick": (
        "The disk fails or hangs; replicas are served from the origin meanwhile. Look at its SMART "
        "data and the kernel log. The node goes on by itself once the disk is well."
    ),
    "fill-stopped": "It was stopped on purpose, or the node ended. Warm again when it is wanted.",
    "busy": "The node has reached a limit of the system (tasks, descriptors): raise it.",
    "forbidden": "The tenants file does not allow this source or secret; ask who runs the node.",
    "malformed": "Register the pipeline again with what the message asks for.",
    "internal": "This is a bug of the node: its log has the traceback. Please report it.",
}
BY_RETRY: dict[Retry, str] = {
    Retry.NEVER: "Trying again will not help before something is changed.",
    Retry.LATER: "Warm again later; what was filled is kept.",
    Retry.NOW: "Warm again.",
}


def advice(code: str, retry: Retry) -> str:
    """Return what to do about an error of ``code``."""
    return ADVICE.get(code, BY_RETRY[retry])
