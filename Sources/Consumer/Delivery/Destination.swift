import AMQP
import EventTopology
import Foundation

/// Where a message goes that could not be delivered: to a retry tier or to the dead letters.
struct Destination: Sendable, Equatable {
    /// Why a message is given up.
    struct Reason: Sendable, Equatable {
        /// The platform's answer, if it gave one.
        var status: Int?
        let error: String
        let fingerprint: String
        /// `BrokerNames.failedKey` or `poisonKey`.
        var key = BrokerNames.failedKey
    }

    /// The longest error text kept with a dead letter, in bytes.
    static let maximumErrorBytes = 2_048
    private static let deathHeaderPrefixes = ["x-first-death-", "x-last-death-"]
    private static let brokerHeaders: Set = ["x-death", "x-delivery-count"]

    let exchange: String
    let routingKey: String
    let headers: [String: AMQPField]

    /// Back to the forward queue after a tier's delay, or a tenth more, as `isLate` says.
    ///
    /// The broker forgets how often a moved message crashed a consumer, so it goes along; a request that ended,
    /// however, proves the message harmless, and `crashes` is 0 then.
    static func retry(
        tierMs: Int,
        isLate: Bool,
        failedAttempts: Int,
        crashes: Int = 0,
        headers: [String: AMQPField]
    ) -> Destination {
        var headers = kept(headers, failedAttempts: failedAttempts)
        headers[EventHeaders.crashes] = crashes > 0 ? .int64(Int64(crashes)) : nil
        return Destination(
            exchange: BrokerNames.retryExchange,
            routingKey: BrokerNames.retryKey(delayMs: tierMs, isLate: isLate),
            headers: headers
        )
    }

    /// To where it waits for a person.
    static func deadLetter(
        _ reason: Reason,
        failedAttempts: Int,
        at now: Date,
        headers: [String: AMQPField]
    ) -> Destination {
        var headers = kept(headers, failedAttempts: failedAttempts)
        headers[EventHeaders.crashes] = nil
        headers[DeadLetterHeaders.errorStatus] = reason.status.map { .int64(Int64($0)) }
        headers[DeadLetterHeaders.errorMessage] = .string(shortened(reason.error))
        headers[DeadLetterHeaders.fingerprint] = .string(reason.fingerprint)
        headers[DeadLetterHeaders.failedAt] = .string(
            now.formatted(Date.ISO8601FormatStyle(includingFractionalSeconds: true))
        )
        return Destination(exchange: BrokerNames.deadLetterExchange, routingKey: reason.key, headers: headers)
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

extension AMQPDelivery {
    /// How often a consumer died with it in hand.
    ///
    /// The broker counts each time that it comes back; a consumer that dies takes all with it that it had been given.
    var crashes: Int {
        deliveryCount + Int(clamping: min(1_000, max(0, headers[EventHeaders.crashes]?.integer ?? 0)))
    }
}
