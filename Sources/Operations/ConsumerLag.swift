import Foundation
package import ServiceRuntime

/// What the consumer says of itself (`GET /lag`).
package struct ConsumerLag: Decodable, Sendable {
    /// Where events wait; nil is what the consumer does not know.
    package struct Stage: Decodable, Sendable {
        package let stage: String
        package let messages: Int?
        package let oldestSeconds: Double?
    }

    /// A retry tier.
    package struct Tier: Decodable, Sendable {
        /// Its delay, in milliseconds.
        package let tierMs: Int
        /// The age of the oldest event in it, in seconds; nil when the consumer does not know.
        package let oldestSeconds: Double?
    }

    /// From the commit to the platform's answer.
    package struct EndToEnd: Decodable, Sendable {
        package let p50Ms: Double?
        package let p99Ms: Double?
        package let windowSeconds: Double?
        package let samples: Int?
    }

    /// `ok`, `warn`, `stall` or `stop`.
    package let status: String
    /// How it stands with the data platform: `closed`, `half_open` or `open`.
    package let circuit: String
    package let stages: [Stage]
    /// Nil of a consumer that does not tell.
    package let retryTiers: [Tier]?
    package let endToEnd: EndToEnd?
    package let consumePerSecond: Double?
    package let drainEtaSeconds: Double?

    /// Whether nothing is sent to the data platform now.
    package var isCircuitOpen: Bool { circuit == "open" }
}

/// Asks the consumer.
package struct ConsumerClient: Sendable {
    /// It cannot be asked, or does not answer as expected.
    package struct Silent: Error, CustomStringConvertible {
        package let description: String
        /// Whether something answered at all.
        package let isThere: Bool
    }

    private let base: String

    /// The consumer at `CONSUMER_URL`; throws `SettingsError`.
    package init(_ settings: Settings) throws {
        base = try settings.base("CONSUMER_URL", default: "http://127.0.0.1:8081")
    }

    /// Its lag now, or why it cannot be told.
    package func reading() async -> Result<ConsumerLag, Silent> {
        do throws(Silent) {
            return .success(try await lag())
        } catch {
            return .failure(error)
        }
    }

    /// Its lag now; throws ``Silent``.
    package func lag() async throws(Silent) -> ConsumerLag {
        let answer: Web.Answer
        do {
            answer = try await Web.get(base + "/lag")
        } catch {
            throw Silent(description: "the consumer cannot be reached at \(base)", isThere: false)
        }
        guard answer.status == 200 else {
            throw Silent(description: "\(base)/lag answered \(answer.status)", isThere: true)
        }
        do {
            return try JSONDecoder().decode(ConsumerLag.self, from: Data(answer.body))
        } catch {
            throw Silent(description: "\(base)/lag answered something else than expected", isThere: true)
        }
    }
}

extension Settings {
    /// The address of a server over HTTP, without a slash at its end.
    package func base(_ key: String, default fallback: String? = nil) throws(SettingsError) -> String {
        let url = try url(key, default: fallback, schemes: ["http", "https"])
        return url.hasSuffix("/") ? String(url.dropLast()) : url
    }
}
