"""Commands that are clients of a node, over its public API.

Reading order: ``arguments`` (what can be typed) · ``api`` (the HTTP client) · ``commands``,
``policy``, ``tokens`` (one function each) · ``show`` (tables and progress bars on a terminal).
"""
