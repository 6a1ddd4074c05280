import Foundation
import Operations

/// Asks the scheduler when its jobs run next.
struct SchedulerClient: Sendable {
    /// It answered something else than expected.
    struct Unexpected: Error, CustomStringConvertible {
        let description: String
    }

    private static let metric = "scheduler_job_next_run_timestamp_seconds{job=\""

    let base: String

    /// The next time of each job, by its name; throws when it does not answer within 3 s.
    func nextRuns() async throws -> [String: Date] {
        let answer = try await Web.get(base + "/metrics")
        guard answer.status == 200 else { throw Unexpected(description: "\(base)/metrics answered \(answer.status)") }
        return Self.nextRuns(in: String(decoding: answer.body, as: UTF8.self))
    }

    /// Names of jobs have nothing in them that the format would escape.
    static func nextRuns(in page: String) -> [String: Date] {
        var times: [String: Date] = [:]
        for line in page.split(separator: "\n") where line.hasPrefix(metric) {
            let parts = line.dropFirst(metric.count).split(separator: "\"} ", maxSplits: 1)
            guard parts.count == 2, let seconds = Double(parts[1]) else { continue }
            times[String(parts[0])] = Date(timeIntervalSince1970: seconds)
        }
        return times
    }
}

/// The mock data platform's switches.
struct MockPlatform: Sendable {
    /// How it misbehaves now.
    struct Faults: Codable, Sendable, Equatable {
        let mode: String
        let status: Int
        let latencyMs: Int
        let rate: Double
        let subjects: [String]
    }

    let base: String

    /// Throws when it does not answer within 3 s.
    func faults() async throws -> Faults {
        let answer = try await Web.get(base + "/v1/faults")
        guard answer.status == 200 else {
            throw SchedulerClient.Unexpected(description: "\(base)/v1/faults answered \(answer.status)")
        }
        return try JSONDecoder().decode(Faults.self, from: Data(answer.body))
    }

    /// Sets the faults that a JSON text says, which the mock itself checks; what it answered. Throws when it does not
    /// answer within 3 s.
    func setFaults(_ json: [UInt8]) async throws -> Web.Answer {
        try await Web.put(base + "/v1/faults", json: json)
    }
}
