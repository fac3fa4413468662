"""The JSON of the hub, held against what its own client makes of it."""

import hashlib

from cache_server.core.content import Content, ModelContent, OriginFile
from cache_server.doors.hub import documents
from cache_server.doors.hub.repositories import repositories

COMMIT = "c" * 40
FILES = (
    OriginFile("a/b/deep.txt", 3, "t", git_sha1="1" * 40),
    OriginFile("a/near.txt", 4, "t", git_sha1="2" * 40),
    OriginFile("top.safetensors", 5, "t", sha256="3" * 64),
)


def repository():
    content = ModelContent("m", "hf://org/m", COMMIT, None, FILES)
    (found,) = repositories(Content("default", "voice", (content,)), ())
    return found


def paths(rows):
    return [(row["type"], row["path"]) for row in rows]


def test_a_tree_that_is_not_recursive_ends_at_the_first_directories():
    rows = documents.rows(documents.tree(repository(), "", recursive=False))
    assert paths(rows) == [("directory", "a"), ("file", "top.safetensors")]


def test_a_recursive_tree_has_every_directory_once_and_every_file():
    rows = documents.rows(documents.tree(repository(), "", recursive=True))
    assert paths(rows) == [
        ("directory", "a"),
        ("directory", "a/b"),
        ("file", "a/b/deep.txt"),
        ("file", "a/near.txt"),
        ("file", "top.safetensors"),
    ]


def test_a_directory_is_listed_with_paths_from_the_top():
    rows = documents.rows(documents.tree(repository(), "a", recursive=False))
    assert paths(rows) == [("directory", "a/b"), ("file", "a/near.txt")]
    assert documents.tree(repository(), "none", recursive=True) == []


def test_a_weight_s_oid_is_that_of_its_pointer_as_git_has_it():
    (row,) = documents.paths_info(repository(), ["top.safetensors"])
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'3' * 64}\nsize 5\n"
    blob = f"blob {len(pointer)}\0{pointer}".encode()
    assert row["oid"] == hashlib.sha1(blob).hexdigest()
    assert row["lfs"] == {"oid": "3" * 64, "size": 5, "pointerSize": len(pointer)}


def test_paths_that_are_not_there_are_left_out():
    rows = documents.paths_info(repository(), ["a/near.txt", "nope", "a/b", "a/near.txt"])
    assert paths(rows) == [("file", "a/near.txt"), ("directory", "a/b")]


def test_sizes_and_digests_are_told_only_where_they_are_asked_for():
    assert documents.model_info(repository(), blobs=False)["siblings"][0] == {
        "rfilename": "a/b/deep.txt"
    }
    weights = documents.model_info(repository(), blobs=True)["siblings"][2]
    assert (weights["size"], weights["lfs"]["sha256"]) == (5, "3" * 64)


def test_nothing_speaks_of_xet():
    one = repository()
    for said in (
        documents.model_info(one, blobs=True),
        documents.rows(documents.tree(one, "", recursive=True)),
        documents.paths_info(one, [f.path for f in FILES]),
        documents.refs([one], "main"),
    ):
        assert "xet" not in repr(said).lower()
