"""The promise: what was acknowledged with 250 is in a mailbox or in the queue, whatever is killed meanwhile."""
import os
import random
import signal
import threading
import time

from ledger import Ledger, submit

MESSAGES, CONNECTIONS = 1000, 20
KILLED = ("log", "dnsd", "keyd", "authd", "qmgr", "relay", "delivery", "smtpd", "imapd-login", "pop3d-login")


def kill_at_random(mail, ledger, stop, kills, rng):
    """Kills one process each time some more messages were acknowledged: however fast they go, many die on the way."""
    due = rng.randint(1, 60)
    while not stop.wait(0.002):
        if len(ledger.acknowledged) < due:
            continue
        program, pid = rng.choice([p for p in mail.processes() if p[0] in KILLED] or [(None, None)])
        if program is None:
            continue
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        kills.append(program)
        due = len(ledger.acknowledged) + rng.randint(20, 100)


def test_nothing_is_lost_while_daemons_are_killed(make_instance):
    mail = make_instance(main_cf="minimal_backoff_time = 1s\nmaximal_backoff_time = 2s\nqueue_run_delay = 1s\n"
                                 "smtpd_client_connection_count_limit = 0\n")
    mail.add_users("bob@example.test", "carol@example.test")
    mail.start()
    seed = int(os.environ.get("TEST_SEED", time.time()))
    rng, ledger, stop, kills = random.Random(seed), Ledger(), threading.Event(), []
    senders = [threading.Thread(target=submit, args=(mail, ledger, MESSAGES // CONNECTIONS,
                                                     ["bob@example.test", "carol@example.test"][n % 2]))
               for n in range(CONNECTIONS)]
    killer = threading.Thread(target=kill_at_random, args=(mail, ledger, stop, kills, rng))
    for t in senders + [killer]:
        t.start()
    for t in senders:
        t.join()
    stop.set()
    killer.join()
    mail.wait_queue_empty(120)
    contents = mail.messages("bob@example.test") + mail.messages("carol@example.test")
    lost, torn, duplicates = ledger.account(contents)
    print("seed %d: %d acknowledged, %d kills (%s), %d duplicates" % (
        seed, len(ledger.acknowledged), len(kills), ", ".join(sorted(set(kills))), duplicates))
    assert len(ledger.acknowledged) >= MESSAGES and len(kills) >= 5
    assert lost == [] and torn == []
    assert duplicates <= len(kills)
