"""``replica-agent boot``: start the pull, start COMMAND beside it, hand over, report.

    t=0   the pull starts          ──>  small files there  ──>  COMMAND starts
          weights keep coming      ──────────────────────────>  handed over, or files in place
          no cache, or it fails    ──>  the origin, with the replica's own credentials

Reading order: ``options`` · ``command`` (what COMMAND says of the engine) · ``places`` and ``home``
(directories) · ``small`` (what an engine reads first) · ``remembered`` (origins without a node) ·
``interpreter`` (where COMMAND runs) · ``expected`` (which plans could hold, pure) · ``asking`` and
``planned`` (which are there) · ``leaving`` (what is learned for the next replica) · ``ways``,
``by_memory``, ``by_files``, ``by_origin`` (how weights reach an engine) · ``supervisor`` (COMMAND
as a child) · ``watch`` (is it ready) · ``record`` (what the report says) · ``run`` (all of it
together) · ``doctor``.
"""
