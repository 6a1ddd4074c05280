package import OrderDomain

/// An error as every caller sees it: RFC 9457, `application/problem+json`.
package struct Problem: Error, Encodable, Sendable {
    struct ShortageAnswer: Encodable, Sendable {
        let productId: Int64
        let requested: Int64
        let available: Int64
    }

    /// The HTTP status.
    package let status: Int
    /// What programs look at; also the last part of `type`.
    package let code: String
    package let title: String
    package let detail: String
    package var requestId: String?
    /// Sent as `Retry-After`, in seconds.
    package var retryAfterSeconds: Int?
    var errors: [FieldError]?
    var shortages: [ShortageAnswer]?
    var balance: Int64?
    var required: Int64?

    private enum CodingKeys: String, CodingKey {
        case type, title, status, detail, code, requestId, errors, shortages, balance, required
    }

    /// Makes a problem.
    package init(status: Int, code: String, title: String, detail: String) {
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode("/problems/\(code)", forKey: .type)
        try container.encode(title, forKey: .title)
        try container.encode(status, forKey: .status)
        try container.encode(detail, forKey: .detail)
        try container.encode(code, forKey: .code)
        try container.encodeIfPresent(requestId, forKey: .requestId)
        try container.encodeIfPresent(errors, forKey: .errors)
        try container.encodeIfPresent(shortages, forKey: .shortages)
        try container.encodeIfPresent(balance, forKey: .balance)
        try container.encodeIfPresent(required, forKey: .required)
    }
}

extension Problem {
    /// 422 with everything that is wrong.
    package static func validation(_ failure: ValidationFailure) -> Problem {
        var problem = Problem(
            status: 422,
            code: "validation_failed",
            title: "The request is not valid",
            detail: failure.errors.map { "\($0.field) \($0.detail)" }.joined(separator: "; ")
        )
        problem.errors = failure.errors
        return problem
    }

    /// 400 for a body that is no JSON.
    package static func malformed(_ body: MalformedBody) -> Problem {
        Problem(status: 400, code: "malformed_body", title: "The body cannot be read", detail: body.detail)
    }

    /// 404 for a resource that is not there; `noun` is `user`, `product` or `order`.
    package static func notFound(_ noun: String, _ id: String) -> Problem {
        Problem(
            status: 404,
            code: "\(noun)_not_found",
            title: "There is no such \(noun)",
            detail: "there is no \(noun) with id \(id)"
        )
    }

    /// 503 with `Retry-After`: nothing was done, the same request may be sent again.
    package static func unavailable(_ code: String, _ detail: String, retryAfterSeconds: Int = 1) -> Problem {
        var problem = Problem(status: 503, code: code, title: "Not available at the moment", detail: detail)
        problem.retryAfterSeconds = retryAfterSeconds
        return problem
    }

    /// A refusal of the commit engine.
    package init(_ refusal: Refusal) {
        switch refusal {
        case .userNotFound(let id):
            self = .notFound("user", "\(id.rawValue)")
        case .productsNotFound(let ids):
            self = .notFound("product", list(ids))
        case .productsUnavailable(let ids):
            self.init(
                status: 409,
                code: "product_unavailable",
                title: "A product is not sold any more",
                detail: "discontinued: product \(list(ids))"
            )
        case .insufficientStock(let shortages):
            self.init(
                status: 409,
                code: "insufficient_stock",
                title: "There is not enough stock",
                detail: shortages.map {
                    "product \($0.productID.rawValue): \($0.requested) wanted, \($0.available) left"
                }
                .joined(separator: "; ")
            )
            self.shortages = shortages.map {
                ShortageAnswer(productId: $0.productID.rawValue, requested: $0.requested, available: $0.available)
            }
        case .insufficientBalance(let balance, let required):
            self.init(
                status: 409,
                code: "insufficient_balance",
                title: "The balance does not cover the order",
                detail: "the balance is \(balance.minorUnits) \(Money.currency), "
                    + "the order costs \(required.minorUnits) \(Money.currency)"
            )
            self.balance = balance.minorUnits
            self.required = required.minorUnits
        case .orderNotFound(let id):
            self = .notFound("order", id.text)
        case .orderNotCancellable(let status):
            self.init(
                status: 409,
                code: "order_not_cancellable",
                title: "The order cannot be cancelled any more",
                detail: "it is \(status.rawValue); only an order that is PAID or PREPARING can be cancelled"
            )
        case .invalidTransition(let from, let to):
            let next = OrderStatus.allCases.filter(from.canBecome).map(\.rawValue)
            self.init(
                status: 409,
                code: "invalid_transition",
                title: "The order cannot go to that state",
                detail: "from \(from.rawValue) it can go to "
                    + (next.isEmpty ? "no other state" : next.joined(separator: " or ")) + ", not to \(to.rawValue)"
            )
        case .versionMismatch(let current):
            self.init(
                status: 412,
                code: "precondition_failed",
                title: "It is in another version",
                detail: "the current ETag is \"\(current)\"; read it again before you change it"
            )
        case .amountTooLarge:
            self.init(
                status: 422,
                code: "amount_too_large",
                title: "The amount is too large",
                detail: "the total or the new balance would pass the largest amount that can be kept"
            )
        case .idempotencyKeyReused:
            self.init(
                status: 422,
                code: "idempotency_key_reused",
                title: "The idempotency key was used with another request",
                detail: "use a new Idempotency-Key for a new request, or send the first one again unchanged"
            )
        }
    }
}

private func list(_ products: [ProductID]) -> String {
    products.map { "\($0.rawValue)" }.joined(separator: ", ")
}
