#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Strangers wait for the greeting (smtpd_greet_wait), once in smtpd_greet_ttl.

A hasty client says its first command at once: who must wait is turned away for that, who need not is answered."""
import os

from pillar import Dialogue, Instance, expect, main, starts

suite = Instance(start=False)


def configure(ttl):
    path = os.path.join(suite.dir, "etc", "local.conf")
    with open(path + ".new", "w") as f:
        f.write("daemon_processes = 1\nmynetworks = 192.0.2.0/24\nsmtpd_proxy_hosts = 127.0.0.1\nsmtpd_greet_wait = 2s\nsmtpd_greet_ttl = %s\n" % ttl)
    os.rename(path + ".new", path)
    suite.make()


configure("1d")
suite.start()


def call(address, first=""):
    d = Dialogue(("127.0.0.1", suite.port("SMTP")))
    d.raw(("PROXY TCP%d %s %s 1234 25\r\n%s" % (6 if ":" in address else 4, address, address, first)).encode())
    return d


def is_served_at_once(address):
    d = call(address, "HELO hasty.test\r\n")
    code = d.reply()[:3]
    if code == "220":
        starts(d.reply(), "250")
    else:
        expect(code, "554")
        expect(d.at_end(), True)
    d.close()
    return code == "220"


def wait_for_greeting(address):
    d = call(address)
    starts(d.reply(), "220")
    starts(d.ask("QUIT"), "221")
    d.close()


def test_who_has_waited_is_greeted_at_once():
    expect(is_served_at_once("198.51.100.1"), False)
    expect(is_served_at_once("198.51.100.1"), False)  # haste is no wait
    wait_for_greeting("198.51.100.1")
    expect(is_served_at_once("198.51.100.1"), True)
    expect(is_served_at_once("198.51.100.2"), False)


def test_a_network_of_ipv6_is_one_client():
    wait_for_greeting("2001:db8::1")
    expect(is_served_at_once("2001:db8::2"), True)
    expect(is_served_at_once("2001:db8:0:1::1"), False)


def test_our_networks_never_wait():
    expect(is_served_at_once("192.0.2.1"), True)


def test_without_a_time_to_live_each_connection_waits():
    wait_for_greeting("198.51.100.3")
    expect(is_served_at_once("198.51.100.3"), True)
    configure("0")
    suite.mailctl("reload")
    suite.wait_log("smtpd[", "reload")
    expect(is_served_at_once("198.51.100.3"), False)


if __name__ == "__main__":
    main(globals())
