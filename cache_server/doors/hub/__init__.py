"""The Hugging Face Hub's protocol, read only: ``HF_ENDPOINT=http://node:8080/hf/<pipeline>``.

Reading order: ``address`` (what a path asks) · ``first_use`` (of which pipeline) ·
``repositories`` (what a generation looks like from there) · ``documents`` (its JSON) ·
``refusals`` (its errors) · ``resolve`` (bytes) · ``routes``. The first, the third and the fourth
are pure.
"""
