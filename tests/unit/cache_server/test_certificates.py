import shutil
import ssl

import pytest
from cryptography.hazmat.primitives import serialization as form

from cache_protocol.errors import MalformedError
from cache_server.certificates import Certificates, fingerprint_of
from tests.fakes.certificates import Authority, Pair


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


def fingerprint(pair: Pair) -> str:
    return fingerprint_of(ssl.PEM_cert_to_DER_cert(pair.cert.read_text()))


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Shake hands in memory; return the client's side."""
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = server.wrap_bio(one, other, server_side=True)
    ours = client.wrap_bio(other, one, server_hostname="cache")
    sides = [ours, theirs]
    while sides:
        side = sides.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            sides.append(side)
    return ours


def test_the_node_shows_its_own_certificate(authority):
    pair = authority.issue("cache")
    certificates = Certificates(*pair)
    shown = shaken(certificates(), authority.client()).getpeercert(binary_form=True)
    assert fingerprint_of(shown) == certificates.fingerprint == fingerprint(pair)


def test_files_that_did_not_change_are_not_read_again(authority):
    certificates = Certificates(*authority.issue("cache"))
    before = certificates()
    assert not certificates.keep_fresh()
    assert certificates() is before


def test_a_renewed_certificate_is_shown_to_who_comes_after(authority):
    pair = authority.issue("cache")
    certificates = Certificates(*pair)
    before = certificates()
    authority.renew(pair, "cache")
    assert certificates.keep_fresh()
    assert certificates() is not before
    assert certificates.fingerprint == fingerprint(pair)


def test_in_the_middle_of_a_renewal_the_old_pair_stays_until_both_files_are_new(authority):
    pair, other = authority.issue("cache"), authority.issue("cache")
    certificates = Certificates(*pair)
    before = certificates()
    shutil.copy(other.cert, pair.cert)
    for _ in range(2):
        with pytest.raises(MalformedError, match="are not a certificate and its key"):
            certificates.keep_fresh()
        assert certificates() is before
    shutil.copy(other.key, pair.key)
    assert certificates.keep_fresh()
    assert certificates.fingerprint == fingerprint(other)


def test_links_that_are_set_to_other_files_are_followed(authority, tmp_path):
    one, two = authority.issue("cache"), authority.issue("cache")
    linked = Pair(tmp_path / "tls.crt", tmp_path / "tls.key")
    for link, target in zip(linked, one, strict=True):
        link.symlink_to(target)
    certificates = Certificates(*linked)
    for link, target in zip(linked, two, strict=True):  # as Kubernetes does with a secret
        fresh = link.with_suffix(".new")
        fresh.symlink_to(target)
        fresh.replace(link)
    assert certificates.keep_fresh()
    assert certificates.fingerprint == fingerprint(two)


def test_files_that_went_away_leave_the_last_good_pair(authority):
    pair = authority.issue("cache")
    certificates = Certificates(*pair)
    pair.key.unlink()
    with pytest.raises(MalformedError, match="cannot be read"):
        certificates.keep_fresh()
    assert shaken(certificates(), authority.client()).version()


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_file_that_is_no_certificate_is_an_error_that_names_it(authority, text):
    pair = authority.issue("cache")
    pair.cert.write_text(text)
    with pytest.raises(MalformedError, match=f"{pair.cert} and .* are not a certificate"):
        Certificates(*pair)


def test_a_key_with_a_passphrase_is_an_error_and_asks_nobody(authority, tmp_path):
    pair = authority.issue("cache")
    key = form.load_pem_private_key(pair.key.read_bytes(), None)
    pair.key.write_bytes(
        key.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret")
        )
    )
    with pytest.raises(MalformedError, match="passphrase"):
        Certificates(*pair)


@pytest.mark.parametrize(("version", "spoken"), [("TLSv1_2", "TLSv1.2"), ("TLSv1_3", "TLSv1.3")])
def test_tls_is_spoken_from_1_2_on(authority, version, spoken):
    client = authority.client()
    client.minimum_version = client.maximum_version = ssl.TLSVersion[version]
    assert shaken(Certificates(*authority.issue("cache"))(), client).version() == spoken


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_older_versions_are_not_spoken(authority):
    client = authority.client()
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        shaken(Certificates(*authority.issue("cache"))(), client)


def test_no_session_can_be_resumed(authority):
    client = authority.client()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert not shaken(Certificates(*authority.issue("cache"))(), client).session.has_ticket
