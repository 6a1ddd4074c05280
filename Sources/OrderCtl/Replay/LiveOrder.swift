import Crypto
import OrderDomain
import OrderStore

/// A past order as the API takes it.
struct LiveOrder: Sendable {
    let userID: Int64
    /// In the past's order of the products.
    let items: [(productID: Int64, quantity: Int64)]
    /// What it costs at the prices of today, in minor units.
    let total: Int64
    let key: String

    /// Nil when the API takes no such order, or one of its parties is not known.
    init?(
        _ order: ImportStore.Order,
        users: [String: Int64],
        products: [String: ImportStore.MappedProduct]
    ) {
        guard let userID = users[order.userRef], OrderLimits.lines.contains(order.items.count) else { return nil }
        var items: [(productID: Int64, quantity: Int64)] = []
        var total: Int64 = 0
        for item in order.items {
            guard OrderLimits.lineQuantity.contains(Int(item.quantity)), let product = products[item.productRef] else {
                return nil
            }
            items.append((product.id, Int64(item.quantity)))
            // 50 lines of 1,000 pieces at 10^9 at most.
            total += Int64(item.quantity) * product.price
        }
        (self.userID, self.items, self.total) = (userID, items, total)
        key = ReplayKey.of("order", order.reference)
    }

    /// The request's body.
    var body: String {
        let lines = items.map { #"{"productId":\#($0.productID),"quantity":\#($0.quantity)}"# }
        return #"{"userId":\#(userID),"items":[\#(lines.joined(separator: ","))]}"#
    }
}

/// Idempotency keys: the same thing has the same key in every replay.
enum ReplayKey {
    /// Visible ASCII of a bounded length, whatever the reference is.
    static func of(_ kind: String, _ parts: String...) -> String {
        "replay-\(kind)-\(digits(of: SHA256.hash(data: Array(parts.joined(separator: "\n").utf8))))"
    }

    /// The first half of a digest, in 32 hexadecimal digits.
    static func digits(of digest: SHA256.Digest) -> String {
        digest.prefix(16).map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }
        .joined()
    }
}

/// What must be there for all orders to be taken: pieces and money.
struct ReplayNeeds {
    /// A request that brings some of it.
    struct Request: Sendable {
        let path: String
        let body: String
        let key: String
    }

    private var pieces: [Int64: Int64] = [:]
    private var money: [Int64: Int64] = [:]
    /// Of the orders' keys: other orders bring their own, also where they need as much.
    private var digest = SHA256()
    /// How many orders they are of.
    private(set) var orders = 0

    /// How many users and products take part.
    var parties: Int { pieces.count + money.count }

    /// Adds what an order takes.
    mutating func add(_ order: LiveOrder) {
        orders += 1
        digest.update(data: Array(order.key.utf8))
        for item in order.items { pieces[item.productID, default: 0] += item.quantity }
        money[order.userID, default: 0] += order.total
    }

    /// As many as the API's limits ask for, by the ids of products and users.
    var requests: [Request] {
        let digits = ReplayKey.digits(of: digest.finalize())
        let stocks = pieces.sorted { $0.key < $1.key }.flatMap { product, quantity in
            ReplayNeeds.parts(of: quantity, OrderLimits.stockDelta.upperBound).map { part, amount in
                Request(
                    path: "/v1/products/\(product)/stock-adjustments",
                    body: #"{"delta":\#(amount),"reason":"for a replay"}"#,
                    key: ReplayKey.of("stock", digits, "\(product)", "\(quantity)", "\(part)")
                )
            }
        }
        let charges = money.sorted { $0.key < $1.key }.flatMap { user, total in
            ReplayNeeds.parts(of: total, OrderLimits.chargeAmount.upperBound).map { part, amount in
                Request(
                    path: "/v1/users/\(user)/balance/charges",
                    body: #"{"amount":\#(amount)}"#,
                    key: ReplayKey.of("charge", digits, "\(user)", "\(total)", "\(part)")
                )
            }
        }
        return stocks + charges
    }

    private static func parts(of total: Int64, _ maximum: Int64) -> [(Int64, Int64)] {
        (0..<(total + maximum - 1) / maximum).map { ($0, min(maximum, total - $0 * maximum)) }
    }
}
