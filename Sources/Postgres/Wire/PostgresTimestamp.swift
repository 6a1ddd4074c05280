import FoundationEssentials

/// A `timestamptz` on the wire: microseconds since 2000-01-01 00:00 UTC.
enum PostgresTimestamp {
    /// From 2000-01-01, PostgreSQL's epoch, to 2001-01-01, Foundation's: a leap year.
    private static let epochOffsetSeconds: Int64 = 366 * 86_400
    /// 4714-11-24 BC to the end of AD 294276 (`timestamp.h`).
    private static let range: Range<Int64> = -211_813_488_000_000_000..<9_223_371_331_200_000_000

    /// The microseconds nearest to the date; nil when PostgreSQL cannot hold it.
    static func microseconds(of date: Date) -> Int64? {
        let seconds = date.timeIntervalSinceReferenceDate
        let whole = seconds.rounded(.down)
        // A second has a million microseconds, so this also keeps the multiplication below from overflowing.
        guard whole.magnitude < 9.3e12 else { return nil }
        let fraction = Int64(((seconds - whole) * 1_000_000).rounded())
        let (micros, overflow) = (Int64(whole) + epochOffsetSeconds).multipliedReportingOverflow(by: 1_000_000)
        guard !overflow, range.contains(micros) else { return nil }
        let sum = micros + fraction
        return range.contains(sum) ? sum : nil
    }

    /// The date nearest to the microseconds; nil for the infinities.
    static func date(ofMicroseconds microseconds: Int64) -> Date? {
        guard range.contains(microseconds) else { return nil }
        // Whole seconds apart from the fraction, so that neither loses a digit in the division.
        let (seconds, fraction) = microseconds.quotientAndRemainder(dividingBy: 1_000_000)
        return Date(timeIntervalSinceReferenceDate: Double(seconds - epochOffsetSeconds) + Double(fraction) / 1_000_000)
    }
}
