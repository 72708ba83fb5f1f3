#!/usr/bin/env python3
"""A node for all ten workloads, right but for one habit: `habits.py --habit NAME`.

The corpus (`cases.tsv`) pairs habits with a checker's arguments. `--when` says when the habit
shows: `5` (the fifth time only; the default), `%10` (every tenth time), `always`, `init` (the reply
to `init`), or `start` (a message of its own before it reads anything). Habits of replies and lines
count the replies to clients, habits of a workload count the requests of one type. `--value` is the
JSON that some habits put somewhere.
"""

import argparse
import json
import os
import select
import sys
import time

# The habits are in the files beside this one, and nothing is left there.
sys.dont_write_bytecode = sys.pycache_prefix is None

from odd_lines import BODY_FIELDS, FIELDS, LINES, dump, shown
from odd_replies import HABITS, error
from odd_services import NOTHING, SERVICES, fits

INFINITY = float("inf")
GOSSIP_PERIOD = 0.1

# In these workloads the first node keeps everything.
FORWARDED = ("kafka", "lin-kv", "txn-list-append", "txn-rw-register")


class State:
    """The state of the workloads."""

    def __init__(self):
        self.ids = 0
        self.values = []
        self.counts = {}
        self.logs = {}
        self.ends = {}
        self.committed = {}
        self.registers = {}
        self.lists = {}
        self.snapshot = {}
        self.seen = {}

    def append(self, key, message):
        offset = self.ends.get(key, 0)
        self.ends[key] = offset + 1
        self.logs.setdefault(key, []).append([offset, message])
        return offset

    def poll(self, key, start):
        return [list(pair) for pair in self.logs.get(key, []) if pair[0] >= start]

    def transact(self, txn):
        done = []
        for f, key, value in txn:
            if f == "w":
                self.registers[key] = value
            if f == "append":
                self.lists.setdefault(key, []).append(value)
                done.append([f, key, value])
            elif self.lists:
                done.append([f, key, list(self.lists.get(key, [])) or None])
            else:
                done.append([f, key, self.registers.get(key)])
        return done

    def register(self, body):
        key = body["key"]
        if body["type"] == "write":
            self.registers[key] = body["value"]
            return {}
        if key not in self.registers:
            return error(20)
        if body["type"] == "read":
            return {"value": self.registers[key]}
        if self.registers[key] != body["from"]:
            return error(22)
        self.registers[key] = body["to"]
        return {}


def answer(node, body):
    """The right reply of this workload."""
    state, kind = node.state, body["type"]
    reply = {"type": kind + "_ok"}
    if node.workload == "lin-kv":
        reply = {**reply, **state.register(body)}
    elif kind == "echo":
        reply["echo"] = body["echo"]
    elif kind == "generate":
        state.ids += 1
        reply["id"] = f"{node.id}-{state.ids}"
    elif kind == "broadcast":
        if body["message"] not in state.values:
            state.values.append(body["message"])
    elif kind == "add" and node.workload == "g-set":
        if body["element"] not in state.values:
            state.values.append(body["element"])
    elif kind == "read" and node.workload == "g-set":
        reply["value"] = list(state.values)
    elif kind == "add":
        state.counts[node.id] = state.counts.get(node.id, 0) + body["delta"]
    elif kind == "read" and node.workload in ("g-counter", "pn-counter"):
        reply["value"] = sum(state.counts.values())
    elif kind == "read":
        reply["messages"] = list(state.values)
    elif kind == "send":
        reply["offset"] = state.append(body["key"], body["msg"])
    elif kind == "poll":
        polls = {key: state.poll(key, start) for key, start in body["offsets"].items()}
        reply["msgs"] = {key: pairs for key, pairs in polls.items() if pairs}
    elif kind == "commit_offsets":
        for key, offset in body["offsets"].items():
            state.committed[key] = max(state.committed.get(key, 0), offset)
    elif kind == "list_committed_offsets":
        known = state.committed
        reply["offsets"] = {key: known[key] for key in body["keys"] if key in known}
    elif kind == "txn":
        reply["txn"] = state.transact(body["txn"])
    return reply


# Habits of a process, by name, when it has read `init` (`start`: before that).
PROCESSES = (
    "exit-at-start crash-at-start exit-at-init exit-after-init crash-after-init exit-in-the-middle"
    " crash-in-the-middle close-stdout close-stdin silent-init deaf init-twice chatty-stderr"
    " greet-peers"
).split()


class Node:
    def __init__(self, options):
        self.habit = options.habit
        self.when = options.when
        self.value = json.loads(options.value)
        self.workload = options.workload
        self.id = None
        self.peers = []
        self.owner = None
        self.state = State()
        self.counted = {}
        self.forwarded = {}
        self.next_id = 0
        self.late = []
        self.asking = None
        self.next_gossip = INFINITY

    # How often something has happened, and whether it is time for the habit.

    def count(self, what):
        self.counted[what] = self.counted.get(what, 0) + 1
        return self.counted[what]

    def due(self, n):
        if self.when == "start":
            return False
        if self.when in ("always", "init"):
            return (n == 0) == (self.when == "init")
        if self.when.startswith("%"):
            return n > 0 and n % int(self.when[1:]) == 0
        return n == int(self.when)

    # Output.

    def write(self, data):
        while data:
            data = data[os.write(1, data) :]

    def send(self, dest, body):
        self.write(dump({"src": self.id, "dest": dest, "body": body}) + b"\n")

    def reply(self, request, body):
        """Replies to a client, or to `init`, in the way of the habit."""
        body = {**body, "in_reply_to": request["body"]["msg_id"]}
        message = {"src": self.id, "dest": request["src"], "body": body}
        n = 0 if body["type"] == "init_ok" else self.count("replies")
        if not self.due(n):
            return self.write(dump(message) + b"\n")
        if self.habit == "late":
            return self.late.append((time.monotonic() + self.value, dump(message) + b"\n"))
        self.write(shown(self.habit, message, self.value))

    # Input.

    def received(self, message):
        body = message["body"]
        kind = body.get("type")
        if self.asking and message["src"] == self.asking[1][0][0]:
            self.heard(body)
        elif kind == "init":
            self.init(message)
        elif kind == "gossip":
            self.merge(body)
        elif body.get("in_reply_to") in self.forwarded:
            reply = {key: v for key, v in body.items() if key not in ("in_reply_to", "msg_id")}
            self.reply(self.forwarded.pop(body["in_reply_to"]), reply)
        elif message["src"].startswith("c"):
            self.client(message)
        elif self.id == self.owner and "msg_id" in body:
            self.send(message["src"], {**self.handle(body), "in_reply_to": body["msg_id"]})

    def init(self, message):
        self.id = message["body"]["node_id"]
        ids = message["body"]["node_ids"]
        self.peers = [id for id in ids if id != self.id]
        self.owner = ids[0]
        if self.habit == "exit-at-init":
            sys.exit(0)
        if self.habit == "silent-init":
            return
        if self.workload in ("broadcast", "g-counter", "g-set"):
            self.next_gossip = time.monotonic()
        self.reply(message, {"type": "init_ok"})
        if self.habit == "init-twice":
            self.reply(message, {"type": "init_ok"})
        if self.habit == "greet-peers":
            for peer in self.peers:
                self.send(peer, {"type": "gossip"})
        if self.habit == "exit-after-init":
            sys.exit(0)
        if self.habit == "crash-after-init":
            sys.exit(1)
        if self.habit == "close-stdout":
            os.close(1)
            time.sleep(60)
        if self.habit == "close-stdin":
            os.close(0)
            time.sleep(60)
        if self.habit == "deaf":
            time.sleep(60)

    def client(self, message):
        n = self.count("requests")
        if self.habit in ("exit-in-the-middle", "crash-in-the-middle") and self.due(n):
            sys.exit(self.habit.startswith("crash"))
        if self.habit == "chatty-stderr":
            sys.stderr.write("so much to tell\n" * 100)
        if self.habit in SERVICES and self.due(n):
            self.asking = (message, list(SERVICES[self.habit]))
            return self.ask()
        if self.workload in FORWARDED and self.id != self.owner:
            self.next_id += 1
            self.forwarded[self.next_id] = message
            return self.send(self.owner, {**message["body"], "msg_id": self.next_id})
        self.reply(message, self.handle(message["body"]))

    def handle(self, body):
        kind, habit = HABITS.get(self.habit, (None, None))
        n = self.count(body["type"])
        right = lambda: answer(self, body)
        reply = habit(self, body, right) if kind == body["type"] and self.due(n) else right()
        if body["type"] in ("broadcast", "add") and self.peers:
            self.next_gossip = time.monotonic()
        return reply

    # Services.

    def ask(self):
        message, steps = self.asking
        while steps:
            service, request, expected = steps[0]
            self.send(service, request)
            if expected is not NOTHING:
                return
            steps.pop(0)
        self.asking = None
        self.reply(message, self.handle(message["body"]))

    def heard(self, body):
        message, steps = self.asking
        _, request, expected = steps.pop(0)
        if fits(body, expected):
            return self.ask()
        sys.stderr.write(f"{request} was answered by {body}, not by {expected}\n")
        self.asking = None
        self.reply(message, error(14))

    # Time.

    def merge(self, body):
        for value in body.get("values", []):
            if value not in self.state.values:
                self.state.values.append(value)
        for id, count in body.get("counts", {}).items():
            self.state.counts[id] = max(count, self.state.counts.get(id, 0))

    def tick(self):
        now = time.monotonic()
        for entry in [entry for entry in self.late if entry[0] <= now]:
            self.late.remove(entry)
            self.write(entry[1])
        if now >= self.next_gossip:
            self.next_gossip = now + GOSSIP_PERIOD if self.peers else INFINITY
            for peer in self.peers:
                state = self.state
                self.send(
                    peer, {"type": "gossip", "values": state.values, "counts": state.counts}
                )

    def run(self):
        if self.when == "start":
            message = {"src": "n0", "dest": "n0", "body": {"type": "gossip"}}
            self.write(shown(self.habit, message, self.value))
        pending = b""
        while True:
            deadline = min([self.next_gossip] + [due for due, _ in self.late])
            wait = None if deadline == INFINITY else max(0, deadline - time.monotonic())
            if select.select([0], [], [], wait)[0]:
                data = os.read(0, 65536)
                if not data:
                    return
                *lines, pending = (pending + data).split(b"\n")
                for line in lines:
                    self.received(json.loads(line))
            self.tick()


def main():
    known = [*LINES, *SERVICES, *HABITS, *PROCESSES, *FIELDS, *BODY_FIELDS]
    known += ["no-" + name for name in [*FIELDS, *BODY_FIELDS]]
    known += "none error twice bare silent late in-reply-to-text in-reply-to-float".split()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", required=True)
    parser.add_argument("--habit", required=True, choices=known, metavar="NAME")
    parser.add_argument("--when", default="5")
    parser.add_argument("--value", default="null")
    options = parser.parse_args()
    if options.habit in ("exit-at-start", "crash-at-start"):
        sys.exit(options.habit.startswith("crash"))
    Node(options).run()


if __name__ == "__main__":
    main()
