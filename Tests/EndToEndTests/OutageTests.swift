import Testing

extension EndToEndTests {
    @Test("no event is lost when the consumer and the API with its relay are killed in the middle of their work")
    func killedProcesses() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 1_000)
            var orders = try await system.placeOrders(20, user, of: product)
            try await system.kill(.consumer)
            orders.formUnion(try await system.placeOrders(20, user, of: product))
            try await system.kill(.orderAPI)
            try await system.start([.consumer, .orderAPI])
            orders.formUnion(try await system.placeOrders(5, user, of: product))

            #expect(orders.count == 45)
            try await system.eventually("the events of all orders are at the platform", within: Self.recoveryTime) {
                try await Set(system.events().map(\.subject)).isSuperset(of: orders)
            }
            #expect(try await Set(system.events().map(\.subject)) == orders)
            #expect(try await system.product(product.id).stock == 955)
        }
    }

    @Test("events arrive after the platform has answered 503 for a while")
    func platformDown() async throws {
        try await System.with { system in
            let user = try await system.createUser()
            let product = try await system.createProduct(stock: 100)
            #expect(
                try await system.platform.send("PUT", "/v1/faults", body: #"{"mode":"down","status":503}"#).status
                    == 200
            )
            let orders = try await system.placeOrders(10, user, of: product)
            try await system.eventually("the platform has refused requests", within: .seconds(20)) {
                try await system.platform.get("/v1/stats").decoded(as: PlatformStatistics.self).refused >= 2
            }
            #expect(try await system.events().isEmpty)
            #expect(try await system.platform.send("PUT", "/v1/faults", body: #"{"mode":"ok"}"#).status == 200)
            try await system.eventually("the events of all orders are at the platform", within: Self.recoveryTime) {
                try await Set(system.events().map(\.subject)).isSuperset(of: orders)
            }
            #expect(try await Set(system.events().map(\.subject)) == orders)
        }
    }
}
