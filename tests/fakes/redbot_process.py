"""Ask REDbot what is wrong with a URL: ``python -m tests.fakes.redbot_process URL TOKEN``.

Runs in the venv that ``scripts/install-redbot`` makes. Prints a JSON list of its notes, each with
``level`` (good, info, warning, bad), ``summary`` and ``subject``.
"""

import json
import sys
from configparser import ConfigParser

import thor
from redbot.resource import HttpResource


def main(url, token):
    parser = ConfigParser()
    parser.read_dict({"redbot": {"enable_local_access": "True"}})
    resource = HttpResource(parser["redbot"])
    resource.set_request(url, headers=[("Authorization", f"Bearer {token}")])

    @thor.events.on(resource)
    def check_done():
        thor.stop()

    resource.check()
    thor.run()
    print(json.dumps([_words(note) for note in _notes(resource)]))


def _notes(resource):
    yield from resource.response.notes
    for check in resource.subreqs.values():
        yield from check.response.notes


def _words(note):
    return {"level": note.level.value, "summary": str(note.summary), "subject": note.subject}


if __name__ == "__main__":
    main(*sys.argv[1:])
