import Foundation
import OrderMessages
import SeededRandom
import Testing

@Suite("RFC 3339 times")
struct RFC3339Tests {
    @Test(
        "known times",
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"),
            (-0.001, "1969-12-31T23:59:59.999Z"),
            (951_782_399.999, "2000-02-28T23:59:59.999Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (978_307_199.999, "2000-12-31T23:59:59.999Z"),
            (978_307_200, "2001-01-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (1_735_689_599.999, "2024-12-31T23:59:59.999Z"),
            (1_769_850_300.25, "2026-01-31T09:05:00.250Z"),
            (2_147_483_648, "2038-01-19T03:14:08.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (-2_208_988_800, "1900-01-01T00:00:00.000Z"),
            (-62_135_596_800, "0001-01-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ]
    )
    func knownTimes(seconds: Double, text: String) {
        #expect(Date(timeIntervalSince1970: seconds).rfc3339 == text)
    }

    @Test(
        "what is finer than a millisecond is rounded, over the end of a year too",
        arguments: [
            (1_735_689_599.9994, "2024-12-31T23:59:59.999Z"),
            (1_735_689_599.9996, "2025-01-01T00:00:00.000Z"),
            (0.0004, "1970-01-01T00:00:00.000Z"),
            (0.0006, "1970-01-01T00:00:00.001Z"),
            (1_700_000_000.001, "2023-11-14T22:13:20.001Z"),
            (1_700_000_000.009, "2023-11-14T22:13:20.009Z"),
        ]
    )
    func rounding(seconds: Double, text: String) {
        #expect(Date(timeIntervalSince1970: seconds).rfc3339 == text)
    }

    @Test("Foundation reads every millisecond from 1900 to 2200 as the one that was written")
    func agreesWithFoundation() throws {
        var random = SplitMix64(seed: SplitMix64.seed)
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        for _ in 0..<10_000 {
            let milliseconds = Int64(random.next() % 9_467_000_000_000) - 2_208_988_800_000
            let text = Date(timeIntervalSince1970: Double(milliseconds) / 1_000).rfc3339
            let read = try style.parse(text)
            let same = (read.timeIntervalSince1970 * 1_000).rounded() == Double(milliseconds)
            try #require(same && text.utf8.count == 24, "\(milliseconds) ms as \(text), seed \(SplitMix64.seed)")
        }
    }

    @Test("every seventh day of four centuries is that of Foundation's calendar")
    func calendarDays() throws {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        for day in 0..<146_097 where day % 7 == 0 {
            let time = Date(timeIntervalSince1970: Double(day) * 86_400)
            let parts = calendar.dateComponents([.year, .month, .day], from: time)
            let (year, month) = (try #require(parts.year), try #require(parts.month))
            let numbers = time.rfc3339.prefix(10).split(separator: "-").compactMap { Int($0) }
            try #require(numbers == [year, month, try #require(parts.day)], "day \(day)")
        }
    }
}
