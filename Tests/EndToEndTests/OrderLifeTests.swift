import Foundation
import Testing

/// What happens to orders, products and stocks after the first day.
@Suite("The life of an order", .serialized, .timeLimit(.minutes(5)))
struct OrderLifeTests {
    @Test("a cancelled order gives money and stock back once, tells the platform, and leaves the ranking")
    func cancels() async throws {
        try await System.with { system in
            let user = try await system.createUser(balance: 50_000)
            let tea = try await system.createProduct(price: 3_000, stock: 10)
            let order: Order = try await system.placeOrder(user, [(tea.id, 4)]).decoded()
            try await system.run("aggregator", ["run"])
            #expect(try await system.popular("").data.map(\.quantity) == [4])

            let path = "/v1/orders/\(order.id)/cancel"
            let answer = try await system.api.post(path, #"{"reason":"too late"}"#)
            #expect(answer.status == 200 && answer.header("etag") == "\"2\"", "\(answer.body)")
            let cancelled: Order = try answer.decoded()
            #expect((cancelled.status, cancelled.payment.status) == ("CANCELLED", "REFUNDED"))
            #expect(cancelled.items == order.items && cancelled.createdAt == order.createdAt)
            #expect(try await system.api.get("/v1/orders/\(order.id)").decoded(as: Order.self) == cancelled)
            for _ in 0..<2 {
                #expect(try await system.api.send("POST", path).decoded(as: Order.self) == cancelled)
            }
            #expect(try await system.product(tea.id).stock == 10)
            #expect(try await system.api.get("/v1/users/\(user)").decoded(as: User.self).balance == 50_000)
            let history = try await system.api.get("/v1/users/\(user)/balance/history?type=REFUND")
            #expect(try history.decoded(as: List<Charge>.self).data.map(\.amount) == [12_000])

            try await system.eventually("both events are at the platform", within: EndToEndTests.eventTime) {
                try await system.events(of: order.id).count == 2
            }
            let events = try await system.events(of: order.id).sorted { $0.sequence < $1.sequence }
            #expect(events.map(\.type) == ["order.paid.v1", "order.cancelled.v1"])
            #expect(events.map(\.sequence) == [1, 2] && events[1].data == cancelled)
            try await system.run("aggregator", ["run"])
            try await system.eventually("the popular list is empty", within: .seconds(3)) {
                try await system.popular("").data.isEmpty
            }
        }
    }

    @Test("an order goes its way step by step, and nothing else is allowed")
    func moves() async throws {
        try await System.with { system in
            let user = try await system.createUser(balance: 50_000)
            let tea = try await system.createProduct(price: 3_000, stock: 10)
            let order: Order = try await system.placeOrder(user, [(tea.id, 1)]).decoded()
            let path = "/v1/orders/\(order.id)"
            for wrong in ["PAID", "SHIPPED", "DELIVERED"] {
                let answer = try await system.api.post("\(path)/transitions", #"{"to":"\#(wrong)"}"#)
                try refused(answer, 409, "invalid_transition")
            }
            for next in ["PREPARING", "SHIPPED", "DELIVERED"] {
                let answer = try await system.api.post("\(path)/transitions", #"{"to":"\#(next)"}"#)
                #expect(answer.status == 200, "\(answer.body)")
                #expect(try answer.decoded(as: Order.self).status == next)
            }
            try refused(await system.api.post("\(path)/cancel", "{}"), 409, "order_not_cancellable")
            let unknown = try await system.api.post("\(path)/transitions", #"{"to":"LOST"}"#)
            #expect(try refused(unknown, 422, "validation_failed").errors?.map(\.field) == ["to"])

            let history: List<Step> = try await system.api.get("\(path)/history").decoded()
            #expect(history.data.map(\.from) == [nil, "PAID", "PREPARING", "SHIPPED"])
            #expect(history.data.map(\.to) == ["PAID", "PREPARING", "SHIPPED", "DELIVERED"])
            #expect(history.data.map(\.version) == [1, 2, 3, 4])
            try await system.eventually("all events are at the platform", within: EndToEndTests.eventTime) {
                try await system.events(of: order.id).count == 4
            }
            let missing = UUID().uuidString.lowercased()
            for call in ["cancel", "transitions"] {
                let answer = try await system.api.post("/v1/orders/\(missing)/\(call)", #"{"to":"SHIPPED"}"#)
                #expect([404, 422].contains(answer.status), "\(answer.body)")
            }
        }
    }

    @Test("a product is changed in part, and only in the version that the client has seen")
    func changesProducts() async throws {
        try await System.with { system in
            let tea = try await system.createProduct(price: 3_000, stock: 10)
            let path = "/v1/products/\(tea.id)"
            let first = try await system.api.send("PATCH", path, body: #"{"price":3500,"category":"tea"}"#)
            #expect(first.status == 200 && first.header("etag") == "\"2\"", "\(first.body)")
            #expect(try first.decoded(as: Product.self).price == 3_500)
            #expect(first.body.contains(#""category":"tea""#))
            let cleared = try await system.api.send("PATCH", path, body: #"{"category":null}"#)
            #expect(cleared.status == 200 && !cleared.body.contains("category"), "\(cleared.body)")

            let stale = ["if-match": "\"1\""]
            let late = try await system.api.send("PATCH", path, body: #"{"price":1}"#, headers: stale)
            try refused(late, 412, "precondition_failed")
            let fresh = ["if-match": "\"1\", \"3\""]
            let taken = try await system.api.send("PATCH", path, body: #"{"status":"DISCONTINUED"}"#, headers: fresh)
            #expect(taken.status == 200, "\(taken.body)")
            let user = try await system.createUser()
            try refused(await system.placeOrder(user, [(tea.id, 1)]), 409, "product_unavailable")

            for bad in ["{}", #"{"price":0}"#, #"{"status":"GONE"}"#, #"{"stock":5}"#, #"{"name":null}"#] {
                try refused(await system.api.send("PATCH", path, body: bad), 422, "validation_failed")
            }
            try refused(
                await system.api.send("PATCH", "/v1/products/999", body: #"{"price":1}"#),
                404,
                "product_not_found"
            )
        }
    }

    @Test("a stock is adjusted once for its key, never below nothing, and at once seen by buyers")
    func adjustsStocks() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let tea = try await system.createProduct(price: 10, stock: 1)
            let path = "/v1/products/\(tea.id)/stock-adjustments"
            #expect(try await system.placeOrder(user, [(tea.id, 1)]).status == 201)
            for _ in 0..<3 { try refused(await system.placeOrder(user, [(tea.id, 1)]), 409, "insufficient_stock") }

            let key = ["idempotency-key": "delivery-7"]
            let body = #"{"delta":5,"reason":"delivery 7"}"#
            let first = try await system.api.post(path, body, headers: key)
            #expect(first.status == 201, "\(first.body)")
            #expect(try first.decoded(as: Adjustment.self).stockAfter == 5)
            // Sold out a moment ago, and this process knew: what it has put in itself is sold at once.
            #expect(try await system.placeOrder(user, [(tea.id, 1)]).status == 201)
            let again = try await system.api.post(path, body, headers: key)
            #expect((again.status, again.body) == (201, first.body))
            #expect(again.header("idempotency-replayed") == "true" && first.header("idempotency-replayed") == nil)
            let other = try await system.api.post(path, #"{"delta":6,"reason":"delivery 7"}"#, headers: key)
            try refused(other, 422, "idempotency_key_reused")
            #expect(try await system.product(tea.id).stock == 4)

            let tooMuch = try await system.api.post(path, #"{"delta":-5,"reason":"broken"}"#)
            let shortages = try refused(tooMuch, 409, "insufficient_stock").shortages
            #expect(shortages == [.init(productId: tea.id, requested: 5, available: 4)])
            #expect(try await system.api.post(path, #"{"delta":-4,"reason":"broken"}"#).status == 201)
            for bad in [#"{"delta":0,"reason":"x"}"#, #"{"delta":1}"#, #"{"delta":1.5,"reason":"x"}"#] {
                try refused(await system.api.post(path, bad), 422, "validation_failed")
            }
        }
    }

    @Test(
        "50 changes of one order at once, at two processes: it is cancelled once, and prepared before that or not at all"
    )
    func racesChanges() async throws {
        try await System.with { system in
            try await system.withFurtherAPI { try await expectOneCancellation(system, [system.api, $0]) }
        }
    }

    private func expectOneCancellation(_ system: System, _ webs: [Web]) async throws {
        let user = try await system.createUser(balance: 100_000)
        let tea = try await system.createProduct(price: 100, stock: 100)
        for _ in 0..<5 {
            let order: Order = try await system.placeOrder(user, [(tea.id, 1)]).decoded()
            let path = "/v1/orders/\(order.id)"
            let statuses = try await system.atOnce(50) { number in
                let web = webs[number / 2 % webs.count]
                return number.isMultiple(of: 2)
                    ? try await web.post("\(path)/cancel", "{}").status
                    : try await web.post("\(path)/transitions", #"{"to":"PREPARING"}"#).status
            }
            #expect(statuses.allSatisfy { $0 == 200 || $0 == 409 })
            let status = try await system.api.get(path).decoded(as: Order.self).status
            #expect(status == "CANCELLED")
        }
        #expect(try await system.product(tea.id).stock == 100)
        #expect(try await system.api.get("/v1/users/\(user)").decoded(as: User.self).balance == 100_000)
    }
}

private struct Step: Decodable {
    let version: Int
    let from: String?
    let to: String
}

private struct Adjustment: Decodable {
    let productId: Int64
    let delta: Int64
    let stockAfter: Int64
}
