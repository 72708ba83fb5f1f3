"""Habits with services: a node asks one before it answers a client.

The client gets an error if a reply of the service is not the expected one.
"""

READ = {"type": "read", "key": "k", "msg_id": 7}
WRITE = {"type": "write", "key": "k", "value": 1, "msg_id": 6}
CAS = {"type": "cas", "key": "k", "from": None, "to": 2, "msg_id": 8}
MISSING = {"type": "error", "code": 20, "in_reply_to": 7}
FOUND = {"type": "read_ok", "value": 1, "in_reply_to": 7}
SET = {"type": "read_ok", "value": 2, "in_reply_to": 7}
WRITTEN = {"type": "write_ok", "in_reply_to": 6}
SWAPPED = {"type": "cas_ok", "in_reply_to": 8}
ABSENT = {"type": "error", "code": 20, "in_reply_to": 8}
DIFFERS = {"type": "error", "code": 22, "in_reply_to": 8}
# Expected of a request that the service does not answer.
NOTHING = None


def without(request, *fields):
    return {key: value for key, value in request.items() if key not in fields}


def with_id(value):
    """A write whose `msg_id` is a value, and its reply."""
    reply = {"type": "write_ok", "in_reply_to": value}
    return [("lin-kv", {**WRITE, "msg_id": value}, reply), ("lin-kv", READ, FOUND)]


def creating(value, first, then):
    return [
        ("lin-kv", {**CAS, "create_if_not_exists": value}, first),
        ("lin-kv", READ, then),
    ]


def keys(one, other, found):
    return [
        ("lin-kv", {**WRITE, "key": one}, WRITTEN),
        ("lin-kv", {**READ, "key": other}, FOUND if found else MISSING),
    ]


def values(value, expected, reply):
    return [
        ("lin-kv", {**WRITE, "value": value}, WRITTEN),
        ("lin-kv", {**CAS, "from": expected}, reply),
    ]


def still_there(service, request):
    """Asks a question that the service must not answer, then a right one."""
    return [(service, request, NOTHING), ("lin-kv", READ, MISSING)]


# By name: the requests, one after the other, and the content that each reply must show.
SERVICES = {
    "kv": [("lin-kv", READ, MISSING), ("lin-kv", WRITE, WRITTEN), ("lin-kv", READ, FOUND)],
    "kv-no-id": [
        ("lin-kv", without(WRITE, "msg_id"), {"type": "write_ok", "in_reply_to": None}),
        ("lin-kv", READ, FOUND),
    ],
    "kv-id-text": with_id("2f1c7a0e-uuid"),
    "kv-id-negative": with_id(-3),
    "kv-id-float": with_id(1.5),
    "kv-id-list": with_id([1, {"a": None}]),
    "kv-id-null": with_id(None),
    "kv-id-true": with_id(True),
    "kv-id-huge": with_id(10**25),
    "kv-create": creating(True, SWAPPED, SET),
    "kv-create-false": creating(False, ABSENT, MISSING),
    "kv-create-text": creating("yes", SWAPPED, SET),
    "kv-create-zero": creating(0, SWAPPED, SET),
    "kv-create-null": creating(None, ABSENT, MISSING),
    "kv-cas-no-from": [
        ("lin-kv", {**WRITE, "value": None}, WRITTEN),
        ("lin-kv", without(CAS, "from"), SWAPPED),
        ("lin-kv", READ, SET),
    ],
    "kv-create-no-from": [
        ("lin-kv", without({**CAS, "create_if_not_exists": True}, "from"), SWAPPED),
        ("lin-kv", READ, SET),
    ],
    "kv-cas-no-to": [
        ("lin-kv", WRITE, WRITTEN),
        ("lin-kv", without({**CAS, "from": 1}, "to"), SWAPPED),
        ("lin-kv", READ, {"type": "read_ok", "value": None, "in_reply_to": 7}),
    ],
    "kv-cas-differs": values(1, 9, DIFFERS),
    "kv-cas-float": values(1, 1.0, DIFFERS),
    "kv-cas-float-equal": values(1.0, 1.0, SWAPPED),
    "kv-cas-text": values(1, "1", DIFFERS),
    "kv-cas-list": values([1, {"a": 2, "b": 3}], [1, {"b": 3, "a": 2}], SWAPPED),
    "kv-cas-big": values(10**25, 10**25, SWAPPED),
    "kv-cas-decimals": values(0.10, 0.1, SWAPPED),
    "kv-read-no-key": [("lin-kv", without(READ, "key"), MISSING)],
    "kv-null-key": [
        ("lin-kv", without(WRITE, "key"), WRITTEN),
        ("lin-kv", {**READ, "key": None}, FOUND),
    ],
    "kv-write-no-value": [
        ("lin-kv", without(WRITE, "value"), WRITTEN),
        ("lin-kv", READ, {"type": "read_ok", "value": None, "in_reply_to": 7}),
    ],
    "kv-key-text": keys(1, "1", False),
    "kv-key-float": keys(1, 1.0, False),
    "kv-key-list": keys([1, 2], [1, 2], True),
    "kv-key-object": keys({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
    "kv-key-big": keys(10**25, 10**25, True),
    "kv-extra-field": [("lin-kv", {**WRITE, "extra": 1}, WRITTEN), ("lin-kv", READ, FOUND)],
    "kv-unknown-type": still_there("lin-kv", {"type": "increment", "key": "k", "msg_id": 5}),
    "kv-no-type": still_there("lin-kv", {"key": "k", "msg_id": 5}),
    "kv-empty-body": still_there("lin-kv", {}),
    "kv-ts": still_there("lin-kv", {"type": "ts", "msg_id": 5}),
    "tso": [
        ("lin-tso", {"type": "ts", "msg_id": 5}, {"type": "ts_ok", "ts": 0, "in_reply_to": 5}),
        ("lin-tso", {"type": "ts", "msg_id": 6}, {"type": "ts_ok", "ts": 1, "in_reply_to": 6}),
    ],
    "tso-read": still_there("lin-tso", READ),
    "seq-kv": [
        ("seq-kv", WRITE, WRITTEN),
        ("seq-kv", READ, FOUND),
        ("seq-kv", {**CAS, "from": 1}, SWAPPED),
        ("seq-kv", READ, SET),
    ],
    "lww-kv": [("lww-kv", WRITE, WRITTEN), ("lww-kv", READ, {"in_reply_to": 7})],
    "lww-kv-create": [("lww-kv", {**CAS, "create_if_not_exists": True}, ABSENT)],
    "kv-apart": [("lin-kv", WRITE, WRITTEN), ("seq-kv", READ, MISSING)],
}


def fits(body, expected):
    same = lambda a, b: type(a) is type(b) and a == b
    return all(same(body.get(key), value) for key, value in expected.items())
