"""estafeta map as root in a directory of somebody else."""
import os
import pwd

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
