import AMQP
import FoundationEssentials
import OrderStore

/// What is noted of a message that goes to the dead letters without a request, so that who asks for its order finds it.
extension DeliveryStore.Failed {
    /// Nil when the message does not name an event and an order.
    init?(givenUp delivery: AMQPDelivery, _ reason: Destination.Reason, attempts: Int, at now: Date) {
        guard let key = DeliveryStore.EventKey(namedBy: delivery) else { return nil }
        self.init(
            key: key,
            attempts: attempts,
            outcome: .deadLettered,
            status: reason.status,
            error: reason.error,
            fingerprint: reason.fingerprint,
            tierMs: nil,
            duration: .zero,
            attemptedAt: now
        )
    }
}

extension DeliveryStore.EventKey {
    private struct Names: Decodable {
        let id: String?
        let subject: String?

        private enum Key: String, CodingKey {
            case id, subject
        }

        init(from decoder: any Decoder) throws {
            let attributes = try decoder.container(keyedBy: Key.self)
            id = (try? attributes.decodeIfPresent(String.self, forKey: .id)) ?? nil
            subject = (try? attributes.decodeIfPresent(String.self, forKey: .subject)) ?? nil
        }
    }

    /// The event and the order that a message names, though it may be no CloudEvent: the order in its body, the event
    /// there or in its message id. Nil when it does not.
    init?(namedBy delivery: AMQPDelivery) {
        guard let names = try? JSONDecoder().decode(Names.self, from: Data(delivery.body)),
            let order = names.subject.flatMap(UUID.init(uuidString:)),
            let event = [names.id, delivery.messageID].lazy.compactMap({ $0.flatMap(UUID.init(uuidString:)) }).first
        else { return nil }
        self.init(orderID: order, eventID: event)
    }
}
