"""The Hugging Face Hub's protocol, read only: ``HF_ENDPOINT=http://node:8080/hf/<pipeline>``.

Reading order: ``credentials`` (who asks) · ``address`` (what a path asks) · ``first_use`` (of which
pipeline) · ``repositories`` (what a generation looks like from there) · ``documents`` (its JSON) ·
``refusals`` (its errors) · ``resolve`` (bytes) · ``routes``. ``address``, ``repositories`` and
``documents`` are pure.
"""
