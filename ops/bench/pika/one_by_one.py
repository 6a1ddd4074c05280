"""one_by_one.py AMQP_URL QUEUE PLATFORM_URL SECONDS: a consumer as one writes it first: a POST an event, then its ack.

Prints events per second.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit

import pika

PREFETCH = 64


def main():
    broker, queue, platform, seconds = sys.argv[1:]
    http_connection = http.client.HTTPConnection(urlsplit(platform).netloc, timeout=10)
    with pika.BlockingConnection(pika.URLParameters(broker)) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=PREFETCH)
        count, start = 0, time.monotonic()
        for method, _, body in channel.consume(queue, inactivity_timeout=5):
            if method is None:
                sys.exit("the queue is empty")
            http_connection.request("POST", "/v1/events", body, {"Content-Type": "application/cloudevents+json"})
            answer = http_connection.getresponse()
            answer.read()
            if answer.status != 202:
                sys.exit(f"the platform answers {answer.status}")
            channel.basic_ack(method.delivery_tag)
            count += 1
            if time.monotonic() - start > float(seconds):
                break
        print(count / (time.monotonic() - start))
        channel.cancel()


main()
