"""What a report of a boot says, and what a node takes of it."""

from datetime import UTC, datetime

from cache_server.http.boots import BootBody
from replica_agent.report import Boot, Phase, noted, to_json, to_table

MODELS = [f"model-{n:03}" for n in range(100)]


def boot(**said) -> Boot:
    return Boot(
        "voice", "cpu", datetime.now(UTC), [Phase("pull", 0.0, 1.0)], 7, 7, 0.0, 1.0, **said
    )


def kept(report: Boot) -> BootBody:
    """Return ``report`` as a real node takes it."""
    return BootBody.model_validate(to_json(report))


def test_models_of_which_the_same_is_said_share_a_note():
    said = [(name, "laid out" if name < "model-050" else "plain files") for name in MODELS]
    notes = noted([*said, *said])
    assert notes[0] == f"{', '.join(MODELS[:50])}: laid out"
    assert len(notes) == 2
    assert kept(boot(notes=notes)).notes == notes


def test_a_report_of_a_hundred_models_that_differ_is_taken_and_says_what_it_leaves_out():
    notes = noted((name, f"{n} bytes") for n, name in enumerate(MODELS))
    *first, last = kept(boot(notes=notes)).notes
    assert first == notes[: len(first)]
    assert last == f"{100 - len(first)} more notes are left out: the agent printed all of them"
    assert all(note in to_table(boot(notes=notes)) for note in notes)


def test_words_without_end_are_cut_and_the_report_is_taken():
    report = kept(boot(notes=["a" * 10_000], reason="b" * 5000))
    assert report.notes[0].endswith("a… (of 10000 characters)")
    assert report.reason.endswith("b… (of 5000 characters)")
