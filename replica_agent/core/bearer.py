"""Tell what may stand in an ``Authorization`` header from what would be shown in an error."""


def without_blanks(token: str) -> str:
    """Drop what a secret that was made of a file has at its end: the newline of the file."""
    return token.strip()


def is_token(text: str) -> bool:
    """Whether a header can carry ``text``; the library that writes it shows what it refuses."""
    return bool(text) and text.isascii() and text.isprintable()
