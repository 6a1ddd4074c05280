package import Foundation
import OrderMessages

/// A point in time as an operator says it.
package enum OperatorTime {
    private static let units: [Character: Double] = ["s": 1, "m": 60, "h": 3_600, "d": 86_400]

    /// Reads RFC 3339 (`2026-01-31T09:05:00Z`), or how long ago (`90s`, `15m`, `2h`, `3d`), which is to the second, so
    /// that it can be said again as what it was; nil for anything else.
    package static func parse(_ text: String, now: Date) -> Date? {
        if let unit = text.last.flatMap({ units[$0] }), let count = Int(text.dropLast()), count >= 0 {
            return Date(timeIntervalSince1970: (now.timeIntervalSince1970 - Double(count) * unit).rounded(.down))
        }
        return Date(rfc3339: text)
    }
}

/// Seconds as people say them: `850 ms`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 3 h`.
package func spoken(seconds: Double) -> String {
    let whole = Int(max(0, seconds).rounded(.down))
    func parts(_ unit: Int, _ name: String, _ smaller: Int, _ smallerName: String) -> String {
        let rest = whole % unit / smaller
        return "\(whole / unit) \(name)" + (rest > 0 ? " \(rest) \(smallerName)" : "")
    }
    return switch seconds {
    case ..<1: "\(Int((max(0, seconds) * 1_000).rounded())) ms"
    case ..<60: "\(whole) s"
    case ..<3_600: parts(60, "min", 1, "s")
    case ..<86_400: parts(3_600, "h", 60, "min")
    default: parts(86_400, "d", 3_600, "h")
    }
}

/// A number with a comma between thousands.
package func grouped(_ number: Int) -> String {
    var text = ""
    for (position, digit) in String(number.magnitude).reversed().enumerated() {
        if position > 0, position.isMultiple(of: 3) { text.append(",") }
        text.append(digit)
    }
    return (number < 0 ? "-" : "") + String(text.reversed())
}
