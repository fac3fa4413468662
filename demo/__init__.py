"""The main job on one machine: a node, one cold start, two warm ones, every tensor compared.

Reading order: ``__main__`` (what happens, in order) · ``replica`` (one start, as an engine would
do it) · ``boots`` (start that program, follow it) · ``show`` (what the terminal says) · ``fleet``
and ``screenshots`` (pictures of the pages).
"""
