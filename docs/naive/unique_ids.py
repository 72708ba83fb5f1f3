#!/usr/bin/env python3
"""Unique ids, the naive way: an id is the time in milliseconds."""
import json, sys, time

name = None

def send(dest, body):
    print(json.dumps({"src": name, "dest": dest, "body": body}), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    body = message["body"]
    answer = {"in_reply_to": body.get("msg_id")}
    if body["type"] == "init":
        name = body["node_id"]
        send(message["src"], answer | {"type": "init_ok"})
    elif body["type"] == "generate":
        send(message["src"], answer | {"type": "generate_ok", "id": time.time_ns() // 1_000_000})
