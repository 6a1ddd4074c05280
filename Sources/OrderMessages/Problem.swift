package import OrderDomain

/// An error as every caller sees it: RFC 9457, `application/problem+json`.
package struct Problem: Error, FieldTable {
    private struct ShortagePart: FieldTable {
        let shortage: Shortage

        func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure) {
            try fields.integer("available", shortage.available)
            try fields.integer("productId", shortage.productID.rawValue)
            try fields.integer("requested", shortage.requested)
        }
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
    var shortages: [Shortage]?
    var balance: Int64?
    var required: Int64?

    /// Makes a problem.
    package init(status: Int, code: String, title: String, detail: String) {
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
    }

    /// The same bytes as ``encoded(_:)``, sooner.
    package var json: String { JSONText.string(of: self) }

    /// Writes every field, in alphabetical order.
    package func write<Writer: FieldWriter>(to fields: inout Writer) throws(Writer.Failure) {
        if let balance { try fields.integer("balance", balance) }
        try fields.text("code", code)
        try fields.text("detail", detail)
        if let errors { try fields.objects("errors", errors) }
        if let requestId { try fields.text("requestId", requestId) }
        if let required { try fields.integer("required", required) }
        if let shortages { try fields.objects("shortages", shortages.lazy.map(ShortagePart.init)) }
        try fields.integer("status", Int64(status))
        try fields.text("title", title)
        try fields.text("type", "/problems/\(code)")
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
            self.shortages = shortages
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
                title: "The resource is in another version",
                detail:
                    "If-Match does not name its present ETag, \"\(current)\"; read it again before sending this again"
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
