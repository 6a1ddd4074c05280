package import AMQP
import Foundation
import OrderDomain
import OrderMessages

/// What is known of a dead letter in one line of a list.
package struct DeadLetterSummary: Encodable {
    let eventId: String
    let orderId: Nullable<String>
    let type: String
    let group: String
    let failedAt: Nullable<String>
    let status: Nullable<Int>
    let attempts: Int
    let redriveCount: Int
    let redriveId: Nullable<String>
    let error: String
    /// Whether `orderctl trace` shows it.
    let traced: Bool

    /// Takes from a dead letter what the line says.
    package init(_ letter: DeadLetter) {
        eventId = letter.eventID
        orderId = Nullable(letter.orderID?.text)
        type = letter.type
        group = letter.group
        failedAt = Nullable(letter.failedAt?.rfc3339)
        status = Nullable(letter.status)
        attempts = letter.attempts
        redriveCount = letter.redriveCount
        redriveId = Nullable(letter.redriveID)
        error = letter.error
        traced = letter.isTraced
    }
}

/// A whole message in JSON: the body as it is when it is JSON itself, otherwise as text, otherwise in base64.
package struct DeadLetterMessage {
    private let letter: DeadLetter

    /// The whole of this dead letter.
    package init(letter: DeadLetter) {
        self.letter = letter
    }

    private struct Head: Encodable {
        let eventId: String
        let orderId: String?
        let group: String
        let messageId: String?
        let type: String?
        let contentType: String?
        let appId: String?
        let timestamp: String?
        let exchange: String
        let routingKey: String
        let headers: [String: JSONField]
    }

    /// One line.
    package var json: String {
        get throws {
            let head = try encoded(
                Head(
                    eventId: letter.eventID,
                    orderId: letter.orderID?.text,
                    group: letter.group,
                    messageId: letter.delivery.messageID,
                    type: letter.delivery.type,
                    contentType: letter.delivery.contentType,
                    appId: letter.delivery.appID,
                    timestamp: letter.delivery.timestamp.map { Date(timeIntervalSince1970: Double($0)).rfc3339 },
                    exchange: letter.delivery.exchange,
                    routingKey: letter.delivery.routingKey,
                    headers: letter.delivery.headers.mapValues(JSONField.init)
                )
            )
            return try "\(head.dropLast()),\(body)}"
        }
    }

    private var body: String {
        get throws {
            let bytes = letter.delivery.body
            guard let text = String(validating: bytes, as: UTF8.self) else {
                return #""bodyBase64":"\#(Data(bytes).base64EncodedString())""#
            }
            let isJSON = (try? JSONSerialization.jsonObject(with: Data(bytes), options: .fragmentsAllowed)) != nil
            // Line breaks between the tokens mean nothing, and within a string there are none.
            let line = String(decoding: bytes.map { $0 == 0x0A || $0 == 0x0D ? 0x20 : $0 }, as: UTF8.self)
            return isJSON ? #""body":\#(line)"# : #""body":\#(try encoded(text))"#
        }
    }
}

/// A header's value in JSON; bytes in base64, times in RFC 3339.
package struct JSONField: Encodable {
    private let field: AMQPField

    /// The value of this header.
    package init(_ field: AMQPField) {
        self.field = field
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch field {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .int32(let value): try container.encode(value)
        case .int64(let value): try container.encode(value)
        case .double(let value): try container.encode(value.isFinite ? value : 0)
        case .decimal(let scale, let value): try container.encode("\(value)e-\(scale)")
        case .string(let value): try container.encode(value)
        case .bytes(let value): try container.encode(Data(value).base64EncodedString())
        case .timestamp(let value): try container.encode(Date(timeIntervalSince1970: Double(value)).rfc3339)
        case .array(let values): try container.encode(values.map(JSONField.init))
        case .table(let values): try container.encode(values.mapValues(JSONField.init))
        case .unsupported(let kind): try container.encode("a value of the kind \(kind)")
        }
    }
}
