import Backoff
package import Logging
import ThreadExecutor

/// One connection to a Redis server, made at the first call and made anew after it broke.
///
/// Calls run one after the other, on a thread of the client's own that waits for each reply. A call whose deadline has
/// passed before its turn fails without being sent. A caller waits for the calls before it, so that callers who share
/// a client should give themselves about the same time, and whoever sends what may take long gets a client of its own.
///
/// After an I/O error, a deadline that passed or a reply that is none, the connection is given up and the next call
/// makes a new one (hiredis' `redisReconnect` is not used: it forgets the socket's settings). A late reply can
/// therefore never answer another command. After a connection could not be made, calls fail at once with that error
/// until a jittered backoff has passed. A connection that the server closed while it lay idle is noticed before
/// something is sent.
///
/// Cancellation is looked at before sending; a command that was sent is waited for until its deadline. Commands that
/// would change the connection for the next caller (``refusedCommands``) are refused; `MULTI` to `EXEC` belong into
/// one ``pipeline(_:deadline:)``.
package actor RedisClient {
    /// The most commands that one pipeline may have.
    package static let maximumPipelineCommands = 10_000
    /// The most bytes that one call may send, the wire format included: 64 MiB.
    package static let maximumRequestBytes = 64 * 1_024 * 1_024
    /// Commands that would leave the connection in another state, or bring replies that nobody waits for.
    package static let refusedCommands: Set<String> = [
        "AUTH", "HELLO", "MONITOR", "PSUBSCRIBE", "PSYNC", "QUIT", "RESET", "SELECT", "SSUBSCRIBE", "SUBSCRIBE", "SYNC",
        "WATCH",
    ]

    private nonisolated let executor = ThreadExecutor()
    private let configuration: RedisConfiguration
    private let logger: Logger
    private var connection: Connection?
    private var backoff: Backoff
    /// Set after a connection could not be made.
    private var pause: (until: ContinuousClock.Instant, error: RedisError)?
    /// SHA-1 of the scripts that the server was asked for once, by their source.
    private var digests: [String: String] = [:]

    /// The client's own thread.
    package nonisolated var unownedExecutor: UnownedSerialExecutor {
        unsafe executor.asUnownedSerialExecutor()
    }

    /// Creates a client; nothing is connected before the first call.
    package init(configuration: RedisConfiguration, logger: Logger) {
        self.init(
            configuration: configuration,
            logger: logger,
            backoff: Backoff(base: .milliseconds(50), cap: .seconds(2))
        )
    }

    init(configuration: RedisConfiguration, logger: Logger, backoff: Backoff) {
        self.configuration = configuration
        self.logger = logger
        self.backoff = backoff
    }

    deinit {
        executor.stop()
    }

    /// Sends one command and returns its reply.
    ///
    /// Throws `.server` when the server answers with an error, and what the connection's failure was otherwise.
    package func send(
        _ command: RedisCommand,
        deadline: ContinuousClock.Instant
    ) async throws(RedisError) -> RedisReply {
        try call(command, deadline: deadline)
    }

    /// Sends commands in one go and returns their replies in order; error replies stay among them as `.error`.
    ///
    /// At most ``maximumPipelineCommands``. When it throws, any number of the commands may have been carried out.
    package func pipeline(
        _ commands: [RedisCommand],
        deadline: ContinuousClock.Instant
    ) async throws(RedisError) -> [RedisReply] {
        guard !commands.isEmpty else { return [] }
        return try exchange(commands, deadline: deadline)
    }

    /// Runs a script by its digest, and by its source when the server does not know it (any more).
    ///
    /// The digest is asked of the server (`SCRIPT LOAD`) the first time. Throws as ``send(_:deadline:)`` does.
    package func evaluate(
        _ script: RedisScript,
        keys: [String],
        arguments: [String],
        deadline: ContinuousClock.Instant
    ) async throws(RedisError) -> RedisReply {
        let digest = try digest(of: script, deadline: deadline)
        let operands = [String(keys.count)] + keys + arguments
        do throws(RedisError) {
            return try call(RedisCommand(["EVALSHA", digest] + operands), deadline: deadline)
        } catch {
            guard error.serverCode == "NOSCRIPT" else { throw error }
            return try call(RedisCommand(["EVAL", script.source] + operands), deadline: deadline)
        }
    }

    /// Returns when the server answered a `PING`; throws as ``send(_:deadline:)`` does.
    package func ping(deadline: ContinuousClock.Instant) async throws(RedisError) {
        _ = try call(["PING"], deadline: deadline)
    }

    /// Closes the connection, if there is one; a later call would make a new one.
    package func close() {
        connection = nil
    }

    /// Whether there is a connection that could take a command.
    var isConnected: Bool {
        connection.map { !$0.isSpent } ?? false
    }

    private func digest(of script: RedisScript, deadline: ContinuousClock.Instant) throws(RedisError) -> String {
        if let known = digests[script.source] { return known }
        guard let digest = try call(["SCRIPT", "LOAD", script.source], deadline: deadline).string else {
            throw RedisError(.protocolViolation, "SCRIPT LOAD was not answered with a digest")
        }
        digests[script.source] = digest
        return digest
    }

    private func call(_ command: RedisCommand, deadline: ContinuousClock.Instant) throws(RedisError) -> RedisReply {
        let reply = try exchange([command], deadline: deadline)[0]
        if case .error(let error) = reply { throw RedisError(error) }
        return reply
    }

    private func exchange(
        _ commands: [RedisCommand],
        deadline: ContinuousClock.Instant
    ) throws(RedisError) -> [RedisReply] {
        let request = try Self.request(of: commands)
        if Task.isCancelled { throw RedisError(.cancelled, "the task was cancelled before the command was sent") }
        if deadline.isPast { throw RedisError(.timedOut, "the deadline passed before the command was sent") }
        let connection = try connected(deadline: deadline)
        do throws(RedisError) {
            return try connection.exchange(request, replies: commands.count, deadline: deadline)
        } catch {
            self.connection = nil
            logger.warning("Redis connection given up", metadata: ["address": "\(configuration)", "error": "\(error)"])
            throw error
        }
    }

    private static func request(of commands: [RedisCommand]) throws(RedisError) -> [UInt8] {
        guard commands.count <= maximumPipelineCommands else {
            throw RedisError(.invalidArgument, "a pipeline has at most \(maximumPipelineCommands) commands")
        }
        for command in commands where command.name.isEmpty || refusedCommands.contains(command.name) {
            let name = command.name.isEmpty ? "a command without a name" : command.name
            throw RedisError(.invalidArgument, "\(name) cannot be sent over a shared connection")
        }
        guard commands.reduce(0, { $0 + $1.encoded.count }) <= maximumRequestBytes else {
            throw RedisError(.invalidArgument, "a call sends at most \(maximumRequestBytes) bytes")
        }
        return RedisCommand.request(of: commands)
    }

    private func connected(deadline: ContinuousClock.Instant) throws(RedisError) -> Connection {
        if let connection, isConnected { return connection }
        connection = nil
        if let pause, !pause.until.isPast { throw pause.error }
        do throws(RedisError) {
            let limit = min(deadline, .now + configuration.connectTimeout)
            let opened = try Connection(configuration, deadline: limit)
            connection = opened
            backoff.reset()
            pause = nil
            logger.info("Redis connected", metadata: ["address": "\(configuration)"])
            return opened
        } catch {
            let failure = error.asConnectFailure
            pause = (until: .now + backoff.next(), error: failure)
            logger.warning("Redis connection failed", metadata: ["address": "\(configuration)", "error": "\(failure)"])
            if deadline.isPast { throw RedisError(.timedOut, "no connection before the deadline") }
            throw failure
        }
    }
}
