"""Secrets in addresses are refused, and left out of what is shown, by one rule."""

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from flows.config.reading import parse_config
from flows.errors import InputError
from flows.messages.secrets import check_address, without_secrets

ROLES = {"source": "a.csv", "outcome": "y", "treatment": "w", "control": 0}
WORD = "hunter2"

HIDDEN = [
    "s3://user:pa/hunter2@host/x",
    "s3://user:/hunter2@host",
    "s3://user:p@ss/hunter2@host",
    "s3://user:what?hunter2@host",
    "s3://user:what#hunter2@host",
    "https://hunter2@host/x.parquet",
    "HTTPS://USER:hunter2@HOST/x",
    "simplecache::https://user:hunter2@host/x.parquet",
    "filecache::zip://a.csv::https://user:hunter2@host/x.zip",
    "s3://user:a::hunter2@host",
    "https://user%3Ahunter2%40host/x",
    "https://user%253Ahunter2%2540host/x",
    "https://host/x?%74oken=hunter2",
    "https://host/x?a=1;b=2;Password=hunter2",
    's3://b/x?storage_options={"anon":false,"secret":"hunter2"}',
    "s3://b/x?options={'token':'hunter2'}",
    "abfs://container:hunter2@account/x",
    "sftp://user:hunter2@host/x",
    "postgresql://user:hunter2@host/db",
    "hf://user:hunter2@datasets/x",
    "https://host/x?url=https://user:hunter2@host/y",
    "https://host/x?url=https%3A%2F%2Fuser%3Ahunter2%40host",
    f"github://org:ghp_{'a' * 20}hunter2@ref",
    f"https://host/github_pat_{'a' * 20}hunter2/x.csv",
]
NAMES = [
    *("auth", "sas", "sig", "token", "key", "password", "passwd", "pwd", "secret", "jwt"),
    *("Signature", "access_token", "apikey", "api-key", "AccountKey", "AWSAccessKeyId"),
    *("X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "X-Goog-Signature"),
    *("pw", "passphrase", "pat", "hmac", "creds"),
    *("accesskey", "sharedAccessSignature", "client_secret", "authToken", "Authorization"),
]
PLAIN = [
    "github://org:repo@ref",
    "github://org:repo@ref/folder/x.csv",
    "abfs://container@account",
    "abfss://container@account.dfs.core.windows.net/a@b.parquet",
    "az://container/a:b@c.csv",
    "hf://datasets/x@rev",
    "hf://datasets/org/x@rev/a.parquet",
    "hf://model@rev/a.parquet",
    "https://host/x?url=https://other/a@b&token=",
    "git://path@branch",
    "git://path:ref@file",
    "s3://bucket/a@b.parquet",
    "gs://bucket/a:b@c.parquet",
    "file:///a:b@c",
    "https://host/a@b.parquet",
    "https://host:8080/a@b.parquet",
    "http://[::1]:4200/a@b",
    "https://host/a%40b%3Ac.parquet",
    "s3://arn:aws:s3:eu:1:accesspoint/p/a@b",
    "s3://bucket/part-?/key=1/*.parquet",
    "s3://bucket/token=1/x@y.parquet",
    "s3://bucket/x.parquet?versionId=abc",
    "https://host/x?author=me&design=2&keyword=3&tokenizer=4&key_column=5",
    "sftp://me@host/x.parquet",
    "zip://a@b:c.csv::https://host/x.zip",
    "data/?/key=1/*.parquet",
]


def hidden_in_pairs():
    return [f"https://host/x{mark}a=1&{name}={WORD}" for mark in "?#;" for name in NAMES]


@pytest.mark.parametrize("address", [*HIDDEN, *hidden_in_pairs()])
def test_a_secret_is_refused_wherever_it_hides_and_never_shown(address):
    with pytest.raises(ValueError, match="without credentials"):
        check_address(address)
    assert WORD not in without_secrets(f"Expected data at {address!r}; found none.")
    assert without_secrets(without_secrets(address)) == without_secrets(address)
    for content in (
        {"data": {**ROLES, "source": address}},
        {"data": ROLES, "cache": {"storage": address}},
        {"data": ROLES, "output": address},
        {"data": ROLES, "parallelism": {"runner": "dask", "address": address}},
    ):
        with pytest.raises(InputError) as caught:
            parse_config(content)
        assert WORD not in str(caught.value)


@pytest.mark.parametrize(
    "address", ['s3://b/x?options={"anon": true, "secret": "a"}', "s3://user:a b@host/x"]
)
def test_blanks_hide_no_secret(address):
    with pytest.raises(ValueError, match="without credentials"):
        check_address(address)


@pytest.mark.parametrize("address", PLAIN)
def test_an_address_without_one_is_taken_and_shown_as_it_is(address):
    parse_config({"data": {**ROLES, "source": address}, "cache": {"storage": address}})
    assert without_secrets(f"Expected data at {address}; none.") == (
        f"Expected data at {address}; none."
    )


_letters = st.characters(exclude_categories=["C", "Z"], exclude_characters="%")
_schemes = st.sampled_from(["s3", "https", "HTTP", "gs", "sftp", "ftp", "abfs", "postgresql"])


@hypothesis_settings(max_examples=300)
@given(scheme=_schemes, before=st.text(_letters), after=st.text(_letters), path=st.text("ab/."))
def test_a_password_of_any_letters_is_refused_and_not_shown(scheme, before, after, path):
    address = f"{scheme}://user:{before}{WORD}{after}@host/{path}"

    assert WORD not in without_secrets(address)
    assert WORD not in str(InputError(f"found {address!r}"))


@hypothesis_settings(max_examples=200)
@given(
    scheme=_schemes,
    host=st.from_regex(r"[a-z][a-z0-9.-]{0,10}(:[0-9]{1,4})?", fullmatch=True),
    path=st.text("abc@:.*-_/ü"),
)
def test_a_path_may_hold_any_of_their_signs(scheme, host, path):
    assert check_address(f"{scheme}://{host}/{path}") == f"{scheme}://{host}/{path}"
