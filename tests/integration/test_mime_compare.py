"""Our MIME tree against Python's email package, over a corpus of real and broken mail.

The corpus is found through ESTAFETA_MIME_CORPUS or beside the source tree; without it the test is skipped.
Where the two read differently on purpose, known_difference says why.
"""

import email
import email.policy
import os
import pathlib
import re
import subprocess

import pytest

from instance import BUILD

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORPUS = pathlib.Path(os.environ.get("ESTAFETA_MIME_CORPUS", ROOT.parent / "shared" / "testdata" / "mime"))
SUFFIXES = {".eml", ".msg", ".txt", ".mime", ".raw", ""}


def dumper():
    path = BUILD / "tests" / "unit" / "common" / "mime" / "mime_tree_test"
    if not path.exists():
        pytest.skip("mime_tree_test is not built")
    return path


def our_tree(program, path):
    out = subprocess.run([program, "--dump", path], check=True, capture_output=True, timeout=30).stdout
    rows = []
    for line in out.decode("latin-1").splitlines():
        depth, kind, *offsets = line.split(" ")
        rows.append((int(depth), kind, *map(int, offsets)))
    return rows


def their_tree(message, depth=0):
    rows = [(depth, message.get_content_type(), message)]
    if message.is_multipart():
        for child in message.get_payload():
            rows += their_tree(child, depth + 1)
    return rows


def known_difference(raw, message):
    """Why Python reads this one otherwise; None if it should not."""
    if b"\r" in raw.replace(b"\r\n", b""):
        return "a bare CR ends a line for Python"
    if any(c in raw for c in (b"\x0b", b"\x0c", b"\x1c", b"\x1d", b"\x1e", b"\x85", b"\xe2\x80\xa8")):
        return "str.splitlines also cuts at other controls"
    defects = set()
    for part in message.walk():
        defects.update(type(d).__name__ for d in part.defects)
    if "MissingHeaderBodySeparatorDefect" in defects or "FirstHeaderLineIsContinuationDefect" in defects:
        return "Python ends the header at a line that is no field; we skip the line"
    if "InvalidMultipartContentTransferEncodingDefect" in defects:
        return "Python takes an encoded multipart for text"
    if defects & {"NoBoundaryInMultipartDefect", "StartBoundaryNotFoundDefect", "MultipartInvariantViolationDefect"}:
        return "Python has a multipart without parts as text"
    if re.search(rb"(?m)^(--[^\r\n]+?)[ \t]*\r?\n\1(--)?[ \t]*\r?\n", raw):
        return "Python takes two boundary lines in a row for one; we show an empty part"
    for part in message.walk():
        kind = part.get_content_maintype()
        encoding = str(part.get("content-transfer-encoding", "")).strip().lower()
        if kind == "message" and encoding in ("base64", "quoted-printable"):
            return "Python opens an embedded message that is encoded"
        if kind == "message" and part.get_content_subtype() not in ("rfc822", "global"):
            return "Python opens message/delivery-status and others"
        if not re.match(r"\s*[\w.+-]+/[\w.+-]+\s*(;|$)", str(part.get("content-type", "a/b"))):
            return "malformed Content-Type"
    return None


def compare(raw, ours, theirs):
    if [row[:2] for row in ours] != [row[:2] for row in theirs]:
        return f"structure\n ours   {[r[:2] for r in ours]}\n theirs {[r[:2] for r in theirs]}"
    is_unterminated = any(
        type(d).__name__ == "CloseBoundaryNotFoundDefect" for _, _, part in theirs for d in part.defects
    )
    for mine, (_, kind, part) in zip(ours, theirs):
        if part.is_multipart():
            continue
        _, _, _, _, off, length = mine
        # get_payload would decode 8-bit text; this is the text as it stood
        payload = (vars(part)["_payload"] or "").encode("ascii", "surrogateescape")
        body = raw[off : off + length]
        if body.rstrip(b"\r\n") == payload.rstrip(b"\r\n") and is_unterminated:
            continue  # the last line end is ours: no boundary follows it
        if body != payload:
            return f"body of {kind} at {off}: {raw[off:off + length][-60:]!r} and {payload[-60:]!r}"
    return None


def test_corpus():
    if not CORPUS.is_dir():
        pytest.skip("no corpus")
    program = dumper()
    compared, excused, failures = 0, {}, []
    for path in sorted(p for p in CORPUS.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES):
        raw = path.read_bytes()
        message = email.message_from_bytes(raw, policy=email.policy.compat32)
        ours = our_tree(program, path)
        assert ours, path
        why = compare(raw, ours, their_tree(message))
        compared += 1
        if why is None:
            continue
        excuse = known_difference(raw, message)
        if excuse is None:
            failures.append(f"{path.relative_to(CORPUS)}: {why}")
        else:
            excused[excuse] = excused.get(excuse, 0) + 1
    print(compared, "compared;", excused)
    assert compared > 100
    assert not failures, "\n".join(failures)
