package import FoundationEssentials

extension Date {
    /// This time as every wire carries it: RFC 3339, UTC, milliseconds (`2026-01-31T09:05:00.250Z`).
    package var rfc3339: String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(24)
        bytes.append(rfc3339: self)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Reads a time in RFC 3339 in any zone, with or without fractions of a second; nil for anything else.
    package init?(rfc3339 text: String) {
        guard let date = try? ISO8601FormatStyle(includingFractionalSeconds: true).parse(text) else { return nil }
        self = date
    }
}

extension [UInt8] {
    /// Appends a time in RFC 3339.
    ///
    /// Whole-number arithmetic, so that a time read back from its text is the same time; the calendar is the one of
    /// "chrono-Compatible Low-Level Date Algorithms" (H. Hinnant), valid for the years 1 to 9999.
    mutating func append(rfc3339 time: Date) {
        let milliseconds = Int64((time.timeIntervalSince1970 * 1_000).rounded())
        let (days, inDay) = floorDivide(milliseconds, 86_400_000)
        let (year, month, day) = civil(fromDaysSince1970: days)
        append(twoDigits: year / 100)
        append(twoDigits: year % 100)
        append(UInt8(ascii: "-"))
        append(twoDigits: month)
        append(UInt8(ascii: "-"))
        append(twoDigits: day)
        append(UInt8(ascii: "T"))
        append(twoDigits: inDay / 3_600_000)
        append(UInt8(ascii: ":"))
        append(twoDigits: inDay / 60_000 % 60)
        append(UInt8(ascii: ":"))
        append(twoDigits: inDay / 1_000 % 60)
        append(UInt8(ascii: "."))
        append(twoDigits: inDay % 1_000 / 10)
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: inDay % 10))
        append(UInt8(ascii: "Z"))
    }

    private mutating func append(twoDigits number: Int64) {
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / 10 % 10))
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    }
}

private func floorDivide(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}

private func civil(fromDaysSince1970 days: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let (era, dayOfEra) = floorDivide(days + 719_468, 146_097)
    let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let shifted = (5 * dayOfYear + 2) / 153
    let month = shifted < 10 ? shifted + 3 : shifted - 9
    let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    return (year, month, dayOfYear - (153 * shifted + 2) / 5 + 1)
}
