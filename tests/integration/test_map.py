"""estafeta map, and tables of every type behind virtual_alias_maps and smtpd's restrictions."""
import os
import pwd
import smtplib

import pytest

from instance import Instance, wait_until

NOBODY = pwd.getpwnam("nobody")


def test_root_builds_a_map_as_the_owner_of_its_source(make_instance, tmp_path):
    mail = make_instance()
    home = mail.dir / "theirs"  # reachable by all, unlike the test's own directory
    home.mkdir()
    os.chown(home, NOBODY.pw_uid, NOBODY.pw_gid)
    source = home / "map"
    source.write_text("a 1\n")
    source.chmod(0o640)
    os.chown(source, NOBODY.pw_uid, NOBODY.pw_gid)
    mail.estafeta("map", "build", "hash:%s" % source)
    made = (home / "map.db").stat()
    assert (made.st_uid, made.st_gid, made.st_mode & 0o777) == (NOBODY.pw_uid, NOBODY.pw_gid, 0o640)
    assert mail.estafeta("map", "query", "a", "hash:%s" % source).stdout == "1\n"
    # what its owner may not read does not get into it
    secret = mail.dir / "secret"
    secret.write_text("b 2\n")
    secret.chmod(0o600)
    os.unlink(source)
    os.symlink(secret, source)
    mail.estafeta("map", "build", "hash:%s" % source, check=False)
    assert (home / "map.db").stat().st_mode & 0o077 == 0 or b"b" not in (home / "map.db").read_bytes()


@pytest.fixture(scope="module")
def idle():
    with Instance() as i:
        yield i


BUILT = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb"}


@pytest.mark.parametrize("kind", BUILT)
def test_a_map_is_built_and_asked(idle, kind):
    source = idle.dir / kind
    source.write_text("# comment\nAlice@Example.TEST bob@example.test\nlist a,\n  b\na again\na twice\nodd\n" +
                      "".join("key%d value%d\n" % (i, i) for i in range(5000)))
    spec = "%s:%s" % (kind, source)
    r = idle.estafeta("map", "query", "list", spec, check=False)
    assert r.returncode != 0 and "not built; run: estafeta map build %s" % spec in r.stderr
    r = idle.estafeta("map", "build", spec)
    assert "%s, line 6: duplicate entry" % source in r.stderr and "%s, line 7: " % source in r.stderr
    assert (idle.dir / (kind + BUILT[kind])).exists()
    r = idle.estafeta("map", "query", "-", spec, input="alice@EXAMPLE.test\nlist\na\nnobody\nkey4999\n")
    assert r.stdout == "alice@EXAMPLE.test\tbob@example.test\nlist\ta,  b\na\tagain\nkey4999\tvalue4999\n"
    assert idle.estafeta("map", "query", "nobody", spec, check=False).returncode == 1
    assert idle.estafeta("map", "build", "proxy:" + spec, check=False).returncode == 64


def query(idle, key, spec):
    r = idle.estafeta("map", "query", key, spec, check=False)
    return r.stdout.rstrip("\n") if r.returncode == 0 else r.returncode


def test_tables_that_are_not_built(idle):
    d = idle.dir
    (d / "nets").write_text("192.0.2.0/24 REJECT\nif 2001:db8::/32\n2001:db8::1 one\nendif\n!10.0.0.0/8 other\n")
    (d / "re").write_text("/^(.*)\\+(.*)@old\\.test$/ $1@new.test\n!/@/ nobody\n")
    (d / "bad").write_text("/a/ good\n/(/ bad\n")
    assert query(idle, "192.0.2.9", "cidr:%s/nets" % d) == "REJECT"
    assert query(idle, "2001:DB8::1", "cidr:%s/nets" % d) == "one"
    assert query(idle, "192.0.3.9", "proxy:cidr:%s/nets" % d) == "other"
    assert query(idle, "10.0.0.1", "cidr:%s/nets" % d) == 1
    for kind in "pcre", "regexp":
        assert query(idle, "Bob+x@OLD.test", "%s:%s/re" % (kind, d)) == "Bob@new.test"
        assert query(idle, "bob", "%s:%s/re" % (kind, d)) == "nobody"
        r = idle.estafeta("map", "query", "a", "%s:%s/bad" % (kind, d))
        assert r.stdout == "good\n" and "%s map %s/bad, line 2: " % (kind, d) in r.stderr
    assert query(idle, "A", "unionmap:{inline:{a=1}, static:2}") == "1,2"
    assert query(idle, "a", "pipemap:{inline:{a=b}, inline:{b=c}}") == "c"
    assert query(idle, "a", "randmap:{one, two}") in ("one", "two")
    assert query(idle, "a", "fail:x") == 75
    assert query(idle, "a", "nosuch:x") == 64
    assert query(idle, "a", "cidr:%s/missing" % d) == 66


@pytest.fixture(scope="module")
def aliases():
    with Instance() as i:
        d = i.dir / "maps"
        d.mkdir()
        specs = []
        for kind in ("lmdb", "cdb"):
            (d / kind).write_text("%s@example.test bob@example.test\n" % kind)
            i.estafeta("map", "build", "%s:%s/%s" % (kind, d, kind))
            specs.append("%s:%s/%s" % (kind, d, kind))
        (d / "pcre").write_text("/^(bob)-(.*)@example\\.test$/ $1@example.test\n/^@/ partial@example.test\n")
        (d / "regexp").write_text("/^regexp-.*@/ bob@example.test\n")
        (d / "left").write_text("both@example.test bob@example.test\n")
        i.estafeta("map", "build", "cdb:%s/left" % d)
        specs += ["pcre:%s/pcre" % d, "regexp:%s/regexp" % d,
                  "unionmap:{cdb:%s/left, inline:{both@example.test=carol@example.test}}" % d,
                  "pipemap:{inline:{piped@example.test=lmdb@example.test}, lmdb:%s/lmdb}" % d]
        with open(i.conf / "main.cf", "a") as f:
            f.write("virtual_alias_maps = %s\n" % ",\n  ".join(specs))
        i.maps = d
        i.add_users("bob@example.test", "carol@example.test")
        yield i.start()


def rcpt(mail, address):
    with smtplib.SMTP(mail.ip, mail.port("smtp"), source_address=("127.0.0.2", 0)) as s:
        s.ehlo()
        s.mail("x@elsewhere.test")
        return s.rcpt(address)[0]


def test_aliases_stand_in_tables_of_every_type(aliases):
    known = ["lmdb", "cdb", "bob-anything", "regexp-x", "both", "piped"]
    for name in known:
        assert rcpt(aliases, name + "@example.test") == 250, name
    assert rcpt(aliases, "nobody@example.test") == 550  # and no pattern sees "@example.test"
    with smtplib.SMTP(aliases.ip, aliases.port("smtp"), source_address=("127.0.0.2", 0)) as s:
        s.sendmail("x@elsewhere.test", ["both@example.test"], "Subject: both\r\n\r\nx\r\n")
    for who in "bob", "carol":
        wait_until(lambda: len(aliases.messages(who + "@example.test")) == 1, what=who)


def test_a_rebuilt_map_is_seen(aliases):
    assert rcpt(aliases, "late@example.test") == 550
    for kind in "lmdb", "cdb":
        with open(aliases.maps / kind, "a") as f:
            f.write("late-%s@example.test bob@example.test\n" % kind)
        aliases.estafeta("map", "build", "%s:%s/%s" % (kind, aliases.maps, kind))
        wait_until(lambda: rcpt(aliases, "late-%s@example.test" % kind) == 250, what=kind)
    with open(aliases.maps / "pcre", "a") as f:
        f.write("/^late@/ bob@example.test\n")
    wait_until(lambda: rcpt(aliases, "late@example.test") == 250, what="pcre")


def test_check_names_the_place_of_a_table_that_does_not_open(make_instance):
    mail = make_instance()
    mail.add_users("bob@example.test")
    main, services = mail.conf / "main.cf", mail.conf / "master.cf"
    before = len(main.read_text().splitlines())
    with open(main, "a") as f:
        f.write("smtpd_sender_restrictions = check_sender_access hash:%s/main.cf\n" % mail.conf)
    services.write_text(services.read_text().replace(
        ":2587   inet n       -      y      -      2       smtpd",
        ":2587   inet n       -      y      -      2       smtpd -o smtpd_helo_restrictions=check_helo_access,lmdb:/nowhere/x"))
    r = mail.estafeta("check", check=False)
    assert r.returncode == 78
    assert "%s:%d: smtpd_sender_restrictions: hash:%s/main.cf: not built; run: estafeta map build hash:%s/main.cf" % (
        main, before + 1, mail.conf, mail.conf) in r.stderr
    assert "%s:3: smtpd_helo_restrictions: lmdb:/nowhere/x: " % services in r.stderr
