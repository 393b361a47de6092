#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Rows M and T of the textbook acceptance list: each kind of message goes in by
SMTP, comes back byte for byte by IMAP and POP3, and shows the right structure."""
from pillar import Instance, expect, has, main, starts, wait_for

suite = Instance()
sent = 0


def through(header, body, sender="alice@crepes.fr"):
    """Sends it, returns what IMAP gives of it: whole text, structure, envelope, number, connection."""
    global sent
    sent += 1
    mark = "X-Test: %d\r\n" % sent
    raw = (mark + header).encode("utf-8", "surrogateescape") + b"\r\n" + (body if isinstance(body, bytes) else body.encode("latin-1"))
    s = suite.smtp()
    s.sendmail(sender, ["bob@example.test"], raw, mail_options=["BODY=8BITMIME"])
    s.quit()
    c = suite.imap()

    def number():
        c.select("INBOX")
        return c.search(None, "HEADER", "X-Test", str(sent))[1][0].split()
    n = wait_for(number, 20, "message %d" % sent)[-1]
    whole = c.fetch(n, "(BODY.PEEK[])")[1][0][1]
    assert whole.endswith(raw), "not byte for byte:\n%r\n%r" % (whole[-len(raw):], raw)
    structure = b" ".join(x if isinstance(x, bytes) else b" ".join(x) for x in c.fetch(n, "(BODYSTRUCTURE)")[1]).decode("utf-8", "replace").lower()
    return whole, structure, n, c


def test_M01_M02_headers_are_kept_as_they_came():
    header = ("From: Alice <alice@crepes.fr>\r\nTo: bob@hamburger.edu\r\nCc: c@x.test\r\nReply-To: r@x.test\r\nSubject:  odd   spacing\t\r\n folded\r\n"
              "Date: Sat, 12 Oct 1998 15:27:39 +0000\r\nMessage-ID: <m01@x>\r\nx-lower: kept\r\n")
    _, _, n, c = through(header, "body\r\n")
    envelope = str(c.fetch(n, "(ENVELOPE)")[1])
    for word in ('"alice" "crepes.fr"', '"bob" "hamburger.edu"', '"c" "x.test"', '"r" "x.test"', "<m01@x>"):
        has(envelope, word)


def test_M04_header_lines_are_not_commands():
    through("Subject: M04\r\n", "MAIL FROM:<x@y.test>\r\nRCPT TO:<z@y.test>\r\nFrom here on\r\nQUIT\r\n")


def test_M05_a_picture_as_the_only_part():
    _, structure, n, c = through("MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\nContent-Type: image/jpeg\r\n", "/9j/4AAQSkZJRg==\r\n")
    has(structure, '"image" "jpeg"')
    has(structure, '"base64"')


def test_M07_every_mime_header_is_in_the_structure():
    _, structure, _, _ = through("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Description: a Note\r\nContent-ID: <id@x>\r\nContent-Transfer-Encoding: quoted-printable\r\n", "x=3D1\r\n")
    for word in ('"a note"', '"<id@x>"', '"quoted-printable"', '"charset" "utf-8"'):
        has(structure, word)


def leaf(kind, body="data\r\n", extra=""):
    major, minor = kind.split("/")
    _, structure, _, _ = through("MIME-Version: 1.0\r\nContent-Type: %s%s\r\n" % (kind, extra), body)
    has(structure, '"%s" "%s"' % (major.lower(), minor.lower()))


def test_M08_text_plain_and_enriched():
    leaf("text/plain")
    leaf("text/enriched", "<bold>x</bold>\r\n")


def test_M09_images():
    leaf("image/gif")
    leaf("image/jpeg")


def test_M10_audio():
    leaf("audio/basic")


def test_M11_video():
    leaf("video/mpeg")


def test_M12_applications():
    for kind in ("application/octet-stream", "application/postscript", "application/msword"):
        leaf(kind)


def test_M13_nested_message():
    inner = "From: i@x.test\r\nSubject: inner\r\n\r\ninner text\r\n"
    _, structure, n, c = through("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n", "--b\r\n\r\ntext\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n" + inner + "\r\n--b--\r\n")
    has(structure, '"message" "rfc822"')
    has(structure, '"inner"')
    has(c.fetch(n, "(BODY.PEEK[2.HEADER])")[1][0][1], b"Subject: inner\r\n")
    has(c.fetch(n, "(BODY.PEEK[2.TEXT])")[1][0][1], b"inner text")


def test_M14_partial():
    leaf("message/partial", "x\r\n", '; id="abc"; number=1; total=2')


def test_M15_external_body():
    leaf("message/external-body", "Content-Type: image/gif\r\n\r\n", '; access-type=anon-ftp; site="x.test"; name="a"')


def multipart(subtype, parts):
    body = "preamble\r\n" + "".join("--q\r\n%s\r\n%s\r\n" % p for p in parts) + "--q--\r\nepilogue\r\n"
    _, structure, n, c = through("MIME-Version: 1.0\r\nContent-Type: multipart/%s; boundary=q\r\n" % subtype, body)
    has(structure, '"%s"' % subtype)
    return structure, n, c


def test_M16_mixed_parts_in_order():
    _, n, c = multipart("mixed", [("Content-Type: text/plain\r\n", "one"), ("Content-Type: text/plain\r\n", "two")])
    expect(c.fetch(n, "(BODY.PEEK[1])")[1][0][1], b"one")
    expect(c.fetch(n, "(BODY.PEEK[2])")[1][0][1], b"two")


def test_M17_alternative():
    multipart("alternative", [("Content-Type: text/plain\r\n", "t"), ("Content-Type: text/html\r\n", "<p>t")])


def test_M18_parallel():
    multipart("parallel", [("Content-Type: audio/basic\r\n", "t"), ("Content-Type: image/gif\r\n", "t")])


def test_M19_digest_defaults_to_messages():
    structure, _, _ = multipart("digest", [("", "Subject: d1\r\n\r\nx"), ("", "Subject: d2\r\n\r\ny")])
    expect(structure.count('"message" "rfc822"'), 2)


def test_M20_unknown_message_type_does_not_break_the_parser():
    leaf("Message/Mixed", "x\r\n")


def test_M21_boundary_with_spaces_around_the_equals_sign_and_nesting():
    body = ("--=_outer b?\r\nContent-Type: multipart/alternative; boundary=\"inner\"\r\n\r\n--inner\r\n\r\na\r\n--inner\r\nContent-Type: text/html\r\n\r\nb\r\n--inner--\r\n"
            "--=_outer b?\r\nContent-Type: text/plain\r\n\r\nc\r\n--=_outer b?--\r\n")
    _, structure, n, c = through('MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary = "=_outer b?"\r\n', body)
    expect(c.fetch(n, "(BODY.PEEK[1.2])")[1][0][1], b"b")
    expect(c.fetch(n, "(BODY.PEEK[2])")[1][0][1], b"c")


def test_M22_the_pine_example():
    b = "8323328-2120168431-824156555=:325"
    body = ("--%s\r\nContent-Type: TEXT/PLAIN; charset=US-ASCII\r\n\r\nA picture\r\n--%s\r\nContent-Type: IMAGE/JPEG; name=\"picture.jpg\"\r\n"
            "Content-Transfer-Encoding: BASE64 (picture.jpg)\r\nContent-ID: <PINE.LNX.3.91.960212212235.325B@localhost>\r\nContent-Description: \r\n\r\n/9j/4AAQSkZJRgABAQAAAQABAAD//oAHENyZWF\r\n--%s--\r\n" % (b, b, b))
    _, structure, _, _ = through('MIME-Version: 1.0\r\nContent-Type: MULTIPART/MIXED; BOUNDARY= "%s"\r\n' % b, body)
    for word in ('"text" "plain"', '"image" "jpeg"', '"base64"', "<pine.lnx.3.91.960212212235.325b@localhost>"):
        has(structure, word)


def test_M23_the_next_part_example():
    b = "----_=_NextPart_001_01C85EA4.35AB5B2E"
    body = "This is a multi-part message in MIME format.\r\n\r\n--%s\r\nContent-Type: text/plain;\r\n\tcharset=\"iso-8859-1\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nGr=FC=DFe\r\n--%s\r\nContent-Type: text/html;\r\n\tcharset=\"iso-8859-1\"\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>Gr=FC=DFe\r\n--%s--\r\n" % (b, b, b)
    _, structure, n, c = through('MIME-Version: 1.0\r\nContent-Type: multipart/alternative;\r\n\tboundary="%s"\r\n' % b, body)
    for word in ('"text" "plain" ("charset" "iso-8859-1")', '"text" "html"', '"alternative"'):
        has(structure, word)
    c.literal = "Gr\u00fc\u00dfe".encode()
    assert n in c.search("UTF-8", "TEXT")[1][0].split(), "the decoded word is found"


def test_M24_text_of_the_world():
    body = "Grüße, привет, こんにちは, 你好, مرحبا, merhaba çğış\r\n".encode()
    through("MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\nSubject: =?utf-8?B?R3LDvMOfZQ==?=\r\n", body)


def test_M25_T08_vendor_headers_are_kept():
    through("Priority: urgent\r\nX-Priority: 1\r\nImportance: High\r\nContent-class: urn:content-classes:message\r\nX-MimeOLE: Produced By Microsoft\r\n"
            "X-MS-Has-Attach: \r\nX-MS-TNEF-Correlator: \r\nThread-Topic: x\r\nThread-Index: Acge\r\nX-OriginalArrivalTime: 12 Oct 1998 15:27:39.0001 (UTC)\r\n", "x\r\n")


def test_S28_old_message_formats_are_read():
    for date in ("12 Oct 98 15:27:39 GMT", "Mon, 12 Oct 1998 15:27:39 -0700 (PDT)", "Fri, 21 Nov 1997 09(comment):   55  :  06 -0600"):
        _, _, n, c = through("Date: %s\r\nFrom: Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>\r\nSubject: S28\r\n" % date, "x\r\n")
        has(str(c.fetch(n, "(ENVELOPE)")[1]), '"pete" "silly.test"')
        expect(c.search(None, "SENTBEFORE", "1-Jan-2000", "SUBJECT", "S28")[0], "OK")
        assert n in c.search(None, "SENTBEFORE", "1-Jan-2000", "SUBJECT", "S28")[1][0].split(), date


def test_M06_T02_T10_T11_trace():
    whole, _, _, _ = through("Received: from crepes.fr by hamburger.edu; 12 Oct 98 15:27:39 GMT\r\nReturn-Path: bare@x.test\r\nSubject: trace\r\n", "x\r\n")
    lines = whole.decode().replace("\r\n\t", " ").replace("\r\n ", " ").split("\r\n")
    ours = next(line for line in lines if line.startswith("Received: "))
    for word in ("from ", " by mail.example.test", " with ", " id ", "; "):
        has(ours, word)


def test_T03_T04_a_loop_is_cut_by_the_hop_count():
    import smtplib
    s = suite.smtp()
    hops = "".join("Received: from a%d.test by b.test; Sat, 21 Nov 2026 10:00:00 +0000\r\n" % n for n in range(200))
    try:
        s.sendmail("x@else.test", ["bob@example.test"], hops + "Subject: loop\r\n\r\nx\r\n")
        raise AssertionError("a message of 200 hops was taken")
    except smtplib.SMTPDataError as e:
        has(str(e), "5.4.6")
    s.quit()


def test_T03_delivered_to_ourselves_is_a_loop():
    s = suite.submission()
    s.sendmail("alice@example.test", ["bob@example.test"], "Delivered-To: bob@example.test\r\nFrom: alice@example.test\r\nSubject: T03 again\r\n\r\nx\r\n")
    s.quit()

    def report():
        for text in suite.messages("alice"):
            if b"T03 again" in text and b"multipart/report" in text:
                return text
    text = wait_for(report, 20, "a report to alice")
    has(text, b"5.4.6")


main(globals())
