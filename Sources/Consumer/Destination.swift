import AMQP
import EventTopology
import Foundation

/// Where a message goes that could not be delivered: to a retry tier or to the dead letters.
struct Destination: Sendable, Equatable {
    /// The longest error text kept with a dead letter, in bytes.
    static let maximumErrorBytes = 2_048
    private static let deathHeaderPrefixes = ["x-first-death-", "x-last-death-"]
    private static let brokerHeaders: Set = ["x-death", "x-delivery-count"]

    let exchange: String
    let routingKey: String
    let headers: [String: AMQPField]

    /// Back to the forward queue after a tier's delay.
    static func retry(tierMs: Int, failedAttempts: Int, headers: [String: AMQPField]) -> Destination {
        Destination(
            exchange: BrokerNames.retryExchange,
            routingKey: "\(tierMs)",
            headers: kept(headers, failedAttempts: failedAttempts)
        )
    }

    /// To where it waits for a person; `status` is the platform's answer, if it gave one.
    static func deadLetter(
        status: Int?,
        error: String,
        failedAttempts: Int,
        at now: Date,
        headers: [String: AMQPField]
    ) -> Destination {
        var headers = kept(headers, failedAttempts: failedAttempts)
        headers[DeadLetterHeaders.errorStatus] = status.map { .int64(Int64($0)) }
        headers[DeadLetterHeaders.errorMessage] = .string(shortened(error))
        headers[DeadLetterHeaders.failedAt] = .string(
            now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        )
        return Destination(
            exchange: BrokerNames.deadLetterExchange,
            routingKey: BrokerNames.failedKey,
            headers: headers
        )
    }

    /// The publisher's headers without those that the broker writes itself or that can't be sent.
    private static func kept(_ headers: [String: AMQPField], failedAttempts: Int) -> [String: AMQPField] {
        var kept = headers.filter { name, value in
            if case .unsupported = value { return false }
            return !brokerHeaders.contains(name) && !deathHeaderPrefixes.contains { name.hasPrefix($0) }
        }
        kept[EventHeaders.attempt] = .int64(Int64(failedAttempts))
        return kept
    }

    /// As many whole characters as fit.
    private static func shortened(_ text: String) -> String {
        var shortened = ""
        var bytes = 0
        for character in text {
            bytes += character.utf8.count
            guard bytes <= maximumErrorBytes else { break }
            shortened.append(character)
        }
        return shortened
    }
}

extension AMQPMessage {
    /// The message of a delivery, on its way to somewhere else.
    init(_ delivery: AMQPDelivery, to destination: Destination) {
        self.init(
            exchange: destination.exchange,
            routingKey: destination.routingKey,
            body: delivery.body,
            contentType: delivery.contentType,
            messageID: delivery.messageID,
            type: delivery.type,
            appID: delivery.appID,
            timestamp: delivery.timestamp,
            headers: destination.headers
        )
    }
}
