from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deft.data.decoding import Undecodable, decode

WESTERN = (
    "image,labels\na,L\u00f6we\nb,b\u0153uf\nc,ni\u00f1o \u2013 \u201ckid\u201d\nd,pi\u00e8ce 5 \u20ac\n"
    "e,\u00bfqu\u00e9?\nf,B\u00c4R\ng,cr\u00e9\u00e9e\n"
)


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8", ""),
        ("utf-8-sig", ""),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("cp1252", "Windows-1252"),
    ],
)
def test_the_encoding_is_found(encoding: str, said: str) -> None:
    found = decode(WESTERN.encode(encoding))
    assert (found.text, found.encoding) == (WESTERN, said)


@pytest.mark.parametrize("encoding", ["gbk", "shift_jis", "cp1251", "cp1253", "koi8-r", "latin-1", "mac-roman"])
def test_a_given_encoding_is_used_without_a_remark(encoding: str) -> None:
    text = {"gbk": "a,\u725b", "shift_jis": "a,\u725b", "cp1253": "a,\u03b3\u03ac\u03c4\u03b1"}.get(encoding, "a,cow")
    found = decode(text.encode(encoding), encoding)
    assert (found.text, found.encoding) == (text, "")


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("image,labels\na,\u725b\nb,\u72d7\nc,\u732b\n", "gbk"),
        ("image,labels\na,\u725b\nb,\u72ac\nc,\u732b\n", "shift_jis"),
        ("image,labels\na,\u725b\nb,\u72d7\n", "big5"),
        ("image,labels\na,\uc18c\n", "euc_kr"),
        ("image,labels\na,\u043a\u043e\u0448\u043a\u0430\n", "cp1251"),
        ("image,labels\na,\u043a\u043e\u0448\u043a\u0430\n", "koi8-r"),
        ("image,labels\na,\u03b3\u03ac\u03c4\u03b1\n", "cp1253"),
        ("image,labels\na,\u05d7\u05ea\u05d5\u05dc\n", "cp1255"),
        ("image,labels\na,b\u00e9b\u00e9\n", "mac-roman"),
        ("image,labels\na,b\u00e9b\u00e9\n", "cp850"),
        ("image,labels\na,\u017c\u00f3\u0142w\n", "cp1250"),
    ],
)
def test_other_encodings_are_one_fault_with_the_remedy(text: str, encoding: str) -> None:
    for nameable in ("", None):
        with pytest.raises(Undecodable) as caught:
            decode(text.encode(encoding), nameable)
        assert caught.value.line in (2, 3) and "UTF-8" in caught.value.what
        assert ("encoding=" in caught.value.remedy) == (nameable is not None)


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"PK\x03\x04 a workbook", "Excel"),
        (b"\xd0\xcf\x11\xe0 an old one", "Excel"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "git-LFS"),
        (b"a\n\nb\0", "zero byte"),
        (b"\xff\xfe\x00", "byte"),
        (b"\xef\xbb\xbfa\xff", "byte 0xff"),
        (b"a\nb\xff", "byte 0xff"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, word: str) -> None:
    with pytest.raises(Undecodable) as caught:
        decode(data)
    assert word in caught.value.what and caught.value.remedy


def test_an_encoding_that_there_is_not_is_named() -> None:
    for name in ("nope", "base64", "rot13"):
        with pytest.raises(Undecodable, match="no such encoding"):
            decode(b"a", name)


@given(st.binary(max_size=60))
def test_any_bytes_are_text_or_told(data: bytes) -> None:
    try:
        assert "\0" not in decode(data).text
    except Undecodable as error:
        assert error.what and error.remedy


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_utf8_comes_back_as_it_was(text: str) -> None:
    if not text.startswith(("\ufeff", "PK\x03\x04", "/annex/objects/")):
        assert decode(text.encode()).text == text
