"""The dashboard: pages for people, rendered here, kept fresh by server-sent events.

Reading order: ``front`` (all of it put together) · ``browser`` (what every page has in common) ·
``layout`` (what stands around it) · ``signing_in`` · ``pages`` (their routes and streams) ·
``parts`` (what of a page changes while it is open) · ``looks`` (one look for all who watch) ·
``list_page`` with ``listing`` · ``pipeline_page`` with ``boot_bars`` and ``advice`` ·
``node_page`` with ``space`` and ``throughput`` · ``actions`` (what changes something) · ``words``
(how it is said) · ``render`` and ``assets`` (templates and static files).
"""
