/// Why a call on a ``RedisClient`` failed.
///
/// The description names no argument, key or password and may be shown.
package struct RedisError: Error, Sendable, Equatable {
    /// The kind of failure; the names are stable and fit for logs and metrics.
    package enum Code: String, Sendable {
        /// No usable connection: refused, no answer in time, or the server turned the handshake down.
        case connectFailed
        /// The connection broke while the call was under way.
        case connectionLost
        /// The call's deadline passed.
        case timedOut
        /// The calling task was cancelled before anything was sent.
        case cancelled
        /// The server answered with an error; ``RedisError/serverCode`` says which.
        case server
        /// The peer sent what is no reply, or more replies than commands.
        case protocolViolation
        /// The address cannot be used.
        case invalidConfiguration
        /// The call breaks a rule of this client and was not sent.
        case invalidArgument
    }

    /// The kind of failure.
    package let code: Code
    /// The first word of the server's error (`NOSCRIPT`, `WRONGTYPE`, `MISCONF`, `OOM`, `LOADING`, `NOAUTH` ...), if
    /// the server sent one.
    package let serverCode: String?
    /// Whether the server may have carried the command out all the same: true when the answer was lost on its way.
    ///
    /// A lock whose `SET NX` failed so may be held.
    package let isOutcomeUnknown: Bool
    private let message: String

    init(_ code: Code, _ message: String, serverCode: String? = nil, isOutcomeUnknown: Bool = false) {
        self.code = code
        self.message = message
        self.serverCode = serverCode
        self.isOutcomeUnknown = isOutcomeUnknown
    }

    /// An error of the server as the failure of a call.
    package init(_ error: RedisServerError) {
        self.init(.server, error.description, serverCode: error.code)
    }

    /// The same failure, seen while a connection was being made: no command of the caller's was sent.
    var asConnectFailure: RedisError {
        RedisError(.connectFailed, message, serverCode: serverCode)
    }

    /// The same failure of a call whose command had been sent.
    var withOutcomeUnknown: RedisError {
        RedisError(code, message, serverCode: serverCode, isOutcomeUnknown: true)
    }

    /// Whether the same call may succeed later without anybody changing it, the address or the server's settings.
    ///
    /// Says nothing on whether repeating is harmless, see ``isOutcomeUnknown``.
    package var isRetryable: Bool {
        switch code {
        case .connectFailed:
            !["NOAUTH", "WRONGPASS", "NOPERM"].contains(serverCode)
        case .connectionLost, .timedOut:
            true
        case .server:
            ["BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "OOM", "READONLY", "TRYAGAIN"]
                .contains(serverCode)
        case .cancelled, .protocolViolation, .invalidConfiguration, .invalidArgument:
            false
        }
    }
}

extension RedisError: CustomStringConvertible {
    /// One line, safe to show.
    package var description: String {
        "redis \(code.rawValue): \(message)"
    }
}

/// An error reply of the server.
package struct RedisServerError: Sendable, Equatable {
    /// The first word: `ERR`, `WRONGTYPE`, `NOSCRIPT` and so on.
    package let code: String
    /// The rest of the line, without the arguments that Redis repeats for an unknown command.
    package let message: String

    init(line: String) {
        let parts = line.split(separator: " ", maxSplits: 1)
        code = parts.first.map(String.init) ?? ""
        let rest = parts.count > 1 ? parts[1] : ""
        // They may be secret: an AUTH that was renamed away would bring the password into the logs.
        message = String(rest[..<(rest.firstRange(of: ", with args beginning with")?.lowerBound ?? rest.endIndex)])
    }
}

extension RedisServerError: CustomStringConvertible {
    /// The server's line.
    package var description: String {
        message.isEmpty ? code : "\(code) \(message)"
    }
}
