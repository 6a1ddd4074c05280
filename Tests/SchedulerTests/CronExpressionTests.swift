import Foundation
import Testing

@testable import Scheduler

@Suite("Cron expressions")
struct CronExpressionTests {
    struct Schedule: Sendable, CustomTestStringConvertible {
        let expression: String
        var zone = "UTC"
        let after: String
        /// The runs that follow, in order.
        let runs: [String]

        var testDescription: String { "\(expression) in \(zone) after \(after)" }
    }

    @Test(
        "runs at the times that match",
        arguments: [
            Schedule(
                expression: "* * * * *",
                after: "2026-01-01T00:00:00Z",
                runs: ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00Z"]
            ),
            Schedule(
                expression: "*/15 9-10 * * *",
                after: "2026-01-01T09:44:59Z",
                runs: ["2026-01-01T09:45:00Z", "2026-01-01T10:00:00Z", "2026-01-01T10:15:00Z", "2026-01-01T10:30:00Z"]
            ),
            Schedule(
                expression: "5/20,0 23 31 12 *",
                after: "2026-12-31T23:20:00Z",
                runs: ["2026-12-31T23:25:00Z", "2026-12-31T23:45:00Z", "2027-12-31T23:00:00Z"]
            ),
            // The months that have no 31st are left out.
            Schedule(
                expression: "0 0 31 * *",
                after: "2026-01-31T00:00:00Z",
                runs: ["2026-03-31T00:00:00Z", "2026-05-31T00:00:00Z", "2026-07-31T00:00:00Z"]
            ),
            Schedule(
                expression: "0 12 29 FEB *",
                after: "2026-01-01T00:00:00Z",
                runs: ["2028-02-29T12:00:00Z", "2032-02-29T12:00:00Z"]
            ),
            // 2100 is no leap year.
            Schedule(expression: "0 12 29 2 *", after: "2096-02-29T12:00:00Z", runs: ["2104-02-29T12:00:00Z"]),
            Schedule(expression: "0 12 29 2 *", after: "1896-03-01T00:00:00Z", runs: ["1904-02-29T12:00:00Z"]),
            // Either day is enough: the 13th, or a Friday.
            Schedule(
                expression: "0 0 13 * fri",
                after: "2026-11-01T00:00:00Z",
                runs: ["2026-11-06T00:00:00Z", "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"]
            ),
            Schedule(
                expression: "0 0 29 2 mon",
                after: "2027-12-31T00:00:00Z",
                runs: [
                    "2028-02-07T00:00:00Z", "2028-02-14T00:00:00Z", "2028-02-21T00:00:00Z", "2028-02-28T00:00:00Z",
                    "2028-02-29T00:00:00Z",
                ]
            ),
            // A field of all values restricts, unless the other one is written with a star.
            Schedule(expression: "0 0 13 * 0-6", after: "2026-11-01T00:00:00Z", runs: ["2026-11-02T00:00:00Z"]),
            Schedule(expression: "0 0 */12 * 0-6", after: "2026-11-01T00:00:00Z", runs: ["2026-11-13T00:00:00Z"]),
            Schedule(expression: "0 0 1-31 * */4", after: "2026-11-01T00:00:00Z", runs: ["2026-11-05T00:00:00Z"]),
            Schedule(expression: "0 0 */12 * fri", after: "2026-11-01T00:00:00Z", runs: ["2026-11-06T00:00:00Z"]),
            Schedule(
                expression: "30 8 * Jan-Mar/2 SAT-SUN",
                after: "2026-01-31T08:30:00Z",
                runs: ["2026-03-01T08:30:00Z", "2026-03-07T08:30:00Z", "2026-03-08T08:30:00Z"]
            ),
            Schedule(expression: "@hourly", after: "2026-01-01T00:00:00Z", runs: ["2026-01-01T01:00:00Z"]),
            Schedule(expression: "@Daily", after: "2026-01-01T00:00:00Z", runs: ["2026-01-02T00:00:00Z"]),
            Schedule(expression: "@midnight", after: "2026-01-01T23:59:59Z", runs: ["2026-01-02T00:00:00Z"]),
            Schedule(expression: "@weekly", after: "2026-01-01T00:00:00Z", runs: ["2026-01-04T00:00:00Z"]),
            Schedule(expression: "@monthly", after: "2026-01-01T00:00:00Z", runs: ["2026-02-01T00:00:00Z"]),
            Schedule(expression: "@yearly", after: "2026-01-01T00:00:00Z", runs: ["2027-01-01T00:00:00Z"]),
            Schedule(expression: " @annually\t", after: "2025-12-31T23:59:00Z", runs: ["2026-01-01T00:00:00Z"]),
            // Before 1970.
            Schedule(expression: "59 23 * * *", after: "1969-12-30T23:59:30Z", runs: ["1969-12-31T23:59:00Z"]),
            // The day is the zone's, not UTC's.
            Schedule(
                expression: "0 3 1 * *",
                zone: "Asia/Seoul",
                after: "2026-02-28T18:00:00Z",
                runs: ["2026-03-31T18:00:00Z", "2026-04-30T18:00:00Z"]
            ),
            Schedule(
                expression: "0 0 * * MON",
                zone: "Asia/Kolkata",
                after: "2026-01-01T00:00:00Z",
                runs: ["2026-01-04T18:30:00Z"]
            ),
        ]
    )
    func runs(_ schedule: Schedule) throws {
        try expectRuns(of: schedule)
    }

    // Europe/Berlin: 02:00 becomes 03:00 on 29 March 2026 at 01:00 UTC, 03:00 becomes 02:00 on 25 October at 01:00.
    // America/New_York: 02:00 becomes 03:00 on 8 March 2026 at 07:00 UTC, 02:00 becomes 01:00 on 1 November at 06:00.
    // Australia/Lord_Howe: 02:00 becomes 02:30 on 4 October 2026 at 15:30 UTC the day before.
    @Test(
        "follows the clocks when they change",
        arguments: [
            // Left out: once, right after the gap; also when several times are left out.
            Schedule(
                expression: "30 2 * * *",
                zone: "Europe/Berlin",
                after: "2026-03-28T01:30:00Z",
                runs: ["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]
            ),
            Schedule(
                expression: "*/10 2 * * *",
                zone: "America/New_York",
                after: "2026-03-08T06:59:00Z",
                runs: ["2026-03-08T07:00:00Z", "2026-03-09T06:00:00Z"]
            ),
            Schedule(
                expression: "0 2-4 * * *",
                zone: "Europe/Berlin",
                after: "2026-03-29T00:00:00Z",
                runs: ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z", "2026-03-30T00:00:00Z"]
            ),
            Schedule(
                expression: "15 2 * * *",
                zone: "Australia/Lord_Howe",
                after: "2026-10-03T15:00:00Z",
                runs: ["2026-10-03T15:30:00Z", "2026-10-04T15:15:00Z"]
            ),
            // A step of hours counts as chosen hours.
            Schedule(
                expression: "0 */2 * * *",
                zone: "Europe/Berlin",
                after: "2026-03-28T23:00:00Z",
                runs: ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]
            ),
            // Comes twice: the first time only, from wherever one looks.
            Schedule(
                expression: "30 2 * * *",
                zone: "Europe/Berlin",
                after: "2026-10-24T00:30:00Z",
                runs: ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
            ),
            Schedule(
                expression: "30 2 * * *",
                zone: "Europe/Berlin",
                after: "2026-10-25T01:10:00Z",
                runs: ["2026-10-26T01:30:00Z"]
            ),
            Schedule(
                expression: "*/20 1-2 * * *",
                zone: "America/New_York",
                after: "2026-11-01T05:20:00Z",
                runs: ["2026-11-01T05:40:00Z", "2026-11-01T07:00:00Z", "2026-11-01T07:20:00Z"]
            ),
            // Every hour: as the clock shows it.
            Schedule(
                expression: "30 * * * *",
                zone: "Europe/Berlin",
                after: "2026-03-29T00:30:00Z",
                runs: ["2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"]
            ),
            Schedule(
                expression: "30 0-23 * * *",
                zone: "Europe/Berlin",
                after: "2026-10-25T00:00:00Z",
                runs: ["2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"]
            ),
            Schedule(
                expression: "*/30 * 1 NOV *",
                zone: "America/New_York",
                after: "2026-11-01T05:00:00Z",
                runs: [
                    "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z", "2026-11-01T06:30:00Z", "2026-11-01T07:00:00Z",
                ]
            ),
            Schedule(
                expression: "15 * * * *",
                zone: "Australia/Lord_Howe",
                after: "2026-10-03T14:45:00Z",
                runs: ["2026-10-03T16:15:00Z"]
            ),
            // A whole day that never was: Samoa crossed the date line on 30 December 2011.
            Schedule(
                expression: "0 12 30 12 *",
                zone: "Pacific/Apia",
                after: "2011-12-30T00:00:00Z",
                runs: ["2011-12-30T10:00:00Z", "2012-12-29T22:00:00Z"]
            ),
        ]
    )
    func followsClocks(_ schedule: Schedule) throws {
        try expectRuns(of: schedule)
    }

    private func expectRuns(of schedule: Schedule) throws {
        let expression = try CronExpression(schedule.expression)
        let zone = try #require(TimeZone(identifier: schedule.zone))
        var moment = try Date(schedule.after, strategy: .iso8601)
        for expected in schedule.runs {
            moment = try #require(expression.next(after: moment, in: zone))
            #expect(moment.formatted(.iso8601) == expected)
        }
    }

    @Test(
        "has no next run on a date that never comes",
        arguments: ["0 0 30 2 *", "0 0 30-31 FEB *", "* * 31 2,4,6,9,11 *"]
    )
    func neverComes(text: String) throws {
        let expression = try CronExpression(text)
        let zone = try #require(TimeZone(identifier: "Europe/Berlin"))
        #expect(expression.next(after: Date(timeIntervalSince1970: 1_800_000_000), in: zone) == nil)
    }

    @Test(
        "has no next run after a moment that is no date",
        arguments: [-Double.infinity, -1e18, 1e18, .infinity, .nan]
    )
    func noDate(seconds: Double) throws {
        let expression = try CronExpression("* 3 * * *")
        #expect(expression.next(after: Date(timeIntervalSince1970: seconds), in: .gmt) == nil)
    }

    @Test(
        "ways to write the same",
        arguments: [
            ("* * * * *", "0-59 0-23 * 1-12 0-6"), ("*/1 * * * *", "0/1 * * * *"), ("0 0 * * 0", "0 0 * * 7"),
            ("0 0 * * SUN-SAT", "0 0 * * 0-7"), ("0 0 * * FRI-SUN", "0 0 * * 0,5,6"), ("0 0 * * 6-0", "0 0 * * 6-7"),
            ("0 0 * * 7-1", "0 0 * * sun,MON"), ("0 0 * * 1-7/2", "0 0 * * 1,3,5,0"), ("0 0 * * 7/3", "0 0 * * 0,3,6"),
            ("0 0 1 jan-DEC/6 *", "0 0 01 1,7 *"), ("1-1 5 * * *", "01 05 * * *"), ("50/5 0 * * *", "50,55 0 * * *"),
            ("  0\t0  *  * *  ", "@daily"), ("0 0 *,3 * 1", "0 0 * * 1"),
        ]
    )
    func sameMeaning(one: String, other: String) throws {
        #expect(try CronExpression(one) == CronExpression(other))
    }

    @Test(
        "a mistake is named with its field and what would be right",
        arguments: [
            ("", CronError.Code.fieldCount, "0 fields; write five fields"),
            ("0 0 * *", .fieldCount, "4 fields; write five fields"),
            ("0 0 0 * * *", .fieldCount, "6 fields; write five fields"),
            ("@reboot", .unknownName, "write one of @hourly, @daily"),
            ("@daily 0 * * *", .unknownName, "write one of @hourly, @daily"),
            ("60 * * * *", .badValue, "minute cannot be \"60\"; write 0 to 59, or *"),
            ("-5 * * * *", .badValue, "minute cannot be \"\"; write 0 to 59, or *"),
            ("+5 * * * *", .badValue, "minute cannot be \"+5\""),
            ("5, * * * *", .badValue, "minute cannot be \"\""),
            ("99999999999999999999 * * * *", .badValue, "minute"),
            ("٣ * * * *", .badValue, "minute"),
            ("0 24 * * *", .badValue, "hour cannot be \"24\"; write 0 to 23, or *"),
            ("0 0 0 * *", .badValue, "day of month cannot be \"0\"; write 1 to 31, or *"),
            ("0 0 L * *", .badValue, "day of month cannot be \"L\""),
            ("0 0 ? * *", .badValue, "day of month cannot be \"?\""),
            ("0 0 * 13 *", .badValue, "month cannot be \"13\"; write 1 to 12 or JAN to DEC, or *"),
            ("0 0 * MON *", .badValue, "month cannot be \"MON\""),
            ("0 0 * * 8", .badValue, "day of week cannot be \"8\"; write 0 to 7 or SUN to SAT, or *"),
            ("0 0 * * monday", .badValue, "day of week cannot be \"monday\""),
            ("0 0 * * 1#2", .badValue, "day of week cannot be \"1#2\""),
            ("0 22-2 * * *", .badRange, "hour cannot be \"22-2\"; write a range from the lower value to"),
            ("0 1-2-3 * * *", .badRange, "hour cannot be \"1-2-3\""),
            ("*/0 * * * *", .badStep, "minute cannot be \"0\"; write a step of 1 to 59 after the /"),
            ("*/90 * * * *", .badStep, "minute cannot be \"90\"; write a step of 1 to 59"),
            ("*/ * * * *", .badStep, "minute cannot be \"\""),
            ("*/5/5 * * * *", .badStep, "minute cannot be \"5/5\""),
        ]
    )
    func namesMistake(text: String, code: CronError.Code, part: String) throws {
        let error = try #require(throws: CronError.self) { try CronExpression(text) }
        #expect(error.code == code)
        #expect(error.description.contains(part) && error.description.contains("\"\(text)\""))
    }
}

/// Looks at every minute, slowly, with Foundation's calendar: the rule of `CronExpression` said in another way.
private struct MinuteByMinute {
    let fields: [Field]
    let zone: TimeZone
    private let calendar: Calendar

    init(fields: [Field], zone: TimeZone) {
        self.fields = fields
        self.zone = zone
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        self.calendar = calendar
    }

    func runs(at moment: Date) -> Bool {
        let (offset, before) = (zone.secondsFromGMT(for: moment), zone.secondsFromGMT(for: moment - 60))
        let wall = moment + TimeInterval(offset)
        if fields[1].values.count == 24 { return admits(wall) }
        if admits(wall) { return !hasBeenShown(at: moment, offset: offset) }
        return stride(from: 60, through: offset - before, by: 60).contains { admits(wall - TimeInterval($0)) }
    }

    /// Whether the clock showed the same time in the three hours before.
    private func hasBeenShown(at moment: Date, offset: Int) -> Bool {
        guard zone.secondsFromGMT(for: moment - 10_800) != offset else { return false }
        return stride(from: 60, through: 10_800, by: 60).contains {
            zone.secondsFromGMT(for: moment - TimeInterval($0)) == offset + $0
        }
    }

    private func restricts(_ field: Int, of count: Int, beside other: Int) -> Bool {
        let isEvery = fields[field].values.count == count
        return fields[field].text != "*" && !(isEvery && fields[other].text.contains("*"))
    }

    private func admits(_ wall: Date) -> Bool {
        let parts = calendar.dateComponents([.minute, .hour, .day, .month, .weekday], from: wall)
        guard let minute = parts.minute, let hour = parts.hour, let day = parts.day, let month = parts.month,
            let weekday = parts.weekday
        else { return false }
        let isDay = fields[2].values.contains(day)
        let isWeekday = fields[4].values.contains(weekday - 1)
        let isEither = restricts(2, of: 31, beside: 4) && restricts(4, of: 7, beside: 2)
        return fields[0].values.contains(minute) && fields[1].values.contains(hour) && fields[3].values.contains(month)
            && (isEither ? isDay || isWeekday : isDay && isWeekday)
    }
}

/// A field as text and what it admits.
private struct Field {
    let text: String
    let values: Set<Int>

    static func random(_ range: ClosedRange<Int>, using generator: inout SplitMix64) -> Field {
        let low = Int.random(in: range, using: &generator)
        let high = Int.random(in: low...range.upperBound, using: &generator)
        let step = Int.random(in: 1...max(range.upperBound / 3, 1), using: &generator)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0...2: return Field(text: "*", values: Set(range))
        case 3: return Field(text: "*/\(step)", values: every(step, in: range))
        case 4: return Field(text: "\(low)-\(high)", values: Set(low...high))
        case 5: return Field(text: "\(low)-\(high)/\(step)", values: every(step, in: low...high))
        case 6: return Field(text: "\(low),\(high)", values: [low, high])
        default: return Field(text: "\(low)", values: [low])
        }
    }

    private static func every(_ step: Int, in range: ClosedRange<Int>) -> Set<Int> {
        Set(stride(from: range.lowerBound, through: range.upperBound, by: step))
    }
}

/// A generator with a seed, so that a failure can be run again.
private struct SplitMix64: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

@Suite("Cron expressions, random")
struct RandomCronExpressionTests {
    @Test("the next run is the first minute that matches")
    func findsFirstMinute() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed of the random cron expressions: \(seed)")
        var generator = SplitMix64(state: seed)
        let zones = [
            "UTC", "Asia/Seoul", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca",
        ]
        for _ in 0..<300 {
            let name = zones[Int.random(in: 0..<zones.count, using: &generator)]
            let zone = try #require(TimeZone(identifier: name))
            let fields = [0...59, 0...23, 1...31, 1...12, 0...6].map { Field.random($0, using: &generator) }
            let text = fields.map(\.text).joined(separator: " ")
            var start = Date(timeIntervalSince1970: .random(in: 1_700_000_000...2_000_000_000, using: &generator))
            // Every second case begins shortly before the clocks change.
            if Bool.random(using: &generator), let change = zone.nextDaylightSavingTimeTransition(after: start) {
                start = change - .random(in: -7_200...28_800, using: &generator)
            }
            let next = try CronExpression(text).next(after: start, in: zone)
            let rule = MinuteByMinute(fields: fields, zone: zone)
            let problem = "seed \(seed): \(text) in \(name) after \(start.formatted(.iso8601))"
            if let next { #expect(rule.runs(at: next), "\(problem) does not run at \(next.formatted(.iso8601))") }
            let end = min(next ?? .distantFuture, start + 2 * 86_400)
            var minute = Date(timeIntervalSince1970: (start.timeIntervalSince1970 / 60).rounded(.down) * 60 + 60)
            while minute < end {
                try #require(!rule.runs(at: minute), "\(problem) runs at \(minute.formatted(.iso8601)) already")
                minute += 60
            }
        }
    }
}
