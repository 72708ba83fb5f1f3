"""Habits of lines, envelopes and bodies: odd output of a node instead of a right reply."""

import json


def dump(message):
    return json.dumps(message, separators=(",", ":")).encode()


def swapped(old, new):
    return lambda line, _: line.replace(old, new, 1) + b"\n"


def foreign(**fields):
    """A line of its own in front: the reply with other fields in its envelope."""
    return lambda line, message: dump({**message, **fields}) + b"\n" + line + b"\n"


def strange(value):
    """A line of its own in front: a request to a service, with this value in it."""

    def lines(line, message):
        request = {"src": message["src"], "dest": "lin-kv", "body": {"type": "read", "key": 0}}
        return dump(request).replace(b':0', b":" + value, 1) + b"\n" + line + b"\n"

    return lines


# By name: from the line (without its end) and the message, the output instead.
LINES = {
    "bom": lambda line, _: b"\xef\xbb\xbf" + line + b"\n",
    "garbage-behind": lambda line, _: line + b" garbage\n",
    "brace-behind": lambda line, _: line + b"}\n",
    "comma-behind": lambda line, _: line + b",\n",
    "garbage-in-front": lambda line, _: b"LOG: " + line + b"\n",
    "log-line": lambda line, _: b"a line of a log\n" + line + b"\n",
    "number-line": lambda line, _: b"17\n" + line + b"\n",
    "null-line": lambda line, _: b"null\n" + line + b"\n",
    "text-line": lambda line, _: b'"text"\n' + line + b"\n",
    "list-line": lambda line, _: b"[]\n" + line + b"\n",
    "object-line": lambda line, _: b"{}\n" + line + b"\n",
    "list-of-messages": lambda line, _: b"[" + line + b"]\n",
    "empty-line": lambda line, _: b"\n" + line + b"\n",
    "blank-line": lambda line, _: b"  \t\n" + line + b"\n",
    "blanks-around": lambda line, _: b"  \t" + line + b"  \t\n",
    "pretty": lambda _, message: json.dumps(message, indent=2).encode() + b"\n",
    "crlf": lambda line, _: line + b"\r\n",
    "lone-cr": lambda line, _: line + b"\r",
    "cr-inside": lambda line, _: line.replace(b",", b",\r", 1) + b"\n",
    "form-feed-inside": lambda line, _: line.replace(b",", b",\x0c", 1) + b"\n",
    "next-line-inside": lambda line, _: line.replace(b",", b",\xc2\x85", 1) + b"\n",
    "two-on-a-line": lambda line, _: line + line + b"\n",
    "duplicate-envelope-key": lambda line, _: b'{"src":"n9",' + line[1:] + b"\n",
    "duplicate-body-key": swapped(b'"body":{', b'"body":{"in_reply_to":0,'),
    "two-bodies": lambda line, _: b'{"body":{},' + line[1:] + b"\n",
    "escaped-keys": swapped(b'"body"', b'"\\u0062ody"'),
    "escaped-type": swapped(b'"type"', b'"t\\u0079pe"'),
    "nan": strange(b"NaN"),
    "infinity": strange(b"-Infinity"),
    "leading-zero": strange(b"01"),
    "plus-sign": strange(b"+1"),
    "bare-point": strange(b"1."),
    "huge-exponent": strange(b"1e999"),
    "upper-literal": strange(b"True"),
    "odd-escape": strange(b'"\\x"'),
    "tab-in-text": strange(b'"\t"'),
    "nul-in-text": strange(b'"\x00"'),
    "lone-surrogate": strange(b'"\\ud800"'),
    "not-utf8-in-text": strange(b'"\xff\xfe"'),
    "duplicate-key-inside": strange(b'{"a":1,"a":2}'),
    "empty-key-inside": strange(b'{"":1}'),
    "unquoted-key-inside": strange(b'{a:1}'),
    "single-quotes": lambda line, _: line.replace(b'"', b"'") + b"\n",
    "comment": lambda line, _: line + b" // sent\n",
    "trailing-comma": lambda line, _: line[:-1] + b",}\n",
    "not-utf8-outside": lambda line, _: line + b" \xff\xfe\n",
    "not-utf8-in-front": lambda line, _: b"\xff" + line + b"\n",
    "not-utf8-line": lambda line, _: b"\xff\xfe\n" + line + b"\n",
    "half-line": lambda line, _: line[: len(line) // 2] + b"\n",
    "no-line-end": lambda line, _: line,
    "extra-envelope-field": lambda line, message: dump({**message, "extra": 1}) + b"\n",
    "to-unknown": foreign(dest="n99"),
    "to-unknown-client": foreign(dest="c99"),
    "to-itself": lambda line, message: (
        dump({**message, "dest": message["src"], "body": {"type": "gossip"}}) + b"\n" + line + b"\n"
    ),
}

# Habits of envelopes: `--value` takes the place of this field.
FIELDS = {"id": "id", "src": "src", "dest": "dest", "body": "body"}
# The same, in bodies.
BODY_FIELDS = {"msg-id": "msg_id", "in-reply-to": "in_reply_to", "type": "type", "extra": "extra"}


def shown(habit, message, value):
    """The output for a message that has the habit."""
    line = dump(message)
    if habit in LINES:
        return LINES[habit](line, message)
    body = message["body"]
    if habit in FIELDS:
        message = {**message, FIELDS[habit]: value}
    elif habit.startswith("no-") and habit[3:] in FIELDS:
        message = {key: v for key, v in message.items() if key != FIELDS[habit[3:]]}
    elif habit in BODY_FIELDS:
        message = {**message, "body": {**body, BODY_FIELDS[habit]: value}}
    elif habit.startswith("no-") and habit[3:] in BODY_FIELDS:
        body = {key: v for key, v in body.items() if key != BODY_FIELDS[habit[3:]]}
        message = {**message, "body": body}
    elif habit == "in-reply-to-text":
        message = {**message, "body": {**body, "in_reply_to": str(body["in_reply_to"])}}
    elif habit == "in-reply-to-float":
        message = {**message, "body": {**body, "in_reply_to": float(body["in_reply_to"])}}
    elif habit == "error":
        # `--value` is the code, or all that the error has beside its type.
        fields = value if isinstance(value, dict) else {"code": value, "text": "no"}
        error = {"type": "error", "in_reply_to": body["in_reply_to"], **fields}
        message = {**message, "body": error}
    elif habit == "twice":
        return line + b"\n" + line + b"\n"
    elif habit == "bare":
        # None of the fields that the workload asks for.
        keep = ("type", "in_reply_to")
        message = {**message, "body": {k: v for k, v in body.items() if k in keep}}
    elif habit == "silent":
        return b""
    return dump(message) + b"\n"
