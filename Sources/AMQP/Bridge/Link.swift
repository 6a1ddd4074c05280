import CRabbitMQ
import Glibc
import ThreadExecutor

/// One connection to the broker with its one channel; the only owner of the library's state for it.
///
/// Not thread-safe, as the library isn't: whoever holds it uses it from one thread at a time. After any method has
/// thrown, the link is broken and must be dropped, except where the method says otherwise.
@safe final class Link {
    static let channel: amqp_channel_t = 1

    let state: OpaquePointer
    private let timeout: Duration
    /// A duplicate of the socket's descriptor: it stays ours, also when the library closes its own in the middle of a
    /// call, so that watching it or shutting it down never hits a stranger's file.
    private(set) var descriptor: Int32 = -1
    private var pool = WirePool()
    /// The message whose header and body frames are coming in.
    var incoming: IncomingContent?

    private init(state: OpaquePointer, timeout: Duration) {
        unsafe self.state = unsafe state
        self.timeout = timeout
    }

    deinit {
        unsafe _ = amqp_destroy_connection(state)
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Connects, logs in and opens the channel.
    ///
    /// Blocks its thread until the deadline at most, except for a slow name server: use addresses or `localhost`.
    static func open(
        _ configuration: AMQPConfiguration,
        deadline: ContinuousClock.Instant
    ) throws(AMQPError) -> Link {
        guard let state = unsafe amqp_new_connection() else { throw AMQPError(.connectFailed, "out of memory") }
        let link = unsafe Link(state: state, timeout: configuration.timeout)
        try link.connect(configuration, deadline: deadline)
        try link.logIn(configuration, deadline: deadline)
        try link.openChannel(deadline: deadline)
        return link
    }

    private func connect(
        _ configuration: AMQPConfiguration,
        deadline: ContinuousClock.Instant
    ) throws(AMQPError) {
        let socket = try unsafe newSocket(configuration)
        var patience = try patience(until: deadline)
        let port = Int32(clamping: configuration.port)
        let status = unsafe amqp_socket_open_noblock(socket, configuration.host, port, &patience)
        guard status == AMQP_STATUS_OK.rawValue else {
            throw AMQPError(.connectFailed, "\(configuration): \(Self.text(status))")
        }
        let ownedByLibrary = unsafe amqp_get_sockfd(state)
        descriptor = fcntl(ownedByLibrary, F_DUPFD_CLOEXEC, 3)
        guard descriptor >= 0 else { throw AMQPError(.connectFailed, "out of file descriptors") }
        // What is sent and stays unacknowledged this long breaks the connection, as a silent peer does.
        let unacknowledged = (configuration.heartbeat * 2).pollMilliseconds
        setOption(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, unacknowledged)
        setOption(SOL_SOCKET, SO_KEEPALIVE, 1)
        setOption(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 10)
        setOption(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 5)
        setOption(Int32(IPPROTO_TCP), TCP_KEEPCNT, 3)
    }

    /// The library's socket, which belongs to the connection's state: plain, or one that speaks TLS 1.2 or later.
    ///
    /// Opening the latter fails unless the broker's certificate is signed by a trusted authority and holds the host's
    /// name; the log-in comes after that.
    private func newSocket(_ configuration: AMQPConfiguration) throws(AMQPError) -> OpaquePointer {
        let hasTLS = configuration.authorities != nil
        guard let socket = unsafe hasTLS ? amqp_ssl_socket_new(state) : amqp_tcp_socket_new(state) else {
            throw AMQPError(.connectFailed, "out of memory")
        }
        guard let authorities = configuration.authorities else { return unsafe socket }
        guard unsafe amqp_ssl_socket_set_cacert(socket, authorities) == AMQP_STATUS_OK.rawValue else {
            throw AMQPError(.connectFailed, "\(configuration): \(authorities) cannot be read as PEM certificates")
        }
        unsafe amqp_ssl_socket_set_verify_peer(socket, 1)
        unsafe amqp_ssl_socket_set_verify_hostname(socket, 1)
        guard unsafe amqp_ssl_socket_set_ssl_versions(socket, AMQP_TLSv1_2, AMQP_TLSvLATEST) == AMQP_STATUS_OK.rawValue
        else { throw AMQPError(.connectFailed, "TLS 1.2 is not to be had") }
        return unsafe socket
    }

    private func setOption(_ level: Int32, _ name: Int32, _ value: Int32) {
        var value = value
        unsafe _ = setsockopt(descriptor, level, name, &value, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Whether what is published waits until a segment is full, or it is let go (tcp(7), TCP_CORK; 200 ms at most).
    func holdBack(_ isHeldBack: Bool) {
        setOption(Int32(IPPROTO_TCP), TCP_CORK, isHeldBack ? 1 : 0)
    }

    private func logIn(_ configuration: AMQPConfiguration, deadline: ContinuousClock.Instant) throws(AMQPError) {
        var patience = try patience(until: deadline)
        unsafe _ = amqp_set_handshake_timeout(state, &patience)
        defer { pool.recycle() }
        var properties = unsafe pool.table([
            "product": .string("Jumun"),
            "connection_name": .string(configuration.connectionName),
            "capabilities": .table([
                "authentication_failure_close": .bool(true),
                "basic.nack": .bool(true),
                "connection.blocked": .bool(true),
                "consumer_cancel_notify": .bool(true),
                "publisher_confirms": .bool(true),
            ]),
        ])
        let heartbeat = Int32(clamping: configuration.heartbeat.components.seconds)
        let reply = unsafe jumun_amqp_login_plain(
            state,
            configuration.virtualHost,
            Int32(Self.channel),
            AMQP_DEFAULT_FRAME_SIZE,
            heartbeat,
            &properties,
            configuration.user,
            configuration.password
        )
        do {
            try unsafe check(reply)
        } catch {
            switch error.code {
            case .connectionClosed(403), .connectionClosed(530):
                throw AMQPError(.authenticationFailed, "\(configuration): \(error.reason)")
            default: throw AMQPError(.connectFailed, "\(configuration): \(error.reason)")
            }
        }
    }

    /// Opens the channel, again after the broker has closed it.
    func openChannel(deadline: ContinuousClock.Instant) throws(AMQPError) {
        try limitAnswers(until: deadline)
        unsafe _ = amqp_channel_open(state, Self.channel)
        try unsafe check(amqp_get_rpc_reply(state))
    }

    /// Declares everything in a topology; throws `topologyMismatch` where something exists with other properties.
    func declare(_ topology: AMQPTopology, deadline: ContinuousClock.Instant) throws(AMQPError) {
        do {
            for exchange in topology.exchanges { try declare(exchange, deadline: deadline) }
            for queue in topology.queues { try declare(queue, deadline: deadline) }
            for binding in topology.bindings { try declare(binding, deadline: deadline) }
        } catch {
            guard error.code == .channelClosed(406) else { throw error }
            throw AMQPError(.topologyMismatch, error.reason)
        }
    }

    private func declare(_ exchange: AMQPTopology.Exchange, deadline: ContinuousClock.Instant) throws(AMQPError) {
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        unsafe _ = amqp_exchange_declare(
            state,
            Self.channel,
            pool.bytes(exchange.name),
            pool.bytes(exchange.kind.rawValue),
            0,
            exchange.durable ? 1 : 0,
            0,
            0,
            pool.table([:])
        )
        try unsafe check(amqp_get_rpc_reply(state))
    }

    private func declare(_ queue: AMQPTopology.Queue, deadline: ContinuousClock.Instant) throws(AMQPError) {
        guard AMQPField.encodedSize(of: queue.arguments) != nil else {
            throw AMQPError(.invalidConfiguration, "an argument of queue \(queue.name) can't be sent")
        }
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        unsafe _ = amqp_queue_declare(
            state,
            Self.channel,
            pool.bytes(queue.name),
            0,
            queue.durable ? 1 : 0,
            0,
            0,
            pool.table(queue.arguments)
        )
        try unsafe check(amqp_get_rpc_reply(state))
    }

    private func declare(_ binding: AMQPTopology.Binding, deadline: ContinuousClock.Instant) throws(AMQPError) {
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        unsafe _ = amqp_queue_bind(
            state,
            Self.channel,
            pool.bytes(binding.queue),
            pool.bytes(binding.exchange),
            pool.bytes(binding.routingKey),
            pool.table([:])
        )
        try unsafe check(amqp_get_rpc_reply(state))
    }

    /// Asks for the depth of a queue; throws `channelClosed(404)`, which needs ``openChannel(deadline:)``, without one.
    func depth(of queue: String, deadline: ContinuousClock.Instant) throws(AMQPError) -> QueueDepth {
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        let answer = unsafe amqp_queue_declare(
            state,
            Self.channel,
            pool.bytes(queue),
            1,
            0,
            0,
            0,
            pool.table([:])
        )
        try unsafe check(amqp_get_rpc_reply(state))
        guard let answer = unsafe answer else { throw AMQPError(.connectionLost, "no answer to a declare") }
        return unsafe QueueDepth(
            ready: Int(answer.pointee.message_count),
            consumers: Int(answer.pointee.consumer_count)
        )
    }

    /// Asks whether an exchange exists; throws `channelClosed(404)`, which needs ``openChannel(deadline:)``, if not.
    func find(exchange name: String, deadline: ContinuousClock.Instant) throws(AMQPError) {
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        unsafe _ = amqp_exchange_declare(
            state,
            Self.channel,
            pool.bytes(name),
            pool.bytes(""),
            1,
            0,
            0,
            0,
            pool.table([:])
        )
        try unsafe check(amqp_get_rpc_reply(state))
    }

    /// Deletes a queue with its messages; nothing happens when there is none.
    func deleteQueue(_ name: String, deadline: ContinuousClock.Instant) throws(AMQPError) {
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        unsafe _ = amqp_queue_delete(state, Self.channel, pool.bytes(name), 0, 0)
        try unsafe check(amqp_get_rpc_reply(state))
    }

    /// Deletes an exchange; nothing happens when there is none.
    func deleteExchange(_ name: String, deadline: ContinuousClock.Instant) throws(AMQPError) {
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        unsafe _ = amqp_exchange_delete(state, Self.channel, pool.bytes(name), 0)
        try unsafe check(amqp_get_rpc_reply(state))
    }

    /// Makes the broker confirm what is published from now on.
    func selectConfirms(deadline: ContinuousClock.Instant) throws(AMQPError) {
        try limitAnswers(until: deadline)
        unsafe _ = amqp_confirm_select(state, Self.channel)
        try unsafe check(amqp_get_rpc_reply(state))
    }

    /// Starts deliveries of a queue, at most `prefetch` unacknowledged at a time.
    func consume(
        _ queue: String,
        prefetch: UInt16,
        consumerTag: String,
        deadline: ContinuousClock.Instant
    ) throws(AMQPError) {
        try limitAnswers(until: deadline)
        unsafe _ = amqp_basic_qos(state, Self.channel, 0, prefetch, 0)
        try unsafe check(amqp_get_rpc_reply(state))
        try limitAnswers(until: deadline)
        defer { pool.recycle() }
        unsafe _ = amqp_basic_consume(
            state,
            Self.channel,
            pool.bytes(queue),
            pool.bytes(consumerTag),
            0,
            0,
            0,
            pool.table([:])
        )
        try unsafe check(amqp_get_rpc_reply(state))
    }

    /// Asks the broker to stop the deliveries; the answer comes as an event.
    func sendCancel(consumerTag: String) throws(AMQPError) {
        defer { pool.recycle() }
        var request = unsafe amqp_basic_cancel_t(consumer_tag: pool.bytes(consumerTag), nowait: 0)
        try unsafe check(amqp_send_method(state, Self.channel, jumun_basic_cancel, &request))
    }

    /// Sends a message, mandatory; check it with `AMQPMessage.refusal(maximumBodyBytes:)` first.
    ///
    /// Blocks as long as the socket takes no more bytes, so see ``CallGuard``.
    func publish(_ message: AMQPMessage) throws(AMQPError) {
        defer { pool.recycle() }
        var properties = unsafe encodeProperties(of: message)
        let exchange = unsafe pool.bytes(message.exchange)
        let routingKey = unsafe pool.bytes(message.routingKey)
        let status = unsafe message.body.withUnsafeBytes { body in
            // The library only reads the body.
            let bytes = unsafe amqp_bytes_t(len: body.count, bytes: UnsafeMutableRawPointer(mutating: body.baseAddress))
            return unsafe amqp_basic_publish(state, Self.channel, exchange, routingKey, 1, 0, &properties, bytes)
        }
        try check(status)
    }

    private func encodeProperties(of message: AMQPMessage) -> amqp_basic_properties_t {
        var properties = unsafe amqp_basic_properties_t()
        var flags = AMQP_BASIC_DELIVERY_MODE_FLAG
        unsafe properties.delivery_mode = message.isPersistent ? 2 : 1
        if let contentType = message.contentType {
            flags |= AMQP_BASIC_CONTENT_TYPE_FLAG
            unsafe properties.content_type = pool.bytes(contentType)
        }
        if let messageID = message.messageID {
            flags |= AMQP_BASIC_MESSAGE_ID_FLAG
            unsafe properties.message_id = pool.bytes(messageID)
        }
        if let type = message.type {
            flags |= AMQP_BASIC_TYPE_FLAG
            unsafe properties.type = pool.bytes(type)
        }
        if let appID = message.appID {
            flags |= AMQP_BASIC_APP_ID_FLAG
            unsafe properties.app_id = pool.bytes(appID)
        }
        if let timestamp = message.timestamp {
            flags |= AMQP_BASIC_TIMESTAMP_FLAG
            unsafe properties.timestamp = UInt64(clamping: timestamp)
        }
        if !message.headers.isEmpty {
            flags |= AMQP_BASIC_HEADERS_FLAG
            unsafe properties.headers = pool.table(message.headers)
        }
        unsafe properties._flags = amqp_flags_t(bitPattern: flags)
        return unsafe properties
    }

    /// Acknowledges one delivery, or all up to it that the broker still waits for.
    func acknowledge(_ tag: UInt64, multiple: Bool = false) throws(AMQPError) {
        try unsafe check(amqp_basic_ack(state, Self.channel, tag, multiple ? 1 : 0))
    }

    /// Gives one delivery back, or drops (dead-letters) it.
    func refuse(_ tag: UInt64, requeue: Bool) throws(AMQPError) {
        try unsafe check(amqp_basic_nack(state, Self.channel, tag, 0, requeue ? 1 : 0))
    }

    /// Says goodbye and waits for the answer until the deadline; drop the link afterwards.
    func close(deadline: ContinuousClock.Instant) {
        // Sending has no timeout of its own: what doesn't fit the socket now may wait for ever.
        guard readiness().isWritable, (try? limitAnswers(until: deadline)) != nil else { return }
        unsafe _ = amqp_connection_close(state, Int32(AMQP_REPLY_SUCCESS))
    }

    /// Whether the socket has something to read, and whether it takes something to write.
    func readiness() -> (isReadable: Bool, isWritable: Bool) {
        var poller = pollfd(fd: descriptor, events: Int16(POLLIN | POLLOUT), revents: 0)
        guard unsafe poll(&poller, 1, 0) > 0 else { return (hasBufferedInput, false) }
        // A broken socket counts as readable: reading tells what is wrong with it.
        let isReadable = poller.revents & ~Int16(POLLOUT) != 0
        return (isReadable || hasBufferedInput, poller.revents & Int16(POLLOUT) != 0)
    }

    private var hasBufferedInput: Bool {
        unsafe amqp_frames_enqueued(state) != 0 || amqp_data_in_buffer(state) != 0
    }

    /// Bounds the wait for the answers of the following calls.
    private func limitAnswers(until deadline: ContinuousClock.Instant) throws(AMQPError) {
        var patience = try patience(until: deadline)
        unsafe _ = amqp_set_rpc_timeout(state, &patience)
    }

    /// What is left of the deadline, at most the configured timeout; never zero, which the library takes for endless.
    private func patience(until deadline: ContinuousClock.Instant) throws(AMQPError) -> timeval {
        guard !deadline.isPast else { throw AMQPError(.timedOut, "the deadline has passed") }
        let milliseconds = max(1, min(deadline.pollMilliseconds, timeout.pollMilliseconds))
        return timeval(tv_sec: Int(milliseconds / 1_000), tv_usec: Int(milliseconds % 1_000) * 1_000)
    }
}
