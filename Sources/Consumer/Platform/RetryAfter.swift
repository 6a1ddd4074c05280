import Foundation

/// The header `Retry-After` (RFC 9110, section 10.2.3): whole seconds or an HTTP date.
enum RetryAfter {
    /// How long to wait; nil when the text is neither. A date that has passed is zero.
    static func duration(_ text: String, now: Date) -> Duration? {
        if let seconds = UInt32(text) { return .seconds(seconds) }
        let dates = DateFormatter()
        dates.locale = Locale(identifier: "en_US_POSIX")
        dates.timeZone = .gmt
        dates.dateFormat = "EEE, dd MMM yyyy HH:mm:ss 'GMT'"
        return dates.date(from: text).map { .seconds(max(0, $0.timeIntervalSince(now))) }
    }
}
