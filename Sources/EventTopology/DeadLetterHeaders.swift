/// The AMQP headers that say why a message was given up, and what was done about it.
package enum DeadLetterHeaders {
    /// The platform's status (a 64-bit integer); absent when it never answered, or was never asked.
    package static let errorStatus = "x-error-status"
    /// What was wrong, in words; at most 2,048 bytes.
    package static let errorMessage = "x-error-message"
    /// Alike for failures of one cause: dead letters are grouped by it.
    package static let fingerprint = "x-fingerprint"
    /// When it was given up, RFC 3339 in UTC.
    package static let failedAt = "x-failed-at"
    /// How often an operator has sent it again (a 64-bit integer).
    package static let redriveCount = "x-redrive-count"
    /// The id of the last redrive.
    package static let redriveID = "x-redrive-id"
}
