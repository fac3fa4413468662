"""Whom a browser asks for."""

import pytest

from cache_server.core.led import led_by_a_site, led_by_another_site


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_leads(site):
    assert led_by_another_site({"sec-fetch-site": site})
    assert led_by_a_site({"sec-fetch-site": site})


@pytest.mark.parametrize("fields", [{}, {"sec-fetch-site": "none"}, {"host": "node"}])
def test_a_program_and_somebody_who_types_an_address_are_led_by_nobody(fields):
    assert not led_by_another_site(fields)
    assert not led_by_a_site(fields)


def test_a_page_that_sends_its_origin_leads_whatever_it_is():
    assert led_by_a_site({"origin": "http://node:8080", "sec-fetch-site": "same-origin"})
