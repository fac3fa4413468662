"""Commands that are clients of a node, over its public API.

Reading order: ``arguments`` (what can be typed) · ``api`` (the HTTP client) · ``commands``,
``status``, ``policy``, ``boot_stats``, ``tokens``, ``tickets`` (one function each) · ``show``
(tables and progress bars on a terminal) · ``chips`` (a pipeline's state in colour) · ``exits``
(exit codes, and what to do next) · ``completion`` (what a shell offers).
"""
