from cache_server.core.content import ModelSpec
from tests.fakes.service import SOURCE


def test_what_was_left_out_is_listed_with_the_switch_that_takes_it(site, bench, origin):
    origin.files["old.bin"] = b"p"
    bench.put(ModelSpec("m", SOURCE))
    bench.warm()
    page = site.get("/pipelines/voice?tenant=default").body.decode()
    assert "1 file left out" in page
    assert "old.bin" in page
    assert "--allow-pickle" in page


def test_a_model_that_is_all_there_has_no_such_list(site, bench):
    bench.put()
    bench.warm()
    assert "left out" not in site.get("/pipelines/voice?tenant=default").body.decode()
