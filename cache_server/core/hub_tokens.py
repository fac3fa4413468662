"""A token of ours as programs of the hub want one to look. Pure.

Most take any HF_TOKEN. llama.cpp takes ``hf_`` with 34 to 253 letters and digits after it, and
nothing else. So ours may be written in hex behind ``hf_``: the same secret, in other letters.
"""

_PREFIX = "hf_"
MAX = 256  # characters of what such a program takes


def hub_spelling(token: str) -> str:
    """Return ``token`` as every program of the hub takes it."""
    return _PREFIX + token.encode().hex()


def from_hub(text: str) -> str:
    """Return the token that ``text`` spells; ``text`` itself where it spells none."""
    if not text.startswith(_PREFIX) or len(text) > MAX:
        return text
    try:
        return bytes.fromhex(text.removeprefix(_PREFIX)).decode()
    except ValueError:  # also of bytes that are no text
        return text
