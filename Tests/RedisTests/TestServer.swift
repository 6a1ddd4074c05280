import Backoff
import Foundation
import Logging
import Testing

@testable import Redis

struct MissingServer: Error, CustomStringConvertible {
    let description = "JUMUN_TEST_REDIS_URL is not set: run the tests with `make test`, which starts the servers"
}

/// The real server that `make test` starts.
func realURL() throws -> String {
    guard let url = ProcessInfo.processInfo.environment["JUMUN_TEST_REDIS_URL"] else { throw MissingServer() }
    return url
}

let quietLogger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// A client of the server at `url`, by default the real one.
func makeClient(_ url: String? = nil, backoff: Backoff? = nil) throws -> RedisClient {
    let configuration = try RedisConfiguration(url: url ?? realURL())
    guard let backoff else { return RedisClient(configuration: configuration, logger: quietLogger) }
    return RedisClient(configuration: configuration, logger: quietLogger, backoff: backoff)
}

/// A key that no other test uses.
func uniqueKey() -> String {
    "test:\(UUID().uuidString)"
}

extension ContinuousClock.Instant {
    /// Long enough for anything that is to succeed.
    static var soon: ContinuousClock.Instant { .now + .seconds(20) }
}

/// Runs `body`, which must throw a `RedisError`, and returns that.
func failure(_ body: () async throws(RedisError) -> Void) async throws -> RedisError {
    do throws(RedisError) {
        try await body()
    } catch {
        return error
    }
    throw NoFailure()
}

struct NoFailure: Error {}
