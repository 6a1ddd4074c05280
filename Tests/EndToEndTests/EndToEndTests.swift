import Foundation
import Testing

/// The executables as they run in production, called over HTTP. One after another: each test has servers' databases
/// and processes of its own, but the machine is one.
@Suite("End to end", .serialized, .timeLimit(.minutes(5)))
struct EndToEndTests {
    /// An order's event reaches the platform within this time when nothing is broken.
    static let eventTime = Duration.seconds(5)
    /// The same after an outage: the longest pause between two attempts, and a start of the processes.
    static let recoveryTime = Duration.seconds(90)

    @Test("an order goes all the way: user, charge, product, order, event at the platform, popular list")
    func wholeWalk() async throws {
        try await System.with { system in
            let userAnswer = try await system.api.post("/v1/users", #"{"name":"Mina Park","email":"mina@example.com"}"#)
            #expect(userAnswer.status == 201)
            let user: User = try userAnswer.decoded()
            #expect(userAnswer.header("location") == "/v1/users/\(user.id)")
            #expect((user.name, user.email) == ("Mina Park", "mina@example.com"))
            #expect((user.balance, user.currency) == (0, "KRW"))

            let chargeAnswer = try await system.api.post("/v1/users/\(user.id)/balance/charges", #"{"amount":50000}"#)
            #expect(chargeAnswer.status == 201)
            let charge: Charge = try chargeAnswer.decoded()
            #expect((charge.userId, charge.type) == (user.id, "CHARGE"))
            #expect((charge.amount, charge.balanceAfter) == (50_000, 50_000))

            let tea = try await system.createProduct(name: "Green tea", price: 3_000, stock: 10)
            let cup = try await system.createProduct(name: "Cup", price: 12_000, stock: 4)
            let order = try await orderTeaAndCup(system, user: user.id, tea: tea, cup: cup)
            #expect(try await system.product(tea.id).stock == 7)
            #expect(try await system.product(cup.id).stock == 3)
            #expect(try await system.api.get("/v1/users/\(user.id)").decoded(as: User.self).balance == 29_000)
            #expect(try await system.api.get("/v1/orders/\(order.id)").decoded(as: Order.self) == order)
            try await expectEvent(system, of: order)

            try await system.run("aggregator", ["run"])
            let popular = try await system.popular("limit=2")
            #expect((popular.source, popular.stale, popular.window.days) == ("redis", false, 3))
            #expect(
                popular.data == [
                    .init(rank: 1, productId: tea.id, name: "Green tea", price: 3_000, quantity: 3, amount: 9_000),
                    .init(rank: 2, productId: cup.id, name: "Cup", price: 12_000, quantity: 1, amount: 12_000),
                ]
            )
            #expect(try await system.popular("by=amount&limit=1").data.map(\.productId) == [cup.id])
        }
    }

    private static let traceID = "4bf92f3577b34da6a3ce929d0e0e4736"

    /// The tea stands in two lines, which are summed.
    private func orderTeaAndCup(_ system: System, user: Int64, tea: Product, cup: Product) async throws -> Order {
        let answer = try await system.placeOrder(
            user,
            [(tea.id, 1), (cup.id, 1), (tea.id, 2)],
            headers: ["traceparent": "00-\(Self.traceID)-00f067aa0ba902b7-01"]
        )
        try #require(answer.status == 201, "\(answer.body)")
        let order: Order = try answer.decoded()
        #expect(answer.header("location") == "/v1/orders/\(order.id)")
        #expect(answer.header("x-request-id")?.isEmpty == false)
        #expect(UUID(uuidString: order.id) != nil)
        #expect(Array(order.id)[14] == "7", "orders have ids of version 7")
        #expect((order.userId, order.status, order.totalAmount, order.currency) == (user, "PAID", 21_000, "KRW"))
        #expect(
            order.items == [
                .init(productId: tea.id, name: "Green tea", quantity: 3, unitPrice: 3_000, amount: 9_000),
                .init(productId: cup.id, name: "Cup", quantity: 1, unitPrice: 12_000, amount: 12_000),
            ]
        )
        #expect((order.payment.status, order.payment.amount) == ("PAID", 21_000))
        return order
    }

    private func expectEvent(_ system: System, of order: Order) async throws {
        try await system.eventually("the event of \(order.id) is at the platform", within: Self.eventTime) {
            try await !system.events(of: order.id).isEmpty
        }
        let events = try await system.events(of: order.id)
        #expect(events.count == 1)
        let event = try #require(events.first)
        #expect((event.specversion, event.type, event.sequence) == ("1.0", "order.paid.v1", 1))
        #expect((event.subject, event.partitionkey) == (order.id, order.id))
        #expect((event.time, event.datacontenttype) == (order.createdAt, "application/json"))
        #expect(!event.source.isEmpty)
        #expect(UUID(uuidString: event.id) != nil)
        #expect(event.traceparent?.contains(Self.traceID) == true)
        #expect(event.data == order)
    }

    @Test("what cannot be done is refused with a reason that a program can read")
    func refusals() async throws {
        try await System.with { system in
            let (rich, poor) = (try await system.createUser(), try await system.createUser(balance: 5_000))
            let scarce = try await system.createProduct(stock: 2)
            let gone = try await system.createProduct(stock: 0)
            let plenty = try await system.createProduct(stock: 100)

            let short = try await system.placeOrder(rich, [(scarce.id, 3), (plenty.id, 1), (gone.id, 1)])
            let shortages = try refused(short, 409, "insufficient_stock").shortages
            #expect(
                shortages == [
                    .init(productId: scarce.id, requested: 3, available: 2),
                    .init(productId: gone.id, requested: 1, available: 0),
                ]
            )
            let tooDear = try refused(await system.placeOrder(poor, [(plenty.id, 2)]), 409, "insufficient_balance")
            #expect((tooDear.balance, tooDear.required) == (5_000, 6_000))
            try refused(await system.placeOrder(rich + 1_000, [(plenty.id, 1)]), 404, "user_not_found")
            try refused(await system.placeOrder(rich, [(plenty.id + 1_000, 1)]), 404, "product_not_found")
            try await refusesMalformed(system)

            for product in [scarce, gone, plenty] {
                #expect(try await system.product(product.id).stock == product.stock)
            }
            #expect(try await system.events().isEmpty)
        }
    }

    private func refusesMalformed(_ system: System) async throws {
        let body = #"{"userId":0,"items":[{"productId":1,"quantity":1001}],"coupon":"x"}"#
        let invalid = try refused(await system.api.post("/v1/orders", body), 422, "validation_failed")
        #expect(Set(invalid.errors?.map(\.field) ?? []) == ["userId", "items[0].quantity", "coupon"])
        try refused(await system.api.post("/v1/orders", #"{"userId":1,"#), 400, "malformed_body")
        let text = ["content-type": "text/plain"]
        try refused(await system.api.post("/v1/orders", "{}", headers: text), 415, "unsupported_media_type")
        try refused(await system.api.get("/v1/nothing"), 404, "route_not_found")
    }

    @Test("a request with the key of an earlier one is answered alike and done once; another request is refused")
    func idempotency() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 10)
            let key = ["idempotency-key": "order-1"]

            let first = try await system.placeOrder(user, [(product.id, 2)], headers: key)
            let second = try await system.placeOrder(user, [(product.id, 2)], headers: key)
            #expect((first.status, first.header("idempotency-replayed")) == (201, nil))
            #expect((second.status, second.body) == (201, first.body))
            #expect(second.header("idempotency-replayed") == "true")
            #expect(second.header("location") == first.header("location"))
            let other = try await system.placeOrder(user, [(product.id, 3)], headers: key)
            try refused(other, 422, "idempotency_key_reused")

            // A refusal is remembered too.
            let refusal = ["idempotency-key": "order-2"]
            let none = try await system.placeOrder(user, [(product.id, 9)], headers: refusal)
            let noneAgain = try await system.placeOrder(user, [(product.id, 9)], headers: refusal)
            #expect((none.status, noneAgain.status) == (409, 409))
            #expect(noneAgain.header("idempotency-replayed") == "true")
            #expect(try await system.product(product.id).stock == 8)
        }
    }

    @Test("100 buyers at once take exactly the 37 pieces that there are")
    func hundredBuyers() async throws {
        try await System.with { system in
            let product = try await system.createProduct(stock: 37)
            let buyers = try await withThrowingTaskGroup(of: Int64.self) { group in
                for _ in 0..<100 { group.addTask { try await system.createUser(balance: 10_000) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let statuses = try await withThrowingTaskGroup(of: UInt.self) { group in
                for buyer in buyers {
                    group.addTask { try await system.placeOrder(buyer, [(product.id, 1)]).status }
                }
                return try await group.reduce(into: [:]) { $0[$1, default: 0] += 1 }
            }
            #expect(statuses == [201: 37, 409: 63])
            #expect(try await system.product(product.id).stock == 0)
            try await system.eventually("37 events are at the platform", within: Self.eventTime) {
                try await system.events().count >= 37
            }
            #expect(try await Set(system.events().map(\.subject)).count == 37)
        }
    }
}
