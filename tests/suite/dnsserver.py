#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""A DNS server for tests: answers from a text file, over UDP and TCP.

    dnsserver.py --zone FILE [--listen 127.0.0.1] [--port 0] [--port-file FILE]

The file has one record a line, names without a final dot, # for comments:

    a.test              MX      10 mx.a.test
    mx.a.test           A       127.0.0.1
    mx.a.test           AAAA    ::1
    www.a.test          CNAME   a.test
    null.test           MX      0 .
    1.0.0.127.in-addr.arpa PTR  mx.a.test
    a.test              TXT     "v=spf1 -all" "second string"
    _25._tcp.mx.a.test  TLSA    3 1 1 0123abcd
    broken.test         SERVFAIL
    slow.test           SILENT          no answer at all
    refused.test        REFUSED
    half.test           A       SERVFAIL        for that type alone
    big.test            TRUNCATE        over UDP, so that TCP is used

A name without records of the type asked for is NODATA, an unknown name NXDOMAIN.
TTL is 1 second, so that a changed file is seen at once; the file is read again
when it changes.  With --port 0 the system chooses; the port is printed, and
written to the port file, once the server listens.
"""
import argparse
import ipaddress
import os
import shlex
import socket
import socketserver
import struct
import sys
import threading

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "TLSA": 52}
MOODS = {"SERVFAIL": 2, "REFUSED": 5, "SILENT": None, "TRUNCATE": "tc"}


def wire_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            raw = label.encode("latin-1").decode("unicode_escape").encode("latin-1")
            out += bytes([len(raw)]) + raw
    return out + b"\0"


def rdata(kind, words):
    if kind in ("A", "AAAA"):
        return ipaddress.ip_address(words[0]).packed
    if kind in ("CNAME", "NS", "PTR"):
        return wire_name(words[0])
    if kind == "MX":
        return struct.pack("!H", int(words[0])) + wire_name(words[1])
    if kind == "TXT":
        return b"".join(bytes([len(w)]) + w.encode() for w in words)
    if kind == "TLSA":
        return bytes(int(w) for w in words[:3]) + bytes.fromhex(words[3])
    raise ValueError(kind)


class Zone:
    def __init__(self, path):
        self.path, self.stamp, self.lock = path, None, threading.Lock()
        self.records, self.moods, self.names = {}, {}, set()

    def read(self):
        with self.lock:
            st = os.stat(self.path)
            if (st.st_mtime_ns, st.st_size, st.st_ino) == self.stamp:
                return
            records, moods, names = {}, {}, set()
            with open(self.path, encoding="utf-8") as f:
                for n, line in enumerate(f, 1):
                    words = shlex.split(line, comments=True)
                    if not words:
                        continue
                    try:
                        name, kind, rest = words[0].lower().rstrip("."), words[1].upper(), words[2:]
                        parts = name.split(".")
                        names.update(".".join(parts[i:]) for i in range(len(parts)))
                        if kind in MOODS:
                            moods[name, None] = kind
                        elif rest and rest[0] in MOODS:
                            moods[name, TYPES[kind]] = rest[0]
                        else:
                            records.setdefault((name, TYPES[kind]), []).append(rdata(kind, rest))
                    except (ValueError, KeyError, IndexError) as e:
                        print(f"{self.path}:{n}: {e!r}", file=sys.stderr, flush=True)
            self.records, self.moods, self.names = records, moods, names
            self.stamp = (st.st_mtime_ns, st.st_size, st.st_ino)

    def answer(self, name, kind):
        """(rcode or mood, [(name, type, rdata)])"""
        self.read()
        found, seen = [], set()
        while True:
            mood = self.moods.get((name, None)) or self.moods.get((name, kind))
            if mood:
                return mood, found
            own = self.records.get((name, kind))
            if own:
                return 0, found + [(name, kind, r) for r in own]
            alias = self.records.get((name, 5))
            if not alias or name in seen:
                return (0 if found or name in self.names else 3), found
            seen.add(name)
            found.append((name, 5, alias[0]))
            name = text_name(alias[0], 0)[0]


def text_name(data, at):
    labels = []
    while data[at]:
        if data[at] & 0xC0:
            raise ValueError("compressed")
        labels.append(data[at + 1:at + 1 + data[at]].decode("latin-1").lower())
        at += 1 + data[at]
    return ".".join(labels), at + 1


def reply(zone, query, udp):
    if len(query) < 12 or query[2] & 0x80:
        return None
    ident, flags, questions = struct.unpack("!HHH", query[:6])
    if questions != 1:
        return None
    name, at = text_name(query, 12)
    kind, = struct.unpack("!H", query[at:at + 2])
    what, found = zone.answer(name, kind)
    flags = 0x8400 | 0x0080 | flags & 0x0100
    if what == "SILENT":
        return None
    if what == "TRUNCATE":
        if udp:
            return struct.pack("!HHHHHH", ident, flags | 0x0200, 1, 0, 0, 0) + query[12:at + 4]
        what, found = 0, [(name, kind, r) for r in zone.records.get((name, kind), [])]
    rcode = MOODS.get(what, what)
    body, authority = b"", b""
    for owner, t, data in found:
        body += wire_name(owner) + struct.pack("!HHIH", t, 1, 1, len(data)) + data
    if not [t for _, t, _ in found if t == kind] and rcode in (0, 3):
        soa = wire_name("ns.test") + wire_name("admin.test") + struct.pack("!IIIII", 1, 1, 1, 1, 1)
        zone_name = name.split(".")[-1]
        authority = wire_name(zone_name) + struct.pack("!HHIH", 6, 1, 1, len(soa)) + soa
    head = struct.pack("!HHHHHH", ident, flags | rcode, 1, len(found), 1 if authority else 0, 0)
    packet = head + query[12:at + 4] + body + authority
    if udp and len(packet) > 1232:
        return struct.pack("!HHHHHH", ident, flags | 0x0200, 1, 0, 0, 0) + query[12:at + 4]
    return packet


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        try:
            out = reply(self.server.zone, data, True)
        except (ValueError, IndexError, struct.error):
            return
        if out:
            sock.sendto(out, self.client_address)


class Tcp(socketserver.StreamRequestHandler):
    timeout = 10

    def handle(self):
        try:
            while True:
                head = self.rfile.read(2)
                if len(head) < 2:
                    return
                out = reply(self.server.zone, self.rfile.read(struct.unpack("!H", head)[0]), False)
                if out:
                    self.wfile.write(struct.pack("!H", len(out)) + out)
        except (ValueError, IndexError, struct.error, OSError):
            return


def servers(args, zone):
    v6 = ":" in args.listen

    class UdpServer(socketserver.ThreadingUDPServer):
        address_family = socket.AF_INET6 if v6 else socket.AF_INET
        daemon_threads, allow_reuse_address, max_packet_size = True, False, 65535

    class TcpServer(socketserver.ThreadingTCPServer):
        address_family = socket.AF_INET6 if v6 else socket.AF_INET
        daemon_threads, allow_reuse_address = True, True

    for _ in range(50):
        udp = UdpServer((args.listen, args.port), Udp)
        try:
            tcp = TcpServer((args.listen, udp.server_address[1]), Tcp)
        except OSError:
            udp.server_close()
            if args.port:
                raise
            continue
        udp.zone = tcp.zone = zone
        return udp, tcp
    raise SystemExit("no port to be had")


def main():
    ap = argparse.ArgumentParser(description="DNS server for tests")
    ap.add_argument("--zone", required=True)
    ap.add_argument("--listen", default="127.0.0.1")
    ap.add_argument("--port", type=int, default=0)
    ap.add_argument("--port-file")
    args = ap.parse_args()
    zone = Zone(args.zone)
    zone.read()
    udp, tcp = servers(args, zone)
    port = udp.server_address[1]
    if args.port_file:
        with open(args.port_file + ".new", "w", encoding="ascii") as f:
            f.write(f"{port}\n")
        os.rename(args.port_file + ".new", args.port_file)
    print(port, flush=True)
    threading.Thread(target=tcp.serve_forever, daemon=True).start()
    try:
        udp.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
