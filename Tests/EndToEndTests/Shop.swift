import Foundation
import Testing

/// What a test does with the shop, over HTTP only.
extension System {
    func createUser(name: String = "Mina Park", balance: Int64 = 1_000_000_000) async throws -> Int64 {
        let email = "\(UUID().uuidString.lowercased())@example.com"
        let answer = try await api.post("/v1/users", #"{"name":"\#(name)","email":"\#(email)"}"#)
        try #require(answer.status == 201, "\(answer.body)")
        let user = try answer.decoded(as: User.self)
        if balance > 0 {
            let charged = try await api.post("/v1/users/\(user.id)/balance/charges", #"{"amount":\#(balance)}"#)
            try #require(charged.status == 201, "\(charged.body)")
        }
        return user.id
    }

    func createProduct(name: String = "Green tea", price: Int64 = 3_000, stock: Int64) async throws -> Product {
        let wish = ProductWish(name: name, price: price, stock: stock)
        let body = String(decoding: try JSONEncoder().encode(wish), as: UTF8.self)
        let answer = try await api.post("/v1/products", body)
        try #require(answer.status == 201, "\(answer.body)")
        return try answer.decoded()
    }

    func placeOrder(
        _ user: Int64,
        _ lines: [(product: Int64, quantity: Int64)],
        headers: [String: String] = [:]
    ) async throws -> Web.Answer {
        try await api.placeOrder(user, lines, headers: headers)
    }

    /// Orders of one piece each, all at once; all must be taken. Returns their ids.
    func placeOrders(_ count: Int, _ user: Int64, of product: Product) async throws -> Set<String> {
        let ids = try await atOnce(count) { _ in
            let answer = try await self.placeOrder(user, [(product.id, 1)])
            try #require(answer.status == 201, "\(answer.body)")
            return try answer.decoded(as: Order.self).id
        }
        return Set(ids)
    }

    func product(_ id: Int64) async throws -> Product {
        try await api.get("/v1/products/\(id)").decoded()
    }

    /// The events that reached the platform; of one order, or the last 10,000.
    func events(of order: String? = nil) async throws -> [Event] {
        let query = order.map { "subject=\($0)" } ?? "limit=10000"
        return try await platform.get("/v1/events?\(query)").decoded(as: List<Event>.self).data
    }

    func popular(_ query: String) async throws -> Popular {
        try await api.get("/v1/products/popular?\(query)").decoded()
    }
}

extension Web {
    func placeOrder(
        _ user: Int64,
        _ lines: [(product: Int64, quantity: Int64)],
        headers: [String: String] = [:]
    ) async throws -> Answer {
        let items = lines.map { #"{"productId":\#($0.product),"quantity":\#($0.quantity)}"# }
        let body = #"{"userId":\#(user),"items":[\#(items.joined(separator: ","))]}"#
        return try await post("/v1/orders", body, headers: headers)
    }
}

private struct ProductWish: Encodable {
    let name: String
    let price: Int64
    let stock: Int64
}
