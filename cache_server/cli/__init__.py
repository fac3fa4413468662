"""Commands that are clients of a node, over its public API.

Reading order: ``arguments`` (what can be typed) · ``api`` (the HTTP client) · ``trust`` (which
node to believe) · ``commands``, ``status``, ``events``, ``policy``, ``boots``, ``boot_stats``,
``tokens``, ``tickets`` (one function each).

How answers look: ``printing`` (a terminal, or a program) · ``show`` (tables and progress bars) ·
``chips`` (a pipeline's state in colour) · ``phases`` (a boot in bars) · ``foreign`` (words that
somebody else wrote) · ``exits`` (exit codes, and what to do next) · ``completion`` (what a shell
offers).
"""
