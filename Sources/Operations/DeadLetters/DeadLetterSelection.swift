package import Foundation
import OrderMessages

/// Which dead letters an operator means.
package enum DeadLetterSelection: Equatable, Sendable {
    case event(String)
    case group(String)
    /// Given up at this time or later. Without a time it is not among them.
    case since(Date)
    case all

    /// Whether a dead letter is meant.
    package func matches(_ letter: DeadLetter) -> Bool {
        switch self {
        case .event(let id): letter.eventID.lowercased() == id.lowercased()
        case .group(let group): letter.group == group
        case .since(let time): letter.failedAt.map { $0 >= time } ?? false
        case .all: true
        }
    }
}

extension DeadLetterSelection: CustomStringConvertible {
    /// In the words of the command line, for the audit and for going on: "15m ago" is another time then, so it is not
    /// said like that.
    package var description: String {
        switch self {
        case .event(let id): "--id \(id)"
        case .group(let group): "--group \(group)"
        case .since(let time): "--since \(time.rfc3339)"
        case .all: "--all"
        }
    }
}
