"""Reading plans: which rank wants which bytes, where, before its engine exists. All of it pure.

The plan itself is ``cache_protocol.plans``. Reading order: ``layout`` (how engines share a model
out, in words) · ``pieces`` (from strides to runs) · ``settle`` (from what was traced to a plan) ·
``scatter`` (from a span of a file to the places of its bytes) · ``plain`` (nothing is laid out).
"""
