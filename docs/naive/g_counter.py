#!/usr/bin/env python3
"""A counter, the naive way: read the total from seq-kv, add, and write it back."""
import json, sys

name, next_id, pending = None, 0, {}

def send(dest, body):
    print(json.dumps({"src": name, "dest": dest, "body": body}), flush=True)

def call(body, then):
    global next_id
    next_id += 1
    pending[next_id] = then
    send("seq-kv", body | {"msg_id": next_id})

for line in sys.stdin:
    message = json.loads(line)
    source, body = message["src"], message["body"]
    kind, answer = body["type"], {"in_reply_to": body.get("msg_id")}
    if "in_reply_to" in body:
        then = pending.pop(body["in_reply_to"], None)
        if then:
            then(body.get("value", 0))  # An error means that there is no total yet.
    elif kind == "init":
        name = body["node_id"]
        send(source, answer | {"type": "init_ok"})
    elif kind == "read":
        call({"type": "read", "key": "total"},
             lambda total, source=source, answer=answer:
                 send(source, answer | {"type": "read_ok", "value": total}))
    elif kind == "add":
        def write(total, source=source, answer=answer, delta=body["delta"]):
            call({"type": "write", "key": "total", "value": total + delta},
                 lambda _: send(source, answer | {"type": "add_ok"}))
        call({"type": "read", "key": "total"}, write)
