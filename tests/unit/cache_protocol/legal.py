"""Hypothesis strategies for what the protocol calls legal. Shared by its tests."""

from datetime import UTC

from hypothesis import strategies as st

from cache_protocol.digests import CHUNK_SIZE
from cache_protocol.manifest import MAX_FILE_SIZE, File, Lease, Manifest, Model
from cache_protocol.names import MODEL, PIPELINE
from cache_protocol.ranges import Span

_LETTERS = st.characters(
    codec="utf-8", categories=("L", "M", "N", "P", "S", "Zs"), exclude_characters="/\\"
)
_SEGMENTS = st.text(_LETTERS, min_size=1, max_size=20).filter(lambda s: s not in (".", ".."))

sizes = st.one_of(
    st.integers(0, MAX_FILE_SIZE),
    st.integers(0, 40),
    st.builds(lambda n, d: max(0, n * CHUNK_SIZE + d), st.integers(0, 9), st.integers(-2, 2)),
)
paths = st.lists(_SEGMENTS, min_size=1, max_size=4).map("/".join)
models = st.from_regex(MODEL, fullmatch=True)
pipelines = st.from_regex(PIPELINE, fullmatch=True)
generations = st.text("0123456789abcdef", min_size=32, max_size=32)
sha256s = st.text("0123456789abcdef", min_size=64, max_size=64)
sha1s = st.text("0123456789abcdef", min_size=40, max_size=40)
urls = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30)
texts = st.text(max_size=20).filter(str.isprintable)
instants = st.datetimes(timezones=st.just(UTC))


@st.composite
def spans(draw: st.DrawFn, limit: int = MAX_FILE_SIZE) -> Span:
    begin = draw(st.integers(0, limit))
    return Span(begin, draw(st.integers(begin, limit)))


def _files(path: str) -> st.SearchStrategy[File]:
    return st.builds(
        File,
        path=st.just(path),
        size=sizes,
        sha256=st.none() | sha256s,
        urls=st.lists(urls, min_size=1, max_size=3).map(tuple),
        digests=urls,
        verdict=urls,
        git_sha1=st.none() | sha1s,
    )


@st.composite
def models_of_files(draw: st.DrawFn) -> Model:
    # Numbered directories keep the paths of one model apart.
    drawn = draw(st.lists(paths, max_size=3))
    files = tuple(draw(_files(f"{n}/{path}")) for n, path in enumerate(drawn))
    return Model(draw(texts), draw(texts), files)


manifests = st.builds(
    Manifest,
    pipeline=pipelines,
    generation=generations,
    lease=st.builds(Lease, id=texts, expires=instants),
    models=st.dictionaries(models, models_of_files(), max_size=3),
    source=texts,
    reason=st.none() | texts,
)
