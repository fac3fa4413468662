"""Doors for programs that know nothing of us: a slot through other people's protocols.

Reading order: ``shelf`` (from somebody's key to files) · ``holds`` (what keeps them there while
they are read) · ``on_demand`` (pipelines that come by themselves) · ``hub/`` (Hugging Face) ·
``s3/``.
"""
