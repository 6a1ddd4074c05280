/*
 * Publishes messages to a quorum queue with librabbitmq and waits for every confirm, with a window of unconfirmed ones:
 * as fast as a relay could be that has nothing else to do. Prints messages per second.
 *
 *     confirmed_publish HOST PORT USER PASSWORD VHOST QUEUE MESSAGES WINDOW BODY_BYTES
 */
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { CHANNEL = 1, HEARTBEAT_S = 30, FRAME_MAX_BYTES = 131072, WAIT_S = 30 };

static void fail(const char *what) {
    fprintf(stderr, "confirmed_publish: %s\n", what);
    exit(1);
}

static void expect_normal(amqp_rpc_reply_t reply, const char *what) {
    if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail(what);
}

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* How many messages are confirmed once this frame has been read. */
static uint64_t read_confirm(amqp_connection_state_t connection, uint64_t confirmed) {
    struct timeval limit = {WAIT_S, 0};
    amqp_frame_t frame;
    amqp_maybe_release_buffers(connection);
    if (amqp_simple_wait_frame_noblock(connection, &frame, &limit) != AMQP_STATUS_OK) fail("no confirm in time");
    if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
        fail("an answer that is no confirm");
    const amqp_basic_ack_t *ack = frame.payload.method.decoded;
    /* Single acks may come out of order: their number is right in the end, and that is all that is asked here. */
    return ack->multiple ? ack->delivery_tag : confirmed + 1;
}

int main(int count, char **arguments) {
    if (count != 10) fail("expected HOST PORT USER PASSWORD VHOST QUEUE MESSAGES WINDOW BODY_BYTES");
    const uint64_t messages = strtoull(arguments[7], NULL, 10);
    const uint64_t window = strtoull(arguments[8], NULL, 10);
    const size_t body_bytes = strtoul(arguments[9], NULL, 10);

    amqp_connection_state_t connection = amqp_new_connection();
    amqp_socket_t *socket = amqp_tcp_socket_new(connection);
    if (socket == NULL || amqp_socket_open(socket, arguments[1], atoi(arguments[2])) != AMQP_STATUS_OK)
        fail("no connection");
    expect_normal(
        amqp_login(connection, arguments[5], 0, FRAME_MAX_BYTES, HEARTBEAT_S, AMQP_SASL_METHOD_PLAIN, arguments[3],
                   arguments[4]),
        "login refused");
    amqp_channel_open(connection, CHANNEL);
    expect_normal(amqp_get_rpc_reply(connection), "no channel");
    amqp_confirm_select(connection, CHANNEL);
    expect_normal(amqp_get_rpc_reply(connection), "no confirms");

    char *body = malloc(body_bytes);
    if (body == NULL) fail("no memory");
    memset(body, 'x', body_bytes);
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_CONTENT_TYPE_FLAG,
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .content_type = amqp_cstring_bytes("application/cloudevents+json"),
    };
    const double start = seconds();
    uint64_t confirmed = 0;
    for (uint64_t sent = 0; confirmed < messages;) {
        if (sent < messages && sent - confirmed < window) {
            if (amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes, amqp_cstring_bytes(arguments[6]), 1, 0,
                                   &properties, (amqp_bytes_t){body_bytes, body}) != AMQP_STATUS_OK)
                fail("not published");
            sent++;
        } else {
            confirmed = read_confirm(connection, confirmed);
        }
    }
    printf("%.0f\n", (double)messages / (seconds() - start));
    free(body);
    amqp_destroy_connection(connection);
    return 0;
}
