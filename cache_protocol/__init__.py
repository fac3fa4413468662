"""What server and agent must agree on, and nothing else. Pure: standard library and xxhash.

Reading order: ``ranges`` (spans of bytes) · ``digests`` (chunks and their digests) · ``names``
(what a file, model or pipeline may be called) · ``manifest`` (the files of one generation) ·
``tickets`` (the right to read, inside a URL) · ``local`` (what is said within one host) ·
``routes`` (where everything is asked for) · ``safetensors_header`` (which bytes are which tensor) ·
``json_bounds`` (how much either may hold) · ``plans`` (which of them a rank of an engine reads) ·
``formats`` (which files can run code) · ``request_ids`` (what ties logs together) ·
``discretion`` (what nobody repeats) · ``errors`` (every failure either side can name) ·
``units`` and ``environment`` (how settings are written).
"""
