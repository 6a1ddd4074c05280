import Foundation
import Testing

@testable import Scheduler

/// Thousands of random expressions, whose runs an independent program has worked out (`ops/cron-check/cases.py`).
@Suite("Cron expressions beside croniter")
struct CroniterTests {
    private struct Case {
        let text: String
        let zone: String
        let after: Double
        let runs: [Double]

        init?(line: Substring) {
            let fields = line.split(separator: "\t").map(String.init)
            guard fields.count == 4, let after = Double(fields[2]) else { return nil }
            text = fields[0]
            zone = fields[1]
            self.after = after
            runs = fields[3].split(separator: ",").compactMap { Double($0) }
        }
    }

    @Test("the next runs are those that croniter finds, in zones with and without summer time")
    func agrees() throws {
        let path = ProcessInfo.processInfo.environment["JUMUN_TEST_CRON_CASES"] ?? ""
        let text = try #require(
            try? String(contentsOfFile: path, encoding: .utf8),
            "JUMUN_TEST_CRON_CASES names no file: run `make test`, or `ops/dev/cron-cases` alone"
        )
        let lines = text.split(separator: "\n")
        let seed = try #require(lines.first)
        let cases = lines.dropFirst().compactMap(Case.init)
        try #require(cases.count >= 10_000 && cases.count == lines.count - 1)
        print("\(cases.count) cron expressions beside croniter, \(seed.dropFirst(2))")
        var zones: [String: TimeZone] = [:]
        var wrong = 0
        for one in cases {
            let zone = try #require(zones[one.zone] ?? TimeZone(identifier: one.zone))
            zones[one.zone] = zone
            let runs = Self.runs(
                of: try CronExpression(one.text),
                after: one.after,
                in: zone,
                count: max(one.runs.count, 1)
            )
            guard runs != one.runs, wrong < 10 else { continue }
            wrong += 1
            Issue.record(
                "\(one.text) in \(one.zone) after \(one.after): \(runs), and croniter: \(one.runs) (\(seed))"
            )
        }
    }

    private static func runs(of expression: CronExpression, after: Double, in zone: TimeZone, count: Int) -> [Double] {
        var runs: [Double] = []
        while runs.count < count {
            let last = Date(timeIntervalSince1970: runs.last ?? after)
            guard let next = expression.next(after: last, in: zone) else { break }
            runs.append(next.timeIntervalSince1970)
        }
        return runs
    }
}
