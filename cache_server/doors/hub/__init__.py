"""The Hugging Face Hub's protocol, read only: ``HF_ENDPOINT=http://node:8080/hf/<pipeline>``.

Reading order: ``credentials`` (who asks) · ``address`` (what a path asks) · ``patience`` (how long
it may take) · ``first_use`` (of which pipeline) · ``repositories`` (what a generation looks like
from there) · ``views`` (which of them) · ``documents`` (JSON) · ``metadata`` (answers made of it) ·
``resolve`` (bytes) · ``refusals`` (errors) · ``routes``. ``address``, ``repositories`` and
``documents`` are pure.
"""
