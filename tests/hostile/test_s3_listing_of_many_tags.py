"""An S3 service whose listing is small as text and large as objects: empty tags, entities."""

import pytest

from cache_protocol.errors import MalformedError
from tests.fakes.bucket_peer import bucket
from tests.fakes.peer import reply

LAUGHS = """<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><ListBucketResult>&c;</ListBucketResult>"""


@pytest.mark.parametrize("document", [b"<a>" + b"<b/>" * 2**18 + b"</a>", LAUGHS.encode()])
def test_it_is_refused_before_the_objects_are_made(document):
    def listing(_head, sock):
        sock.sendall(reply(document))

    with bucket(listing) as origin, pytest.raises(MalformedError, match="bytes of XML with"):
        origin.resolve()
