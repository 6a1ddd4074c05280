"""declare.py AMQP_URL QUEUE: an empty durable quorum queue."""

import sys

import pika

with pika.BlockingConnection(pika.URLParameters(sys.argv[1])) as connection:
    channel = connection.channel()
    channel.queue_delete(sys.argv[2])
    channel.queue_declare(sys.argv[2], durable=True, arguments={"x-queue-type": "quorum"})
