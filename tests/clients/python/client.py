"""A program over pynsq that publishes the lines of a file, or consumes a number of messages, or
does with messages what NSQ lets a client do (`exercise`, as in the program over nsq-j).

It knows the client library and nothing of the broker behind it; the tests read its last line.
"""

import argparse
import logging
import sys
import time

import nsq
import tornado.ioloop

# Of `exercise`: a message may stay without an answer for TIMEOUT; a third touch comes after that,
# had there not been the first.
TIMEOUT = 6.0
TOUCH_EVERY = 2.4
REQUEUE_MS = 200
DEFERRED_MS = 1500
MESSAGES = 7


def layers(options):
    """What lies between the library and its socket, as the library's arguments."""
    tls = {"tls_v1": True, "tls_options": {"ca_certs": options.tls_ca}} if options.tls_ca else {}
    return {"snappy": options.snappy, "deflate": options.deflate, **tls}


def publish(options):
    """Sends every line of a file as one message and ends when the last is acknowledged."""
    with open(options.file, "rb") as file:
        lines = file.read().removesuffix(b"\n").split(b"\n")
    size = options.batch if options.mode == "mpub" else 1
    groups = [lines[at : at + size] for at in range(0, len(lines), size)]
    loop = tornado.ioloop.IOLoop.current()
    writer = nsq.Writer([options.nsqd], **layers(options))
    state = {"next": 0, "answered": 0}

    def answered(_connection, data):
        if isinstance(data, Exception):
            sys.exit(f"refused: {data}")
        if data != b"OK":
            sys.exit(f"answered: {data!r}")
        state["answered"] += 1
        if state["answered"] == len(groups):
            loop.stop()
        else:
            send_more()

    def send_more():
        while state["next"] < len(groups) and state["next"] - state["answered"] < options.pipeline:
            group = groups[state["next"]]
            state["next"] += 1
            if options.mode == "mpub":
                writer.mpub(options.topic, group, callback=answered)
            else:
                writer.pub(options.topic, group[0], callback=answered)

    def begin_when_connected():
        if writer.conns:
            send_more()
        else:
            loop.call_later(0.01, begin_when_connected)

    loop.add_callback(begin_when_connected)
    loop.start()


def consume(options):
    """Finishes messages until a number of distinct ones has come, then writes them to a file."""
    loop = tornado.ioloop.IOLoop.current()
    finished = []
    seen = set()
    state = {"fresh": 0, "deliveries": 0, "requeued": 0, "timed_out": 0}
    readers = []

    def end():
        for reader in readers:
            reader.close()
        loop.call_later(0.2, loop.stop)

    def handle(message):
        message.enable_async()
        state["deliveries"] += 1
        if message.attempts == 1:
            state["fresh"] += 1
            if options.requeue_every and state["fresh"] % options.requeue_every == 0:
                state["requeued"] += 1
                message.requeue(backoff=False, time_ms=100)
                return
            if options.timeout_every and state["fresh"] % options.timeout_every == 0:
                state["timed_out"] += 1
                return
        message.finish()
        finished.append(message.body)
        before = len(seen)
        seen.add(message.body)
        if before < len(seen) == options.count:
            # The last FIN is in the socket's buffer by now; the pause lets it reach the broker.
            loop.call_later(0.2, end)

    for number in range(options.consumers):
        where = (
            {"lookupd_http_addresses": [f"http://{options.lookupd}"], "lookupd_poll_interval": 1}
            if options.lookupd
            else {"nsqd_tcp_addresses": [options.nsqd]}
        )
        if options.msg_timeout_ms:
            where["msg_timeout"] = options.msg_timeout_ms / 1000
        readers.append(
            nsq.Reader(
                topic=options.topic,
                channel=options.channel,
                name=f"reader {number}",
                message_handler=handle,
                max_in_flight=options.max_in_flight,
                max_tries=0,
                **where,
                **layers(options),
            )
        )
    loop.start()
    with open(options.output, "wb") as file:
        file.writelines(body + b"\n" for body in finished)
    print(
        f"finished={len(finished)} deliveries={state['deliveries']} "
        f"requeued={state['requeued']} timed_out={state['timed_out']}"
    )


def exercise(options):
    """Finishes, requeues, touches and leaves messages, and prints every delivery."""
    loop = tornado.ioloop.IOLoop.current()
    how = {"msg_timeout": TIMEOUT, **layers(options)}
    where = (
        {"lookupd_http_addresses": [f"http://{options.lookupd}"], "lookupd_poll_interval": 1}
        if options.lookupd
        else {"nsqd_tcp_addresses": [options.nsqd]}
    )
    state = {"finished": 0, "published_at": 0.0}

    def finish(message):
        message.finish()
        state["finished"] += 1
        if state["finished"] == MESSAGES:
            loop.call_later(0.3, loop.stop)  # The last FIN leaves.

    def touch(message):
        for times in (1, 2):
            loop.call_later(times * TOUCH_EVERY, message.touch)
        loop.call_later(3 * TOUCH_EVERY, finish, message)

    def handle(message):
        message.enable_async()
        body = message.body.decode()
        print(f"{body} attempt={message.attempts}")
        if body == "requeue" and message.attempts == 1:
            message.requeue(backoff=False, time_ms=REQUEUE_MS)
        elif body == "leave" and message.attempts == 1:
            pass
        elif body == "touch":
            touch(message)
        else:
            age = (time.monotonic() - state["published_at"]) * 1000
            if body == "deferred" and age < DEFERRED_MS:
                print(f"deferred came after {age:.0f} ms")
            finish(message)

    nsq.Reader(
        topic=options.topic,
        channel=options.channel,
        message_handler=handle,
        max_in_flight=10,
        **where,
        **how,
    )
    writer = nsq.Writer([options.nsqd], **how)

    def answered(_connection, data):
        if data != b"OK":
            sys.exit(f"answered: {data!r}")

    def publish_when_connected():
        if not writer.conns:
            loop.call_later(0.01, publish_when_connected)
            return
        state["published_at"] = time.monotonic()
        writer.dpub(options.topic, DEFERRED_MS, b"deferred", callback=answered)
        for body in (b"finish", b"requeue", b"touch", b"leave"):
            writer.pub(options.topic, body, callback=answered)
        writer.mpub(options.topic, [b"batched one", b"batched two"], callback=answered)

    loop.add_callback(publish_when_connected)
    loop.call_later(90, sys.exit, "some messages never came")
    loop.start()


def main():
    """Reads the command line, with the same names as the programs over the other libraries."""
    logging.basicConfig(level=logging.ERROR)
    parser = argparse.ArgumentParser()
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("publish")
    verb.set_defaults(run=publish)
    verb.add_argument("--nsqd", required=True)
    verb.add_argument("--topic", required=True)
    verb.add_argument("--file", required=True)
    verb.add_argument("--mode", choices=["pub", "mpub"], default="mpub")
    verb.add_argument("--batch", type=int, default=200)
    verb.add_argument("--pipeline", type=int, default=64)
    verb = verbs.add_parser("consume")
    verb.set_defaults(run=consume)
    verb.add_argument("--nsqd")
    verb.add_argument("--lookupd")
    verb.add_argument("--topic", required=True)
    verb.add_argument("--channel", required=True)
    verb.add_argument("--count", type=int, required=True)
    verb.add_argument("--output", required=True)
    verb.add_argument("--consumers", type=int, default=1)
    verb.add_argument("--max-in-flight", type=int, default=200)
    verb.add_argument("--requeue-every", type=int, default=0)
    verb.add_argument("--timeout-every", type=int, default=0)
    verb.add_argument("--msg-timeout-ms", type=int, default=0)
    verb = verbs.add_parser("exercise")
    verb.set_defaults(run=exercise)
    verb.add_argument("--nsqd", required=True)
    verb.add_argument("--lookupd")
    verb.add_argument("--topic", required=True)
    verb.add_argument("--channel", required=True)
    for verb in verbs.choices.values():
        verb.add_argument("--tls-ca")
        verb.add_argument("--snappy", action="store_true")
        verb.add_argument("--deflate", action="store_true")
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
