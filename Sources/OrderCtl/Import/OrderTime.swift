/// A time with its zone in text (RFC 3339): `2026-01-31T09:05:00+09:00`, `2026-01-31 00:05:00.250Z`.
enum OrderTime {
    enum Fault: Error {
        /// Whose time of day it is cannot be known.
        case hasNoZone
        case isNoTime
    }

    /// Milliseconds since 1970, rounded down.
    ///
    /// Throws when it is no such text or no such day; the years 1970 to 9999 are known. A leap second is none.
    static func milliseconds(_ text: some Collection<UInt8>) throws(Fault) -> Int64 {
        var rest = Array(text)[...]
        let year = try number(&rest, digits: 4, in: 1970...9999)
        try take(&rest, "-")
        let month = try number(&rest, digits: 2, in: 1...12)
        try take(&rest, "-")
        let day = try number(&rest, digits: 2, in: 1...daysOf(month, year))
        try take(&rest, "T", "t", " ")
        let hour = try number(&rest, digits: 2, in: 0...23)
        try take(&rest, ":")
        let minute = try number(&rest, digits: 2, in: 0...59)
        try take(&rest, ":")
        let second = try number(&rest, digits: 2, in: 0...59)
        let fraction = try milliseconds(ofFraction: &rest)
        let offset = try offsetMinutes(&rest)
        let minutes = (days(year, month, day) * 24 + hour) * 60 + minute - offset
        let milliseconds = (minutes * 60 + second) * 1_000 + fraction
        guard milliseconds >= 0 else { throw .isNoTime }
        return milliseconds
    }

    private static func take(_ rest: inout ArraySlice<UInt8>, _ choices: Unicode.Scalar...) throws(Fault) {
        guard let byte = rest.popFirst(), choices.contains(Unicode.Scalar(byte)) else { throw .isNoTime }
    }

    private static func number(
        _ rest: inout ArraySlice<UInt8>,
        digits: Int,
        in range: ClosedRange<Int64>
    ) throws(Fault) -> Int64 {
        var number: Int64 = 0
        for _ in 0..<digits {
            guard let byte = rest.popFirst(), isDigit(byte) else { throw .isNoTime }
            number = number * 10 + Int64(byte - UInt8(ascii: "0"))
        }
        guard range.contains(number) else { throw .isNoTime }
        return number
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    /// One to nine digits behind a point; 0 when there is none.
    private static func milliseconds(ofFraction rest: inout ArraySlice<UInt8>) throws(Fault) -> Int64 {
        guard rest.first == UInt8(ascii: ".") else { return 0 }
        let digits = rest.dropFirst().prefix(while: isDigit)
        guard (1...9).contains(digits.count) else { throw .isNoTime }
        rest = rest.dropFirst(1 + digits.count)
        return (0..<3).reduce(0) { value, index in
            let digit = index < digits.count ? digits[digits.startIndex + index] - UInt8(ascii: "0") : 0
            return value * 10 + Int64(digit)
        }
    }

    /// `Z` or `±hh:mm`, and nothing behind it.
    private static func offsetMinutes(_ rest: inout ArraySlice<UInt8>) throws(Fault) -> Int64 {
        guard let sign = rest.popFirst() else { throw .hasNoZone }
        switch sign {
        case UInt8(ascii: "Z"), UInt8(ascii: "z"):
            guard rest.isEmpty else { throw .isNoTime }
            return 0
        case UInt8(ascii: "+"), UInt8(ascii: "-"):
            let hours = try number(&rest, digits: 2, in: 0...23)
            try take(&rest, ":")
            let minutes = try number(&rest, digits: 2, in: 0...59)
            guard rest.isEmpty else { throw .isNoTime }
            return (hours * 60 + minutes) * (sign == UInt8(ascii: "-") ? -1 : 1)
        default: throw .isNoTime
        }
    }

    private static func daysOf(_ month: Int64, _ year: Int64) -> Int64 {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// Days since 1970-01-01 ("chrono-Compatible Low-Level Date Algorithms", H. Hinnant), for years from 1970 on.
    private static func days(_ year: Int64, _ month: Int64, _ day: Int64) -> Int64 {
        let shiftedYear = month <= 2 ? year - 1 : year
        let (era, yearOfEra) = (shiftedYear / 400, shiftedYear % 400)
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }
}
