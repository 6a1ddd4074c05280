import Foundation
import ServiceRuntime

/// What the consumer says of itself (`GET /lag`).
struct ConsumerLag: Decodable {
    /// Where events wait; nil is what the consumer does not know.
    struct Stage: Decodable {
        let stage: String
        let messages: Int?
        let oldestSeconds: Double?
    }

    /// From the commit to the platform's answer.
    struct EndToEnd: Decodable {
        let p50Ms: Double?
        let p99Ms: Double?
        let windowSeconds: Double?
        let samples: Int?
    }

    /// `ok`, `warn`, `stall` or `stop`.
    let status: String
    /// How it stands with the data platform: `closed`, `half_open` or `open`.
    let circuit: String
    let stages: [Stage]
    let endToEnd: EndToEnd?
    let consumePerSecond: Double?
    let drainEtaSeconds: Double?

    /// Whether nothing is sent to the data platform now.
    var isCircuitOpen: Bool { circuit == "open" }
}

/// Asks the consumer.
struct ConsumerClient {
    /// It cannot be asked, or does not answer as expected.
    struct Silent: Error, CustomStringConvertible {
        let description: String
        /// Whether something answered at all.
        let isThere: Bool
    }

    private let base: String

    init(_ settings: Settings) throws {
        base = try settings.base("CONSUMER_URL", default: "http://127.0.0.1:8081")
    }

    /// Its lag now, or why it cannot be told.
    func reading() async -> Result<ConsumerLag, Silent> {
        do throws(Silent) {
            return .success(try await lag())
        } catch {
            return .failure(error)
        }
    }

    /// Its lag now; throws ``Silent``.
    func lag() async throws(Silent) -> ConsumerLag {
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
    func base(_ key: String, default fallback: String? = nil) throws(SettingsError) -> String {
        let url = try url(key, default: fallback, schemes: ["http", "https"])
        return url.hasSuffix("/") ? String(url.dropLast()) : url
    }
}
