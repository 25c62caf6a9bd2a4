"""Remote write 1.0 as a sender makes it: protobuf by hand, snappy without compression."""

import struct
import urllib.request

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def varint(n):
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def series(labels, samples):
    """One TimeSeries message; samples are (milliseconds, value)."""
    body = b"".join(field(1, field(1, k.encode()) + field(2, v.encode())) for k, v in sorted(labels.items()))
    for t, value in samples:
        body += field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + varint(t))
    return field(1, body)


def snappy(plain):
    out = bytearray(varint(len(plain)))
    for at in range(0, len(plain), 65536):
        chunk = plain[at : at + 65536]
        out += b"\xf4" + struct.pack("<H", len(chunk) - 1) + chunk
    return bytes(out)


def send(port, messages):
    """Sends TimeSeries messages in one request; the status."""
    headers = {
        "Content-Type": "application/x-protobuf",
        "Content-Encoding": "snappy",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/write", data=snappy(b"".join(messages)), headers=headers
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status
