"""The peer of `make bench` for Kafka -> Redis: one HSET and one PUBLISH a record, as a service of a page is written.

consumer.py BROKERS REDIS_URL GROUP RECORDS one-by-one|pipelined

It commits offsets after their records are in Redis, says `applied N` after the last, and then waits to be ended, so that its processor time
can be read.
"""

import json
import signal
import sys

import redis
from confluent_kafka import Consumer, KafkaException

TOPICS = ["coordX", "coordY"]
CHANNEL = "coordinates"
# What one round trip to Redis carries, where pipelined.
BATCH_MAX = 500
POLL_S = 1.0


def apply(target, record):
    """Two commands to Redis, or two more of a pipeline's."""
    if record.error():
        raise KafkaException(record.error())
    value = json.loads(record.value())
    axis, device = record.topic(), record.key().decode()
    target.hset(f"device:{device}", axis, value["message"])
    frame = {axis: float(value["message"]), "timestamp": value["timestamp"], "source": axis, "device": device}
    target.publish(CHANNEL, json.dumps(frame))


def one_by_one(consumer, database, records):
    applied = 0
    while applied < records:
        record = consumer.poll(POLL_S)
        if record is None:
            continue
        apply(database, record)
        consumer.store_offsets(record)
        applied += 1
    return applied


def pipelined(consumer, database, records):
    applied = 0
    while applied < records:
        batch = consumer.consume(BATCH_MAX, POLL_S)
        if not batch:
            continue
        with database.pipeline(transaction=False) as pipeline:
            for record in batch:
                apply(pipeline, record)
            pipeline.execute()
        # A batch holds records of several partitions, each in its order.
        for record in {(record.topic(), record.partition()): record for record in batch}.values():
            consumer.store_offsets(record)
        applied += len(batch)
    return applied


def main():
    brokers, url, group, records, manner = sys.argv[1:]
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            # At least once: committed in the background, but only what was stored above.
            "enable.auto.offset.store": False,
            "enable.auto.commit": True,
        }
    )
    consumer.subscribe(TOPICS)
    work = {"one-by-one": one_by_one, "pipelined": pipelined}[manner]
    applied = work(consumer, redis.Redis.from_url(url), int(records))
    consumer.close()
    print(f"applied {applied}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
