"""The S3 protocol, read only: an endpoint ``http://node:8080/s3`` with pipelines as buckets.

A key is ``<model>/<path>``. Nothing in here knows a socket or a framework: ``door.answer`` takes a
request and returns a reply, whose bytes leave through whoever asked.

Reading order: ``request`` and ``reply`` (what goes in and comes out) · ``door`` (one request,
answered) · ``operations`` (what S3 calls it) · ``target`` (bucket and key) · ``query``, ``claims``
and ``signing`` (who signed what) · ``credentials`` (who asks) · ``stock`` (what there is) ·
``waits`` (who waits for it) · ``catalogue`` (objects of a generation) · ``conditions`` (which
bytes) · ``objects`` (what is said of one) · ``listing`` and ``listings`` (which names, and their
documents) · ``documents`` (XML) · ``refusals`` (errors) · ``dialect`` (the door as the data plane
speaks it). Pure are all but ``credentials``, ``stock``, ``waits``, ``door`` and ``dialect``.
"""
