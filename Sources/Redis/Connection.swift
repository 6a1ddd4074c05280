import CHiredis
import Glibc
import ThreadExecutor

/// One connection that has logged in: a hiredis context and its socket.
///
/// The socket never blocks; every wait is a `poll(2)` that ends at the deadline, so that a server that hangs, or drips
/// a byte at a time, costs no more than that. (hiredis' own timeouts count anew with each `read`.)
///
/// hiredis connects and reads. Writing is ours: its `redisBufferWrite` raises SIGPIPE when the peer has gone, and moves
/// all that is still unsent after each partial write. With TLS reading is ours too, and hiredis only parses.
///
/// After any thrown error the connection is spoilt, as a late reply may still come: let go of it. Belongs to one
/// thread at a time.
@safe
final class Connection {
    private let context: UnsafeMutablePointer<redisContext>
    private let descriptor: Int32
    /// Nil where the connection is plain.
    private var tls: TLSSession?

    /// Connects, logs in and selects the database; throws what went wrong first.
    ///
    /// A host that is a name is looked up by `getaddrinfo`, which knows no deadline: its own (`resolv.conf`) holds.
    init(_ configuration: RedisConfiguration, deadline: ContinuousClock.Instant) throws(RedisError) {
        guard let context = unsafe redisConnectNonBlock(configuration.host, Int32(configuration.port)) else {
            throw RedisError(.connectFailed, "out of memory")
        }
        unsafe self.context = context
        descriptor = unsafe context.pointee.fd
        guard unsafe context.pointee.err == 0 else { throw failure(sent: 0) }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        try finishConnecting(deadline: deadline)
        guard unsafe redisEnableKeepAlive(context) == REDIS_OK else { throw failure(sent: 0) }
        if let authorities = configuration.authorities {
            tls = try shakeHands(TLSSession(host: configuration.host, authorities: authorities), deadline: deadline)
        }
        try logIn(configuration, deadline: deadline)
    }

    deinit {
        unsafe redisFree(context)
    }

    /// Whether the connection can take no further command: the server has closed it, or sent what nobody asked for.
    var isSpent: Bool {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&state, 1, 0) != 0
    }

    /// Sends a request of `count` commands and reads as many replies, at the same time: a server whose replies nobody
    /// takes would stop reading.
    func exchange(
        _ request: [UInt8],
        replies count: Int,
        deadline: ContinuousClock.Instant
    ) throws(RedisError) -> [RedisReply] {
        var request = request
        if let tls {
            try tls.encrypt(request)
            request = tls.takeOutput()
        }
        var sent = 0
        var replies: [RedisReply] = []
        replies.reserveCapacity(count)
        while replies.count < count {
            if sent < request.count { sent += try write(request, from: sent) }
            let interest = sent < request.count ? POLLIN | POLLOUT : POLLIN
            let events = try wait(for: interest, deadline: deadline, sent: sent)
            guard events & ~POLLOUT != 0 else { continue }
            try read(sent: sent)
            // What TLS wants to say by itself, such as that it changes its keys.
            if let tls { request += tls.takeOutput() }
            while let reply = try nextReply(sent: sent) {
                replies.append(reply)
            }
        }
        guard replies.count == count, sent == request.count else {
            throw RedisError(.protocolViolation, "more replies than commands", isOutcomeUnknown: true)
        }
        return replies
    }

    private func finishConnecting(deadline: ContinuousClock.Instant) throws(RedisError) {
        _ = try wait(for: POLLOUT, deadline: deadline, sent: 0)
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0, code == 0 else {
            throw RedisError(.connectFailed, Self.text(ofErrno: code))
        }
    }

    /// Makes the connection one with TLS; throws unless the server has proved who it is.
    private func shakeHands(
        _ session: TLSSession,
        deadline: ContinuousClock.Instant
    ) throws(RedisError) -> TLSSession {
        while true {
            let isDone = try session.handshake()
            let output = session.takeOutput()
            var sent = 0
            while sent < output.count {
                _ = try wait(for: POLLOUT, deadline: deadline, sent: 0)
                sent += try write(output, from: sent)
            }
            if isDone { return session }
            _ = try wait(for: POLLIN, deadline: deadline, sent: 0)
            _ = try session.decrypt(receive(sent: 0))
        }
    }

    /// Gives hiredis what has come.
    private func read(sent: Int) throws(RedisError) {
        guard let tls else {
            guard unsafe redisBufferRead(context) == REDIS_OK else { throw failure(sent: sent) }
            return
        }
        let plain: [UInt8]
        do throws(RedisError) {
            plain = try tls.decrypt(receive(sent: sent))
        } catch {
            throw sent > 0 ? error.withOutcomeUnknown : error
        }
        let status = unsafe plain.withUnsafeBytes { bytes in
            unsafe redisReaderFeed(context.pointee.reader, bytes.baseAddress, bytes.count)
        }
        guard status == REDIS_OK else { throw failure(sent: sent) }
    }

    /// What the socket has, up to a record of TLS; empty when it has nothing after all.
    private func receive(sent: Int) throws(RedisError) -> ArraySlice<UInt8> {
        var buffer = [UInt8](repeating: 0, count: 16_384)
        let count = unsafe recv(descriptor, &buffer, buffer.count, 0)
        if count > 0 { return buffer[..<count] }
        guard count < 0, errno == EAGAIN || errno == EINTR else {
            let reason = count == 0 ? "the server closed the connection" : Self.text(ofErrno: errno)
            throw RedisError(.connectionLost, reason, isOutcomeUnknown: sent > 0)
        }
        return []
    }

    /// `SELECT` is sent even for database 0: its answer shows that the server lives, has loaded its data and wants no
    /// (other) password.
    private func logIn(_ configuration: RedisConfiguration, deadline: ContinuousClock.Instant) throws(RedisError) {
        var commands: [RedisCommand] = []
        if let password = configuration.password {
            commands.append(RedisCommand(["AUTH"] + (configuration.user.map { [$0] } ?? []) + [password]))
        }
        commands.append(["SELECT", String(configuration.database)])
        let request = RedisCommand.request(of: commands)
        for reply in try exchange(request, replies: commands.count, deadline: deadline) {
            if case .error(let error) = reply { throw RedisError(error) }
            guard reply == .status("OK") else {
                throw RedisError(.protocolViolation, "an unexpected reply while logging in")
            }
        }
    }

    /// Sends as much as the socket takes.
    private func write(_ bytes: [UInt8], from start: Int) throws(RedisError) -> Int {
        let written = unsafe bytes.withUnsafeBytes { buffer in
            let rest = unsafe UnsafeRawBufferPointer(rebasing: buffer[start...])
            return unsafe Glibc.send(descriptor, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
        }
        if written >= 0 { return written }
        guard errno == EAGAIN || errno == EINTR else {
            throw RedisError(.connectionLost, Self.text(ofErrno: errno), isOutcomeUnknown: start > 0)
        }
        return 0
    }

    /// Waits until one of the events, or a failure of the socket, has come.
    private func wait(for events: Int32, deadline: ContinuousClock.Instant, sent: Int) throws(RedisError) -> Int32 {
        var state = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while !deadline.isPast {
            if unsafe poll(&state, 1, deadline.pollMilliseconds) > 0 { return Int32(state.revents) }
        }
        throw RedisError(.timedOut, "no answer before the deadline", isOutcomeUnknown: sent > 0)
    }

    /// The next complete reply that has been read, copied.
    private func nextReply(sent: Int) throws(RedisError) -> RedisReply? {
        var object: UnsafeMutableRawPointer?
        guard unsafe redisGetReplyFromReader(context, &object) == REDIS_OK else { throw failure(sent: sent) }
        guard let object = unsafe object else { return nil }
        defer { unsafe freeReplyObject(object) }
        return unsafe Self.copy(object.assumingMemoryBound(to: redisReply.self).pointee)
    }

    /// Recurses at most 9 levels deep, which is all that hiredis reads.
    private static func copy(_ reply: redisReply) -> RedisReply {
        switch unsafe reply.type {
        case REDIS_REPLY_INTEGER:
            return .integer(unsafe reply.integer)
        case REDIS_REPLY_STRING:
            return .bulk(unsafe bytes(of: reply))
        case REDIS_REPLY_STATUS:
            return .status(String(decoding: unsafe bytes(of: reply), as: UTF8.self))
        case REDIS_REPLY_ERROR:
            return .error(RedisServerError(line: String(decoding: unsafe bytes(of: reply), as: UTF8.self)))
        case REDIS_REPLY_ARRAY:
            let elements = unsafe UnsafeBufferPointer(start: reply.element, count: reply.elements)
            return .array(unsafe elements.map { unsafe $0.map { unsafe copy($0.pointee) } ?? .null })
        default:
            return .null
        }
    }

    private static func bytes(of reply: redisReply) -> [UInt8] {
        unsafe Array(UnsafeRawBufferPointer(start: reply.str, count: reply.len))
    }

    /// The context's error as ours.
    private func failure(sent: Int) -> RedisError {
        let text = unsafe withUnsafeBytes(of: context.pointee.errstr) { buffer in
            unsafe String(decoding: buffer.prefix { $0 != 0 }, as: UTF8.self)
        }
        let code: RedisError.Code =
            unsafe context.pointee.err == REDIS_ERR_PROTOCOL ? .protocolViolation : .connectionLost
        return RedisError(code, text, isOutcomeUnknown: sent > 0)
    }

    private static func text(ofErrno code: Int32) -> String {
        unsafe String(cString: strerror(code))
    }
}
