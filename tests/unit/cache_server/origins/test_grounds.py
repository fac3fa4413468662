from pathlib import Path

import pytest

from cache_protocol.errors import ForbiddenError, MalformedError
from cache_server.core.tenants import Tenant, parse_place
from cache_server.origins.grounds import Grounds


@pytest.fixture
def models(tmp_path: Path) -> Path:
    (tmp_path / "models/llm").mkdir(parents=True)
    (tmp_path / "secret").mkdir()
    return tmp_path / "models"


def grounds(*places: Path, closed: tuple[Path, ...] = ()) -> Grounds:
    return Grounds.of(Tenant("t", tuple(parse_place(f"file://{p}") for p in places)), closed)


def test_a_listed_directory_and_what_is_below_it_may_be_used(models):
    for directory in (models, models / "llm", models / "not-there-yet"):
        grounds(models).check(str(directory))


def test_a_neighbour_whose_name_begins_alike_may_not_be_used(models):
    with pytest.raises(ForbiddenError):
        grounds(models).check(f"{models}-of-others")


def test_a_link_below_a_listed_directory_does_not_lead_out_of_it(models):
    (models / "link").symlink_to("../secret")
    with pytest.raises(ForbiddenError, match="is a link"):
        grounds(models).check(str(models / "link"))
    with pytest.raises(ForbiddenError):
        grounds(models).check(str(models / "link/deeper"))


def test_a_listed_directory_may_be_a_link_itself(models):
    (models.parent / "link").symlink_to(models)
    grounds(models.parent / "link").check(str(models / "llm"))


def test_the_whole_disk_can_be_listed(models):
    grounds(Path("/")).check(str(models))


@pytest.mark.parametrize("where", ["cache", "cache/slots/default", ".", "link"])
def test_a_directory_of_the_node_is_nobodys_origin_nor_is_one_that_holds_it(models, where):
    (models / "cache/slots").mkdir(parents=True)
    (models / "link").symlink_to("cache/slots")
    with pytest.raises(MalformedError, match="belongs to the node itself"):
        grounds(models, closed=(models / "cache",)).check(str(models / where))
    grounds(models, closed=(models / "cache",)).check(str(models / "llm"))
