"""What the agent decides, as functions of values: no socket, no clock, no thread.

Reading order: ``urls`` (where the manifest may send us) · ``bearer`` (what is a token) ·
``schedule`` (what to ask for next) · ``answers`` (what a node may answer) · ``backoff`` (when to
try again) · ``assembly`` (which tensors are whole) · ``devices`` (which model goes to which
device).
"""
