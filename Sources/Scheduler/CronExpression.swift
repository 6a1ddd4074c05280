import Foundation

/// When a job runs: five fields of which each says which values of a local time it admits.
///
///     minute  hour  day of month  month        day of week
///     0-59    0-23  1-31          1-12 or JAN  0-7 or SUN (0 and 7 are Sunday)
///
/// A field is `*` or a list of values, ranges `a-b`, and steps `*/n`, `a-b/n` and `a/n` (from `a` to the field's end).
/// Names have three letters in any case. When both day of month and day of week restrict the days, a day matches if
/// either does; otherwise it must match both. Every field but `*` restricts, except that one of all values does not
/// beside one with a `*` in it (`0-6` beside `*/2`). `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly`, `@yearly`
/// and `@annually` stand for the usual five fields.
///
/// When clocks change:
/// - An expression that admits all 24 hours runs whenever the clock shows a time that matches: twice in an hour that
///   comes twice, never in an hour that is left out.
/// - Every other expression runs once for each time that matches: for one that comes twice at its first coming, for one
///   that is left out at the first minute after the gap (several such times, one run).
///
/// Vixie cron's rule is close to this, but goes by a `*` at the start of the minutes or hours, so also by `*/2`.
/// Equality compares what the fields admit, not how they are written.
struct CronExpression: Sendable, Equatable {
    private let minutes: UInt64
    private let hours: UInt64
    private let days: UInt64
    private let months: UInt64
    private let weekdays: UInt64
    private let isEitherDayEnough: Bool

    /// Reads an expression; the error names the field and what would be right.
    init(_ text: String) throws(CronError) {
        let words = try Self.words(of: text)
        minutes = try CronField.minute.parse(words[0], in: text)
        hours = try CronField.hour.parse(words[1], in: text)
        days = try CronField.dayOfMonth.parse(words[2], in: text)
        months = try CronField.month.parse(words[3], in: text)
        weekdays = try CronField.dayOfWeek.parse(words[4], in: text)
        isEitherDayEnough =
            Self.restricts(words[2], isEvery: days == CronField.dayOfMonth.everyValue, beside: words[4])
            && Self.restricts(words[4], isEvery: weekdays == CronField.dayOfWeek.everyValue, beside: words[2])
    }

    private static func restricts(_ field: Substring, isEvery: Bool, beside other: Substring) -> Bool {
        !(isEvery && (field.split(separator: ",").contains("*") || other.contains("*")))
    }

    private static func words(of text: String) throws(CronError) -> [Substring] {
        let words = text.split { $0 == " " || $0 == "\t" }
        guard words.first?.hasPrefix("@") == true else {
            guard words.count == 5 else {
                throw CronError(.fieldCount, "\"\(text)\" has \(words.count) fields; write \(CronError.shape)")
            }
            return words
        }
        let fields: String? =
            switch words.joined(separator: " ").lowercased() {
            case "@hourly": "0 * * * *"
            case "@daily", "@midnight": "0 0 * * *"
            case "@weekly": "0 0 * * 0"
            case "@monthly": "0 0 1 * *"
            case "@yearly", "@annually": "0 0 1 1 *"
            default: nil
            }
        guard let fields else {
            let known = "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"
            throw CronError(.unknownName, "\"\(text)\" is not known; write one of \(known), or \(CronError.shape)")
        }
        return fields.split(separator: " ")
    }

    /// The first run after a moment, always a whole minute of the zone's clock.
    ///
    /// `nil` when no date can ever match, such as the 30th of February, or when the moment lies outside of the years
    /// 1 to 9999. Costs a few steps for each month in between, and for each change of the clocks.
    func next(after moment: Date, in zone: TimeZone) -> Date? {
        let seconds = moment.timeIntervalSince1970
        guard (-62_135_596_800.0..<253_402_300_800).contains(seconds) else { return nil }
        let now = Int(seconds.rounded(.down))
        let clock = Clock(zone: zone)
        let found = hours == CronField.hour.everyValue ? nextShown(after: now, clock) : nextOnce(after: now, clock)
        return found.map { Date(timeIntervalSince1970: TimeInterval($0)) }
    }

    /// The next moment at which the clock shows a time that matches.
    private func nextShown(after now: Int, _ clock: Clock) -> Int? {
        var stretch = clock.stretch(at: now)
        var start = (now + stretch.offset).wholeMinute(above: true)
        while let wall = nextWall(from: start) {
            let moment = wall - stretch.offset
            guard let end = stretch.end, moment >= end else { return moment }
            stretch = clock.stretch(at: end)
            start = (end + stretch.offset).wholeMinute(above: false)
        }
        return nil
    }

    /// The next moment at which a time that matches comes for the first time, or would have come.
    private func nextOnce(after now: Int, _ clock: Clock) -> Int? {
        var start = (now + clock.stretch(at: now).offset).wholeMinute(above: true)
        // After the clock was set back it shows again what it has shown before.
        var stretch = clock.stretch(at: now - Self.day)
        while let end = stretch.end, end <= now {
            start = max(start, (end + stretch.offset).wholeMinute(above: false))
            stretch = clock.stretch(at: end)
        }
        return nextWall(from: start).map(clock.firstMoment)
    }

    /// The first time at or after `wall` that matches, both in seconds since 1970 as the clock on the wall shows it;
    /// `nil` when there is none in the 8 years that can lie between two 29ths of February.
    private func nextWall(from wall: Int) -> Int? {
        var (dayNumber, second) = wall.quotientAndRemainder(flooredBy: Self.day)
        var date = CivilDate(dayNumber: dayNumber)
        let lastYear = date.year + 9
        while date.year <= lastYear {
            guard months.contains(date.month) else {
                date = date.firstOfNextMonth
                (dayNumber, second) = (date.dayNumber, 0)
                continue
            }
            if matches(date, dayNumber: dayNumber), let found = timeOfDay(from: second / 60) {
                return dayNumber * Self.day + found * 60
            }
            (dayNumber, second) = (dayNumber + 1, 0)
            date = CivilDate(dayNumber: dayNumber)
        }
        return nil
    }

    private func matches(_ date: CivilDate, dayNumber: Int) -> Bool {
        // 1 January 1970, day 0, was a Thursday.
        let weekday = (dayNumber + 4).quotientAndRemainder(flooredBy: 7).remainder
        let (isDay, isWeekday) = (days.contains(date.day), weekdays.contains(weekday))
        return isEitherDayEnough ? isDay || isWeekday : isDay && isWeekday
    }

    /// The first minute of a day, at or after the given one, that matches.
    private func timeOfDay(from minute: Int) -> Int? {
        let (hour, rest) = minute.quotientAndRemainder(dividingBy: 60)
        if hours.contains(hour), let found = minutes.firstValue(from: rest) { return hour * 60 + found }
        guard let later = hours.firstValue(from: hour + 1), let first = minutes.firstValue(from: 0) else { return nil }
        return later * 60 + first
    }

    fileprivate static let day = 86_400
}

/// Why a text is no cron expression.
struct CronError: Error, Equatable, CustomStringConvertible {
    /// The kind of mistake.
    enum Code: String, Sendable {
        case fieldCount, unknownName, badValue, badRange, badStep
    }

    static let shape = "five fields: minute hour day-of-month month day-of-week, as in \"0 3 * * MON-FRI\""

    let code: Code
    /// Names the field and what would be right.
    let description: String

    init(_ code: Code, _ problem: String) {
        self.code = code
        description = "cron expression \(problem)"
    }
}

/// One of the five fields: its values and how they are written. A set of values is a word with a bit for each.
private struct CronField {
    let name: String
    let values: ClosedRange<Int>
    /// Names of the values, the first one's first.
    let names: [String]

    static let minute = CronField(name: "minute", values: 0...59, names: [])
    static let hour = CronField(name: "hour", values: 0...23, names: [])
    static let dayOfMonth = CronField(name: "day of month", values: 1...31, names: [])
    static let month = CronField(
        name: "month",
        values: 1...12,
        names: ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
    )
    static let dayOfWeek = CronField(
        name: "day of week",
        values: 0...6,
        names: ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
    )

    var everyValue: UInt64 {
        values.reduce(0) { $0 | 1 << UInt64($1) }
    }

    private var isDayOfWeek: Bool { values == 0...6 }

    func parse(_ text: Substring, in expression: String) throws(CronError) -> UInt64 {
        var set: UInt64 = 0
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let parts = item.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
            let step = parts.count == 2 ? try self.step(parts[1], in: expression) : nil
            let range = try self.range(parts[0], isOpen: step != nil, in: expression)
            for value in stride(from: range.lowerBound, through: range.upperBound, by: step ?? 1) {
                set |= 1 << UInt64(isDayOfWeek ? value % 7 : value)
            }
        }
        return set
    }

    /// A range, a single value, or with `isOpen` all values from one on.
    private func range(_ text: Substring, isOpen: Bool, in expression: String) throws(CronError) -> ClosedRange<Int> {
        if text == "*" { return values }
        let bounds = text.split(separator: "-", omittingEmptySubsequences: false)
        var first = try value(bounds[0], in: expression)
        guard bounds.count > 1 else {
            let low = isDayOfWeek ? first % 7 : first
            return low...(isOpen ? values.upperBound : low)
        }
        var last = try value(bounds[1], in: expression)
        // SAT-SUN and 7-1 go upwards too.
        if isDayOfWeek, last == 0, first > 0 { last = 7 }
        if isDayOfWeek, first == 7, last < 7 { first = 0 }
        guard bounds.count == 2, first <= last else {
            throw error(.badRange, text, in: expression, right: "a range from the lower value to the higher one")
        }
        return first...last
    }

    private func value(_ text: Substring, in expression: String) throws(CronError) -> Int {
        if let index = names.firstIndex(of: text.uppercased()) { return values.lowerBound + index }
        let highest = isDayOfWeek ? 7 : values.upperBound
        guard let value = Self.number(text), value >= values.lowerBound, value <= highest else {
            let named = names.isEmpty ? "" : " or \(names[0]) to \(names[names.count - 1])"
            let right = "\(values.lowerBound) to \(highest)\(named), or *"
            throw error(.badValue, text, in: expression, right: right)
        }
        return value
    }

    private func step(_ text: Substring, in expression: String) throws(CronError) -> Int {
        guard let step = Self.number(text), step >= 1, step <= values.upperBound else {
            throw error(.badStep, text, in: expression, right: "a step of 1 to \(values.upperBound) after the /")
        }
        return step
    }

    private static func number(_ text: Substring) -> Int? {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) } ? Int(text) : nil
    }

    private func error(_ code: CronError.Code, _ text: Substring, in expression: String, right: String) -> CronError {
        CronError(code, "\"\(expression)\": \(name) cannot be \"\(text)\"; write \(right)")
    }
}

/// The offsets of a zone's clock from UTC, in seconds since 1970 and seconds.
private struct Clock {
    let zone: TimeZone

    /// The offset that holds at a moment, and when it ends.
    func stretch(at moment: Int) -> (offset: Int, end: Int?) {
        let date = Date(timeIntervalSince1970: TimeInterval(moment))
        let end = zone.nextDaylightSavingTimeTransition(after: date)
        return (zone.secondsFromGMT(for: date), end.map { Int($0.timeIntervalSince1970) })
    }

    /// When the clock shows a time first; the first whole minute after it if the clock leaves it out.
    func firstMoment(of wall: Int) -> Int {
        // No zone is as far from UTC as a day.
        var start = wall - CronExpression.day
        while true {
            let stretch = stretch(at: start)
            let moment = wall - stretch.offset
            if moment < start { return (start + stretch.offset).wholeMinute(above: false) - stretch.offset }
            guard let end = stretch.end, moment >= end else { return moment }
            start = end
        }
    }
}

/// A day of the Gregorian calendar.
private struct CivilDate {
    let year: Int
    let month: Int
    let day: Int

    var firstOfNextMonth: CivilDate {
        CivilDate(year: month == 12 ? year + 1 : year, month: month % 12 + 1, day: 1)
    }

    /// Days since 1 January 1970.
    ///
    /// Years are taken to begin in March, so that the leap day is their last, and counted in cycles of 400 years, which
    /// have 146,097 days (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", 2013).
    var dayNumber: Int {
        let (cycle, yearOfCycle) = (month > 2 ? year : year - 1).quotientAndRemainder(flooredBy: 400)
        let dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1
        return cycle * 146_097 + yearOfCycle * 365 + yearOfCycle / 4 - yearOfCycle / 100 + dayOfYear - 719_468
    }

    init(year: Int, month: Int, day: Int) {
        (self.year, self.month, self.day) = (year, month, day)
    }

    /// The inverse of ``dayNumber``.
    init(dayNumber: Int) {
        let (cycle, dayOfCycle) = (dayNumber + 719_468).quotientAndRemainder(flooredBy: 146_097)
        let leapless = dayOfCycle - dayOfCycle / 1_460 + dayOfCycle / 36_524 - dayOfCycle / 146_096
        let yearOfCycle = leapless / 365
        let dayOfYear = dayOfCycle - (365 * yearOfCycle + yearOfCycle / 4 - yearOfCycle / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        month = (monthFromMarch + 2) % 12 + 1
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        year = cycle * 400 + yearOfCycle + (month <= 2 ? 1 : 0)
    }
}

extension UInt64 {
    fileprivate func contains(_ value: Int) -> Bool {
        self >> UInt64(value) & 1 == 1
    }

    /// The lowest value of the set that is not below the given one.
    fileprivate func firstValue(from value: Int) -> Int? {
        let rest = self >> UInt64(value)
        return rest == 0 ? nil : value + rest.trailingZeroBitCount
    }
}

extension Int {
    /// Division that rounds down, so that the remainder is never negative.
    fileprivate func quotientAndRemainder(flooredBy divisor: Int) -> (quotient: Int, remainder: Int) {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
    }

    /// These seconds as the next whole minute: always a later one with `above`, else the same if they are one.
    fileprivate func wholeMinute(above: Bool) -> Int {
        let (minute, rest) = quotientAndRemainder(flooredBy: 60)
        return rest > 0 || above ? (minute + 1) * 60 : self
    }
}
