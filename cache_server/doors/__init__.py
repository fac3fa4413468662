"""Doors for programs that know nothing of us: a slot through other people's protocols.

Reading order: ``shelf`` (from somebody's key to files) · ``holds`` (what keeps them there while
they are read) · ``hub/`` (Hugging Face) · ``s3/``.
"""
