package import OrderDomain

/// Reads the order that nearly every client sends, `{"userId":1,"items":[{"productId":2,"quantity":3}]}`, straight from
/// its bytes: members in any order, spaces anywhere, whole numbers of at most 18 digits without sign.
///
/// It knows right bodies only. Whatever else it meets, it gives up, and ``JSONParser`` and ``FieldReader`` decide what
/// the body is and what is wrong with it; so it may be narrow, but must never take what those refuse.
package struct PlainOrderReader {
    private let bytes: [UInt8]
    private var index = 0

    private init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The user and the lines as they were sent, or nil when the body is not of this form.
    package static func read(_ bytes: [UInt8]) -> (user: UserID, lines: [BasketLine])? {
        var reader = PlainOrderReader(bytes)
        guard let order = reader.order() else { return nil }
        reader.skipSpace()
        return reader.index == bytes.count ? order : nil
    }

    private mutating func order() -> (user: UserID, lines: [BasketLine])? {
        var user: UserID?
        var lines: [BasketLine]?
        guard take(UInt8(ascii: "{")) else { return nil }
        repeat {
            if user == nil, take("\"userId\"") {
                guard take(UInt8(ascii: ":")), let id = number().flatMap(UserID.init) else { return nil }
                user = id
            } else if lines == nil, take("\"items\"") {
                guard take(UInt8(ascii: ":")), let items = items() else { return nil }
                lines = items
            } else {
                return nil
            }
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")), let user, let lines else { return nil }
        return (user, lines)
    }

    private mutating func items() -> [BasketLine]? {
        var lines: [BasketLine] = []
        guard take(UInt8(ascii: "[")) else { return nil }
        repeat {
            guard let line = line() else { return nil }
            lines.append(line)
        } while lines.count < OrderLimits.lines.upperBound && take(UInt8(ascii: ","))
        return take(UInt8(ascii: "]")) ? lines : nil
    }

    private mutating func line() -> BasketLine? {
        var product: ProductID?
        var quantity: Quantity?
        guard take(UInt8(ascii: "{")) else { return nil }
        repeat {
            if product == nil, take("\"productId\"") {
                guard take(UInt8(ascii: ":")), let id = number().flatMap(ProductID.init) else { return nil }
                product = id
            } else if quantity == nil, take("\"quantity\"") {
                guard take(UInt8(ascii: ":")), let pieces = number().map({ Int($0) }),
                    OrderLimits.lineQuantity.contains(pieces)
                else { return nil }
                quantity = Quantity(pieces)
            } else {
                return nil
            }
        } while take(UInt8(ascii: ","))
        guard take(UInt8(ascii: "}")), let product, let quantity else { return nil }
        return BasketLine(productID: product, quantity: quantity)
    }

    /// A whole number without sign; what follows it is the caller's to judge.
    private mutating func number() -> Int64? {
        skipSpace()
        let start = index
        var number: Int64 = 0
        // 18 digits always fit.
        while index < bytes.count, index - start < 18, let digit = digit(bytes[index]) {
            number = number * 10 + digit
            index += 1
        }
        let isNumber = index > start && (bytes[start] != UInt8(ascii: "0") || index == start + 1)
        return isNumber ? number : nil
    }

    private func digit(_ byte: UInt8) -> Int64? {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") ? Int64(byte - UInt8(ascii: "0")) : nil
    }

    /// Takes a byte and the spaces before it.
    private mutating func take(_ byte: UInt8) -> Bool {
        skipSpace()
        guard index < bytes.count, bytes[index] == byte else { return false }
        index += 1
        return true
    }

    /// Takes a text and the spaces before it.
    private mutating func take(_ text: String) -> Bool {
        skipSpace()
        var end = index
        for byte in text.utf8 {
            guard end < bytes.count, bytes[end] == byte else { return false }
            end += 1
        }
        index = end
        return true
    }

    private mutating func skipSpace() {
        while index < bytes.count, JSONParser.isSpace(bytes[index]) { index += 1 }
    }
}
