"""The S3 protocol, read only: an endpoint ``http://node:8080/s3`` with pipelines as buckets.

A key is ``<model>/<path>``. Nothing in here knows a socket or a framework: ``door.answer`` takes a
request and returns a reply, whose bytes leave through whoever asked.

Reading order: ``request`` and ``reply`` (what goes in and comes out) · ``target`` (bucket and key)
· ``signing`` (who signed what) · ``conditions`` (which bytes) · ``listing`` (which names) ·
``documents`` (XML) · ``refusals`` (errors) · ``objects`` (one object's reply) · ``credentials``
(who asks) · ``stock`` (what there is) · ``door`` (one request, answered). All up to ``objects``
are pure.
"""
