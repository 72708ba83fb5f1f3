#!/usr/bin/env python3
"""Logs, the naive way: every node keeps its own logs, and copies each message to the others."""
import json, sys

name, others, logs, committed = None, [], {}, {}

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
    elif kind in ("send", "copy"):
        log = logs.setdefault(body["key"], [])
        log.append(body["msg"])
        if kind == "send":
            for node in others:
                send(node, body | {"type": "copy"})
            send(source, answer | {"type": "send_ok", "offset": len(log) - 1})
    elif kind == "poll":
        msgs = {key: [[n, msg] for n, msg in enumerate(logs.get(key, [])) if n >= start]
                for key, start in body["offsets"].items()}
        send(source, answer | {"type": "poll_ok", "msgs": msgs})
    elif kind == "commit_offsets":
        committed.update(body["offsets"])
        send(source, answer | {"type": "commit_offsets_ok"})
    elif kind == "list_committed_offsets":
        offsets = {key: committed[key] for key in body["keys"] if key in committed}
        send(source, answer | {"type": "list_committed_offsets_ok", "offsets": offsets})
