"""Weights on disk: plain files at their own names, a digest table beside each.

    ROOT/slots/<tenant>/<pipeline>/<generation>/
        content.json            what the generation consists of; written first, never changed
        filling.json            the machine boot that wrote the tables; gone once published
        files/<model>/<path>    the weights, allocated in full before the first byte
        digests/<n>             16 bytes per chunk of file n, see cache_protocol.digests
        plans/<model>/<digest>  how ranks of engines read it, as far as replicas have told
        generation.json         sha256 of every file; its presence publishes the generation
    ROOT/trash/                 generations on their way out, emptied at start and after each

Reading order: ``durable`` (writes that survive) · ``stored_file`` (one file, whole or filling) ·
``kept_plans`` (what lies beside them for engines) with ``plan_index`` (which of it goes next) ·
``generation`` (its files, publication, removal) · ``root`` (the directory, one process') ·
``private`` (whose it is, and who may look into it) · ``ticket_keys`` (what signs URLs).
"""
