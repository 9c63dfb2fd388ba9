"""What a user, or a program of his, can put into a Maildir harms nothing but itself."""
import imaplib
import os
import re
import poplib
import time

import pytest

FETCH = "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER] BODY.PEEK[])"


@pytest.fixture
def box(make_instance):
    """An instance whose alice has three messages in new/ and three in cur/, on disk as another program leaves them."""
    i = make_instance()
    i.add_user("alice@example.test")
    i.start()
    login(i).logout()  # makes the Maildir
    for n in range(6):
        put(i, "cur/%d.good.h:2,S" % n if n % 2 else "new/%d.good.h" % n, b"Subject: good %d\n\nbody\n" % n)
    return i


def path(mail, name):
    return mail.maildir("alice@example.test") / name


def owner(mail):
    return os.stat(mail.maildir("alice@example.test"))


def put(mail, name, content, mode=0o600, foreign=False):
    p = path(mail, name)
    p.write_bytes(content)
    p.chmod(mode)
    if not foreign:
        os.chown(p, owner(mail).st_uid, owner(mail).st_gid)
    return p


def login(mail):
    m = imaplib.IMAP4_SSL(mail.ip, mail.port("imaps"), ssl_context=mail.tls(), timeout=30)
    m.login("alice@example.test", "secret")
    return m


def pop_login(mail):
    p = poplib.POP3_SSL(mail.ip, mail.port("pop3s"), context=mail.tls(), timeout=30)
    p.user("alice@example.test")
    p.pass_("secret")
    return p


def fetch(m, what=FETCH, messages="1:*"):
    status, data = m.fetch(messages, what)
    if status == "NO":
        data = m.untagged_responses.pop("FETCH", [])  # which imaplib keeps to itself
    return status, b"".join(b"".join(d) if isinstance(d, tuple) else d for d in data if d is not None)


def check_imap(mail, good=6, readable=True):
    """Every command works, and every good message is there; the session."""
    m = login(mail)
    assert m.list()[0] == "OK"
    assert m.status("INBOX", "(MESSAGES UNSEEN UIDNEXT)")[0] == "OK"
    assert m.select()[0] == "OK"
    status, text = fetch(m)
    assert status == "OK" if readable else "NO"
    for n in range(good):
        assert text.count(b"Subject: good %d\r\n\r\nbody" % n) == 1
    assert fetch(m, "(UID FLAGS RFC822.SIZE INTERNALDATE)")[0] == "OK"
    assert m.search(None, "ALL")[0] == m.search(None, "BODY body")[0] == m.search(None, "LARGER 1")[0] == "OK"
    assert len(m.search(None, "SUBJECT good")[1][0].split()) == good
    return m


def check_pop(mail, good=6):
    """Number of messages that cannot be retrieved."""
    p = pop_login(mail)
    count, size = p.stat()
    assert size > 0 and len(p.list()[1]) == len(p.uidl()[1]) == count
    bad, seen = 0, []
    for n in range(1, count + 1):
        try:
            seen += [line for line in p.retr(n)[1] if line.startswith(b"Subject: good")]
        except poplib.error_proto as e:
            assert e.args[0].startswith(b"-ERR")
            bad += 1
    assert sorted(seen) == sorted(b"Subject: good %d" % n for n in range(good))
    p.quit()
    return bad


def test_unreadable_messages(box):
    """RFC 3501 7.4.2: each answers for itself."""
    put(box, "cur/9.theirs.h:2,", b"Subject: theirs\n\n", 0, foreign=True)
    put(box, "cur/9.theirs.h,S=17,W=19:2,S", b"Subject: theirs\n\n", 0, foreign=True)
    put(box, "new/9.theirs2.h", b"Subject: theirs\n\n", 0, foreign=True)
    assert check_pop(box) == 3
    m = check_imap(box, readable=False)
    assert len(m.search(None, "ALL")[1][0].split()) == 9
    status, text = fetch(m, "(UID FLAGS RFC822.SIZE)")
    assert status == "OK" and text.count(b"RFC822.SIZE") == 9
    # they can be marked and removed: the directory is the user's
    assert m.store("7:9", "+FLAGS", "\\Deleted")[0] == "OK" and m.expunge()[0] == "OK"
    m.logout()
    check_imap(box).logout()
    assert check_pop(box) == 0


def test_what_is_no_file(box, tmp_path):
    (tmp_path / "secret").write_text("Subject: secret\n\n")
    os.chmod(tmp_path / "secret", 0o644)
    for sub in ("cur", "new"):
        os.mkfifo(path(box, sub + "/9.fifo"))
        path(box, sub + "/9.directory").mkdir(0)
        path(box, sub + "/9.dangling").symlink_to("nowhere")
        path(box, sub + "/9.outside").symlink_to(tmp_path / "secret")
        path(box, sub + "/9.inside").symlink_to("../dovecot-uidlist")
        path(box, sub + "/9.loop").symlink_to("9.loop")
    # and folders that are none
    path(box, ".Link").symlink_to("..")
    path(box, ".File").write_text("x")
    os.mkfifo(path(box, ".Fifo"))
    path(box, ".Closed").mkdir(0)
    for _ in range(2):
        m = check_imap(box)
        assert len(m.search(None, "ALL")[1][0].split()) == 6
        assert b"secret" not in fetch(m)[1]
        for name in ("Link", "File", "Fifo", "Closed"):
            assert m.status(name, "(MESSAGES)")[0] == "NO"
        m.logout()
    assert check_pop(box) == 0
    told = re.findall(r"\[(\d+)\].*ignoring cur/9\.fifo", box.log_text())
    assert told and len(told) == len(set(told)), "once in a process's life"


def test_removed_under_us(box):
    m = check_imap(box)
    p = pop_login(box)
    assert p.stat()[0] == 6
    for n in (1, 3):
        [f.unlink() for f in path(box, "cur").glob("%d.good.h*" % n)]
    status, text = fetch(m)
    for n in (0, 2, 4, 5):
        assert b"Subject: good %d\r\n" % n in text
    bad = 0
    for n in range(1, 7):
        try:
            p.retr(n)
        except poplib.error_proto as e:
            assert e.args[0].startswith(b"-ERR")
            bad += 1
    assert bad == 2
    p.quit()
    m.noop()
    assert fetch(m)[0] == "OK"
    m.logout()


def test_control_characters_in_names(box):
    for n, name in enumerate(("cur/7.x\n1000000 :forged:2,", "new/8.x\n2000000 :forged", "cur/9.x:2,S\n3000000 :forged",
                              "cur/10.x\r:2,", "new/11.\x1b[2J")):
        put(box, name, b"Subject: good %d\n\nbody\n" % (n + 6))
    m = check_imap(box, good=11)
    uids = [int(u) for u in m.uid("search", None, "ALL")[1][0].split()]
    assert uids == list(range(1, 12))
    m.logout()
    assert check_pop(box, good=11) == 0
    lines = path(box, "dovecot-uidlist").read_bytes().split(b"\n")
    assert sorted(int(line.split()[0]) for line in lines[1:] if line) == list(range(1, 12))
    assert b"forged" not in b"".join(lines) and b"\x1b" not in b"".join(lines)
    assert "\x1b" not in box.log_text()


def test_uidlist_of_nonsense(box):
    check_imap(box).logout()
    text = path(box, "dovecot-uidlist").read_bytes()
    validity = text.split()[1]
    for forged in (b"N4294967295", b"N4294967296", b"N0"):
        p = put(box, "forged", text.replace(text.split()[2], forged, 1))
        p.rename(path(box, "dovecot-uidlist"))
        m = check_imap(box)
        assert b"V" + m.response("UIDVALIDITY")[1][0] == validity
        assert m.append("INBOX", None, None, b"Subject: new\r\n\r\n")[0] == "OK"
        m.logout()
    assert "makes no sense" in box.log_text() and "quota" not in box.log_text()


def test_sparse_message(box):
    """Nobody reads 8 GB to tell flags, a header or a size."""
    for n in range(6, 100):
        put(box, "cur/%d.good.h:2,S" % n, b"Subject: good %d\n\nbody\n" % n)
    p = put(box, "cur/0.sparse.h:2,S", b"Subject: sparse\n\nx\n")
    os.truncate(p, 8 << 30)
    begin = time.monotonic()
    m = login(box)
    assert m.select()[1] == [b"101"]
    print("SELECT after %.3f s" % (time.monotonic() - begin))
    for what in ("(FLAGS ENVELOPE)", "(BODY.PEEK[HEADER])", "(UID FLAGS RFC822.SIZE)"):
        now = time.monotonic()
        status, text = fetch(m, what)
        assert status == "OK"
        print("FETCH 1:* %s after %.3f s" % (what, time.monotonic() - now))
    assert b"RFC822.SIZE %d" % (8 << 30) in text
    now = time.monotonic()
    pop = pop_login(box)
    number = [n for n, line in enumerate(pop.list()[1], 1) if int(line.split()[1]) == 8 << 30]
    assert len(number) == 1 and b"Subject: sparse" in pop.top(number[0], 0)[1]
    print("POP3 login, LIST and TOP after %.3f s" % (time.monotonic() - now))
    assert fetch(m, "(BODY.PEEK[])")[0] == "NO"  # the others are told
    pop.quit()
    m.logout()
    assert time.monotonic() - begin < 10
