"""Origin to slot: pulled once, in parallel, checked, and in the order that readers need.

Reading order: ``pieces`` (the bytes of a span, through broken streams) · ``fill`` (who pulls,
who checks, when it is done) · ``headers`` (weights that lie about themselves) · ``repair`` (one
chunk that rotted) · ``passing``, ``passing_file``, ``window`` (what is not kept at all) · ``turns``
(who goes next, of both).
"""
