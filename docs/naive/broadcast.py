#!/usr/bin/env python3
"""Broadcast, the naive way: a node passes each new value on to its neighbours, once."""
import json, sys

name, neighbours, values = None, [], []

def send(dest, body):
    print(json.dumps({"src": name, "dest": dest, "body": body}), flush=True)

for line in sys.stdin:
    message = json.loads(line)
    source, body = message["src"], message["body"]
    kind, answer = body["type"], {"in_reply_to": body.get("msg_id")}
    if kind == "init":
        name = body["node_id"]
        send(source, answer | {"type": "init_ok"})
    elif kind == "topology":
        neighbours = body["topology"][name]
        send(source, answer | {"type": "topology_ok"})
    elif kind == "read":
        send(source, answer | {"type": "read_ok", "messages": values})
    elif kind in ("broadcast", "forward"):
        if body["message"] not in values:
            values.append(body["message"])
            for node in neighbours:
                if node != source:
                    send(node, {"type": "forward", "message": body["message"]})
        if kind == "broadcast":
            send(source, answer | {"type": "broadcast_ok"})
