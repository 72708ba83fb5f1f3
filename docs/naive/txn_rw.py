#!/usr/bin/env python3
"""Transactions, the naive way: each write goes to the other nodes in a message of its own."""
import json, sys

name, others, registers = None, [], {}

def send(dest, body):
    print(json.dumps({"src": name, "dest": dest, "body": body}), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    source, body = message["src"], message["body"]
    kind, answer = body["type"], {"in_reply_to": body.get("msg_id")}
    if kind == "init":
        name = body["node_id"]
        others = [node for node in body["node_ids"] if node != name]
        send(source, answer | {"type": "init_ok"})
    elif kind == "copy":
        registers[body["key"]] = body["value"]
    elif kind == "txn":
        done = []
        for op, key, value in body["txn"]:
            if op == "r":
                value = registers.get(key)
            else:
                registers[key] = value
                for node in others:
                    send(node, {"type": "copy", "key": key, "value": value})
            done.append([op, key, value])
        send(source, answer | {"type": "txn_ok", "txn": done})
