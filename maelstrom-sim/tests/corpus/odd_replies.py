"""Habits of the workloads.

Each has the type of request that it is about, and makes the reply: from the node, the body of the
request, and the right way to answer it, which changes the state.
"""


def sets(field):
    """`--value` is in this field of the reply."""

    def habit(node, body, right):
        return {**right(), field: node.value}

    return habit


def refuse(node, body, right):
    """An error with the code `--value`; nothing is done."""
    return error(node.value)


def refuse_but_do(node, body, right):
    """An error with the code `--value`, but all is done."""
    right()
    return error(node.value)


def error(code):
    return {"type": "error", "code": code, "text": "no"}


def change(field, f):
    def habit(node, body, right):
        reply = right()
        return {**reply, field: f(node, body, reply[field])}

    return habit


def pretend(node, body, right):
    """All is well, but nothing is done."""
    return {"type": body["type"] + "_ok"}


def lose_message(node, body, right):
    """The message has an offset, but is not in the log."""
    reply = right()
    node.state.logs[body["key"]].pop()
    return reply


def reuse_offset(node, body, right):
    """The message takes the offset of the one before it, if any."""
    state, key = node.state, body["key"]
    state.ends[key] = max(0, state.ends.get(key, 0) - 1)
    return right()


def store_twice(node, body, right):
    right()
    return right()


def drop_in_the_middle(node, body, msgs):
    return {k: pairs[:1] + pairs[2:] if len(pairs) > 2 else pairs for k, pairs in msgs.items()}


def from_earlier(node, body, msgs):
    """Polls start one before the offset that was asked for."""
    return {key: node.state.poll(key, start - 1) for key, start in body["offsets"].items()}


def intermediate(node, body, right):
    """Reads show the first write of the last transaction with two writes of their key."""
    txn, first, state = body["txn"], {}, node.state
    reply = right()
    shown = [[f, k, state.seen.get(k, v) if f == "r" else v] for f, k, v in reply["txn"]]
    for f, key, value in txn:
        if f == "w":
            if key in first:
                state.seen[key] = first[key]
            else:
                state.seen.pop(key, None)
                first[key] = value
    return {**reply, "txn": shown}


def stale(node, body, right):
    """Reads show a snapshot that is renewed every tenth time, and own writes."""
    state, own, done = node.state, {}, []
    if node.counted.get("txn", 0) % 10 == 0:
        state.snapshot = dict(state.registers)
    for f, key, value in body["txn"]:
        if f == "w":
            own[key] = value
        done.append([f, key, own.get(key, state.snapshot.get(key)) if f == "r" else value])
    right()
    return {"type": "txn_ok", "txn": done}


def with_reads(f):
    """Changes the reads of a transaction."""
    return change(
        "txn",
        lambda node, body, txn: [
            [op, k, f(node, k, v) if op == "r" else v] for op, k, v in txn
        ],
    )


def with_lists(f):
    """Changes the lists that reads of a transaction show."""
    return change(
        "txn",
        lambda node, body, txn: [
            [op, k, f(v) if op == "r" and v else v] for op, k, v in txn
        ],
    )


HABITS = {
    # The value of a field of the reply.
    "echo-value": ("echo", sets("echo")),
    "id-value": ("generate", sets("id")),
    "messages": ("read", sets("messages")),
    "value": ("read", sets("value")),
    "offset": ("send", sets("offset")),
    "msgs": ("poll", sets("msgs")),
    "committed": ("list_committed_offsets", sets("offsets")),
    "txn-value": ("txn", sets("txn")),
    # Errors.
    "refuse-echo": ("echo", refuse),
    "refuse-generate": ("generate", refuse),
    "refuse-topology": ("topology", refuse),
    "refuse-broadcast": ("broadcast", refuse),
    "refuse-broadcast-but-do": ("broadcast", refuse_but_do),
    "refuse-read": ("read", refuse),
    "refuse-add": ("add", refuse),
    "refuse-add-but-do": ("add", refuse_but_do),
    "refuse-send": ("send", refuse),
    "refuse-send-but-do": ("send", refuse_but_do),
    "refuse-poll": ("poll", refuse),
    "refuse-commit": ("commit_offsets", refuse),
    "refuse-list": ("list_committed_offsets", refuse),
    "refuse-txn": ("txn", refuse),
    "refuse-txn-but-do": ("txn", refuse_but_do),
    # The reply differs from the operation that was done.
    "ids-of-two-types": (
        "generate",
        change("id", lambda node, body, id: id if node.state.ids % 2 else node.state.ids),
    ),
    "ids-of-small-range": ("generate", change("id", lambda node, body, id: node.state.ids % 20)),
    "ids-of-numbers": ("generate", change("id", lambda node, body, id: node.state.ids)),
    "ids-of-ids-in-lists": ("generate", change("id", lambda node, body, id: [node.id, id])),
    "ids-of-objects": ("generate", change("id", lambda node, body, id: {"id": id})),
    "ids-with-halves": ("generate", change("id", lambda node, body, id: node.state.ids / 2)),
    "ids-with-booleans": (
        "generate",
        change("id", lambda node, body, id: True if node.state.ids == 5 else node.state.ids),
    ),
    "pretend-broadcast": ("broadcast", pretend),
    "value-twice": ("read", change("messages", lambda node, body, all: all + all[:1])),
    "value-text": ("read", change("messages", lambda node, body, all: [str(v) for v in all])),
    "value-float": ("read", change("messages", lambda node, body, all: [float(v) for v in all])),
    "value-missing": ("read", change("messages", lambda node, body, all: all[1:])),
    "phantom": ("read", change("messages", lambda node, body, all: all + [12345])),
    "pretend-add": ("add", pretend),
    "off-by-one": ("read", change("value", lambda node, body, value: value + 1)),
    "as-float": ("read", change("value", lambda node, body, value: float(value))),
    "as-text": ("read", change("value", lambda node, body, value: str(value))),
    "lose-message": ("send", lose_message),
    "reuse-offset": ("send", reuse_offset),
    "store-twice": ("send", store_twice),
    "offset-as-text": ("send", change("offset", lambda node, body, offset: str(offset))),
    "offset-as-float": ("send", change("offset", lambda node, body, offset: float(offset))),
    "skip-within": ("poll", change("msgs", drop_in_the_middle)),
    "skip-first": (
        "poll",
        change("msgs", lambda node, body, msgs: {k: pairs[1:] for k, pairs in msgs.items()}),
    ),
    "from-earlier": ("poll", change("msgs", from_earlier)),
    "reversed": (
        "poll",
        change("msgs", lambda node, body, msgs: {k: pairs[::-1] for k, pairs in msgs.items()}),
    ),
    "triples": (
        "poll",
        change(
            "msgs",
            lambda node, body, msgs: {k: [p + [0] for p in pairs] for k, pairs in msgs.items()},
        ),
    ),
    "null-pairs": (
        "poll",
        change("msgs", lambda node, body, msgs: {k: None for k in body["offsets"]}),
    ),
    "empty-pairs": (
        "poll",
        change("msgs", lambda node, body, msgs: {k: msgs.get(k, []) for k in body["offsets"]}),
    ),
    "other-keys": ("poll", change("msgs", lambda node, body, msgs: {**msgs, "77": [[0, 1]]})),
    "pretend-commit": ("commit_offsets", pretend),
    "commit-ahead": (
        "list_committed_offsets",
        change("offsets", lambda node, body, offsets: {k: 10**6 for k in body["keys"]}),
    ),
    "aborted-read": ("txn", refuse_but_do),
    "intermediate-read": ("txn", intermediate),
    "stale-txn": ("txn", stale),
    "null-reads": ("txn", with_reads(lambda node, key, value: None)),
    "phantom-reads": ("txn", with_reads(lambda node, key, value: 10**9)),
    "altered-writes": (
        "txn",
        change("txn", lambda node, body, txn: [[f, k, 5 if f == "w" else v] for f, k, v in txn]),
    ),
    "text-keys": (
        "txn",
        change("txn", lambda node, body, txn: [[f, str(k), v] for f, k, v in txn]),
    ),
    "float-keys": (
        "txn",
        change("txn", lambda node, body, txn: [[f, float(k), v] for f, k, v in txn]),
    ),
    "shorter-txn": ("txn", change("txn", lambda node, body, txn: txn[:-1])),
    "longer-txn": ("txn", change("txn", lambda node, body, txn: txn + [["r", 99, None]])),
    "reordered-txn": ("txn", change("txn", lambda node, body, txn: txn[::-1])),
    # Sets whose reads have the field `value`.
    "element-missing": ("read", change("value", lambda node, body, all: all[1:])),
    "element-twice": ("read", change("value", lambda node, body, all: all + all[:1])),
    "element-phantom": ("read", change("value", lambda node, body, all: all + [12345])),
    # Registers.
    "pretend-write": ("write", pretend),
    "pretend-cas": ("cas", pretend),
    "refuse-write": ("write", refuse),
    "refuse-write-but-do": ("write", refuse_but_do),
    "refuse-cas": ("cas", refuse),
    "refuse-cas-but-do": ("cas", refuse_but_do),
    "write-value": ("write", sets("value")),
    "other-value": ("read", lambda node, body, right: {"type": "read_ok", "value": 99}),
    # Lists.
    "list-reversed": ("txn", with_lists(lambda list: list[::-1])),
    "list-shorter": ("txn", with_lists(lambda list: list[:-1])),
    "list-headless": ("txn", with_lists(lambda list: list[1:])),
    "list-twice": ("txn", with_lists(lambda list: list + list[-1:])),
    "list-phantom": ("txn", with_lists(lambda list: list + [10**6])),
    "list-null": ("txn", with_lists(lambda list: None)),
    "list-empty": ("txn", with_lists(lambda list: [])),
    "list-text": ("txn", with_lists(lambda list: str(list))),
    "pretend-txn": ("txn", lambda node, body, right: {"type": "txn_ok", "txn": body["txn"]}),
}
