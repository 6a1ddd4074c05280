import Foundation
import OrderMessages

/// Dead letters counted by what they failed of.
package struct DeadLetterGroups {
    /// Failures of one cause.
    package struct Group: Encodable, Sendable {
        package let group: String
        package fileprivate(set) var messages: Int
        package fileprivate(set) var oldestFailedAt: String?
        package fileprivate(set) var newestFailedAt: String?
        /// Of the first.
        package let status: Int?
        /// Of the first.
        package let error: String

        fileprivate init(_ letter: DeadLetter) {
            group = letter.group
            messages = 0
            status = letter.status
            error = letter.error
        }
    }

    private let maximum: Int
    private var groups: [String: Group] = [:]
    /// Dead letters beyond the most groups that are kept.
    package private(set) var uncounted = 0

    /// Counts up to `maximum` groups.
    package init(maximum: Int) {
        self.maximum = maximum
    }

    /// Counts one more.
    package mutating func add(_ letter: DeadLetter) {
        guard groups.count < maximum || groups[letter.group] != nil else {
            uncounted += 1
            return
        }
        // RFC 3339 in UTC sorts as text.
        let failedAt = letter.failedAt?.rfc3339
        var group = groups[letter.group] ?? Group(letter)
        group.messages += 1
        if let failedAt {
            group.oldestFailedAt = min(group.oldestFailedAt ?? failedAt, failedAt)
            group.newestFailedAt = max(group.newestFailedAt ?? failedAt, failedAt)
        }
        groups[letter.group] = group
    }

    /// The largest first.
    package var sorted: [Group] {
        groups.values.sorted { ($1.messages, $0.group) < ($0.messages, $1.group) }
    }
}
