import Operations
import OrderMessages

/// What became of a replay.
struct ReplayReport: Sendable {
    static let taken = "201"
    static let takenBefore = "201 replayed"
    static let noAnswer = "no answer"

    /// What became of one order.
    struct Answer: Sendable {
        /// The status with the problem's code, or one of the names above.
        let outcome: String
        /// From when it was due; nil without an answer.
        let latency: Duration?
    }

    let path: String
    /// Orders in a second that were asked for.
    let rate: Double
    var sent = 0
    /// Which the API does not take: too many products or pieces.
    var leftOut = 0
    var elapsed = Duration.zero
    private var outcomes: [String: Int] = [:]
    /// In microseconds, at most as many as there are orders.
    private var latencies: [Int64] = []

    init(path: String, rate: Double) {
        self.path = path
        self.rate = rate
    }

    /// Counts an answer.
    mutating func add(_ answer: Answer) {
        outcomes[answer.outcome, default: 0] += 1
        if let latency = answer.latency { latencies.append(Int64(latency / .microseconds(1))) }
    }

    /// Orders that the API did not take.
    var failed: Int { sent - outcomes[Self.taken, default: 0] - outcomes[Self.takenBefore, default: 0] }

    /// Orders in a second that went out.
    private var achievedRate: Double { Double(sent) / max(elapsed / .seconds(1), 0.001) }

    /// Milliseconds below which a share of the answers came.
    private func percentiles(_ shares: [Double]) -> [Double] {
        let sorted = latencies.sorted()
        return shares.map { share in
            guard !sorted.isEmpty else { return 0 }
            let place = min(sorted.count - 1, Int(share * Double(sorted.count)))
            return Double(sorted[place] / 10) / 100
        }
    }

    /// For people.
    var text: String {
        let rows = [("sent", sent), ("left out", leftOut)] + outcomes.sorted { $0.value > $1.value }
        let width = rows.map(\.0.count).max() ?? 0
        let counts = rows.map { grouped($0.1) }
        let countWidth = counts.map(\.count).max() ?? 0
        let table = zip(rows, counts).map { row, count in
            row.0.padded(to: width) + "   " + String(repeating: " ", count: countWidth - count.count) + count
        }
        let times = percentiles([0.5, 0.95, 0.99, 1])
        let speed = Double(Int(achievedRate * 10)) / 10
        return table.joined(separator: "\n") + "\n\n\(speed) orders/s of \(rate); "
            + "latency p50 \(times[0]) ms, p95 \(times[1]) ms, p99 \(times[2]) ms, max \(times[3]) ms"
    }

    /// For programs.
    func json() throws -> String {
        let times = percentiles([0.5, 0.95, 0.99, 1])
        return try encoded(
            JSON(
                file: path,
                sent: sent,
                leftOut: leftOut,
                outcomes: outcomes,
                rate: rate,
                achievedRate: achievedRate,
                durationMs: Int(elapsed / .milliseconds(1)),
                latencyMs: .init(p50: times[0], p95: times[1], p99: times[2], max: times[3])
            )
        )
    }

    private struct JSON: Encodable {
        struct Latency: Encodable {
            let p50: Double
            let p95: Double
            let p99: Double
            let max: Double
        }

        let file: String
        let sent: Int
        let leftOut: Int
        let outcomes: [String: Int]
        let rate: Double
        let achievedRate: Double
        let durationMs: Int
        let latencyMs: Latency
    }
}
