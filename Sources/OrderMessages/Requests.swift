package import FoundationEssentials
package import OrderDomain

/// A body that cannot be read at all (answered as 400).
package struct MalformedBody: Error, Hashable, Sendable {
    package let detail: String
}

/// Reads a body into one request type; every request is made here, so every one is validated alike.
///
/// - Throws: ``MalformedBody`` when it is no JSON, ``ValidationFailure`` with everything that is wrong in it.
private func read<Request>(_ body: Data, _ make: (inout FieldReader) -> Request?) throws -> Request {
    let value: JSONValue
    do {
        value = try JSONValue(parsing: body)
    } catch {
        throw MalformedBody(detail: "the body is not valid JSON in UTF-8")
    }
    var reader = FieldReader(value)
    let request = reader.errors.isEmpty ? make(&reader) : nil
    let errors = reader.finished()
    guard let request, errors.isEmpty else { throw ValidationFailure(errors) }
    return request
}

/// `POST /v1/users`
package struct CreateUserRequest: Hashable, Sendable {
    package let name: String
    package let email: String

    /// Reads the body; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        self = try read(body) { fields in
            let name = fields.text("name", length: 1...200)
            let email = fields.text("email", length: 3...254).flatMap { text -> String? in
                guard !CreateUserRequest.isAddress(text) else { return text }
                return fields.note("email", "invalid", "must be an e-mail address, like mina@example.com")
            }
            guard let name, let email else { return nil }
            return CreateUserRequest(name: name, email: email)
        }
    }

    private init(name: String, email: String) {
        self.name = name
        self.email = email
    }

    /// One @ with something on both sides and no space: who owns it only a message to it can tell.
    private static func isAddress(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        return parts.count == 2 && parts.allSatisfy { !$0.isEmpty } && !text.contains(where: \.isWhitespace)
    }
}

/// `POST /v1/users/{id}/balance/charges`
package struct ChargeRequest: Hashable, Sendable {
    package let amount: Money

    /// Reads the body; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        self = try read(body) { fields in
            fields.integer("amount", in: OrderLimits.chargeAmount)
                .map { ChargeRequest(amount: Money(minorUnits: $0)) }
        }
    }

    private init(amount: Money) {
        self.amount = amount
    }
}

/// `POST /v1/products`
package struct CreateProductRequest: Hashable, Sendable {
    package let name: String
    package let price: Money
    package let stock: Int64
    package let description: String?
    package let category: String?

    /// Reads the body; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        self = try read(body) { fields in
            let name = fields.text("name", length: 1...200)
            let price = fields.integer("price", in: OrderLimits.price)
            let stock = fields.integer("stock", in: OrderLimits.stock)
            let description = fields.optionalText("description", length: 0...5_000)
            let category = fields.optionalText("category", length: 1...100)
            guard let name, let price, let stock else { return nil }
            return CreateProductRequest(
                name: name,
                price: Money(minorUnits: price),
                stock: stock,
                description: description,
                category: category
            )
        }
    }

    private init(name: String, price: Money, stock: Int64, description: String?, category: String?) {
        self.name = name
        self.price = price
        self.stock = stock
        self.description = description
        self.category = category
    }
}

/// `PATCH /v1/products/{id}`
package struct UpdateProductRequest: Hashable, Sendable {
    package let changes: ProductChanges

    /// Reads the body; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        self = try read(body) { fields in
            var changes = ProductChanges()
            if fields.isPresent("name") { changes.name = fields.text("name", length: 1...200) }
            if fields.isPresent("price") {
                changes.price = fields.integer("price", in: OrderLimits.price).map { Money(minorUnits: $0) }
            }
            if fields.isPresent("status") { changes.status = fields.choice("status") }
            if fields.isPresent("description") {
                changes.description = .some(fields.optionalText("description", length: 0...5_000))
            }
            if fields.isPresent("category") {
                changes.category = .some(fields.optionalText("category", length: 1...100))
            }
            guard changes != ProductChanges() || !fields.errors.isEmpty else {
                return fields.note("body", "required", "must name at least one field to change")
            }
            return UpdateProductRequest(changes: changes)
        }
    }

    private init(changes: ProductChanges) {
        self.changes = changes
    }
}

/// `POST /v1/products/{id}/stock-adjustments`
package struct AdjustStockRequest: Hashable, Sendable {
    package let delta: Int64
    package let reason: String

    /// Reads the body; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        self = try read(body) { fields in
            let delta = fields.integer("delta", in: OrderLimits.stockDelta).flatMap { delta -> Int64? in
                guard delta == 0 else { return delta }
                return fields.note("delta", "out_of_range", "must not be 0")
            }
            let reason = fields.text("reason", length: OrderLimits.reason)
            guard let delta, let reason else { return nil }
            return AdjustStockRequest(delta: delta, reason: reason)
        }
    }

    private init(delta: Int64, reason: String) {
        self.delta = delta
        self.reason = reason
    }
}

/// `POST /v1/orders/{id}/cancel`
package struct CancelOrderRequest: Hashable, Sendable {
    package let reason: String?

    /// Reads the body, which may be empty; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        guard !body.isEmpty else {
            reason = nil
            return
        }
        self = try read(body) { fields in
            CancelOrderRequest(reason: fields.optionalText("reason", length: OrderLimits.reason))
        }
    }

    private init(reason: String?) {
        self.reason = reason
    }
}

/// `POST /v1/orders/{id}/transitions`
package struct TransitionRequest: Hashable, Sendable {
    package let to: OrderStatus
    package let reason: String?

    /// Reads the body; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        self = try read(body) { fields in
            let to: OrderStatus? = fields.choice("to")
            let reason = fields.optionalText("reason", length: OrderLimits.reason)
            return to.map { TransitionRequest(to: $0, reason: reason) }
        }
    }

    private init(to: OrderStatus, reason: String?) {
        self.to = to
        self.reason = reason
    }
}

/// `POST /v1/orders`
package struct PlaceOrderRequest: Hashable, Sendable {
    package let userID: UserID
    /// Each product once: lines of one product are summed, at the place of the first.
    package let lines: [BasketLine]

    /// Reads the body; throws ``MalformedBody`` or ``ValidationFailure``.
    package init(parsing body: Data) throws {
        if let (user, lines) = PlainOrderReader.read([UInt8](body)) {
            self.init(userID: user, lines: PlaceOrderRequest.summed(lines))
        } else {
            try self.init(strictlyParsing: body)
        }
    }

    /// Reads any body, and tells what is wrong with one that is not right; throws as ``init(parsing:)`` does.
    package init(strictlyParsing body: Data) throws {
        self = try read(body) { fields in
            let user = fields.integer("userId", in: 1...Int64.max).flatMap(UserID.init)
            let lines = fields.list("items", count: OrderLimits.lines, PlaceOrderRequest.line)
            guard let user, let lines else { return nil }
            return PlaceOrderRequest(userID: user, lines: PlaceOrderRequest.summed(lines))
        }
    }

    /// Who orders by a body, right or wrong; nil when it does not say.
    package static func user(of body: Data) -> UserID? {
        guard let value = try? JSONValue(parsing: body) else { return nil }
        var fields = FieldReader(value)
        return fields.integer("userId", in: 1...Int64.max).flatMap(UserID.init)
    }

    private init(userID: UserID, lines: [BasketLine]) {
        self.userID = userID
        self.lines = lines
    }

    private static func line(_ fields: inout FieldReader) -> BasketLine? {
        let range = Int64(OrderLimits.lineQuantity.lowerBound)...Int64(OrderLimits.lineQuantity.upperBound)
        let product = fields.integer("productId", in: 1...Int64.max).flatMap(ProductID.init)
        let quantity = fields.integer("quantity", in: range).flatMap { Quantity(Int($0)) }
        guard let product, let quantity else { return nil }
        return BasketLine(productID: product, quantity: quantity)
    }

    /// 50 lines of 1,000 pieces stay far below ``OrderDomain/Quantity/range``, so no sum is ever lost; and so few lines
    /// are searched sooner than hashed.
    private static func summed(_ lines: [BasketLine]) -> [BasketLine] {
        var sums: [BasketLine] = []
        sums.reserveCapacity(lines.count)
        for line in lines {
            if let place = sums.firstIndex(where: { $0.productID == line.productID }) {
                let sum = sums[place].quantity.adding(line.quantity) ?? sums[place].quantity
                sums[place] = BasketLine(productID: line.productID, quantity: sum)
            } else {
                sums.append(line)
            }
        }
        return sums
    }
}
