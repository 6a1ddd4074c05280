import Foundation
import Postgres
import SeededRandom
import Testing

extension EndToEndTests {
    private static let buyers = 100
    private static let price: Int64 = 3_000

    @Test("buyers at once get exactly what there is, whatever the number of processes", arguments: [1, 2])
    func buyersAtOnce(processes: Int) async throws {
        try await System.with { system in
            if processes == 1 {
                try await expectFairness(system, [system.api])
            } else {
                try await system.withFurtherAPI { try await expectFairness(system, [system.api, $0]) }
            }
        }
    }

    private func expectFairness(_ system: System, _ webs: [Web]) async throws {
        for stock in [37, Self.buyers] { try await expectSale(of: stock, system, webs) }
        for _ in 0..<3 { try await expectOneBalanceSpentOnce(system, webs) }
        try await expectOneOrderPerKey(system, webs)
        try system.expectNoFailedBatch()
    }

    private func expectSale(of stock: Int, _ system: System, _ webs: [Web]) async throws {
        let product = try await system.createProduct(price: Self.price, stock: Int64(stock))
        let users = try await system.atOnce(Self.buyers) { _ in try await system.createUser(balance: 10_000) }
        let answers = try await system.atOnce(Self.buyers) { number in
            try await webs[number % webs.count].placeOrder(users[number], [(product.id, 1)])
        }
        #expect(answers.count { $0.status == 201 } == stock)
        for answer in answers where answer.status != 201 {
            #expect(answer.status == 409, "\(answer.body)")
            let problem: Problem = try answer.decoded()
            #expect(problem.code == "insufficient_stock")
            #expect(problem.shortages == [.init(productId: product.id, requested: 1, available: 0)])
        }
        #expect(try await system.product(product.id).stock == 0)
        var balances: [Int64: Int64] = [:]
        for row in try await system.rows(Self.balances) { balances[try row.get("id")] = try row.get("balance") }
        for (user, answer) in zip(users, answers) {
            let left = 10_000 - (answer.status == 201 ? Self.price : 0)
            #expect(balances[user] == left)
            #expect(try await system.api.get("/v1/users/\(user)").decoded(as: User.self).balance == left)
        }
    }

    private func expectOneBalanceSpentOnce(_ system: System, _ webs: [Web]) async throws {
        // Each process sells a product of its own, so that they have nothing but the balance to meet at.
        var products: [Product] = []
        for _ in webs { products.append(try await system.createProduct(price: Self.price, stock: 1_000)) }
        let user = try await system.createUser(balance: 17 * Self.price + 1)
        let answers = try await system.atOnce(50) { [products] number in
            let place = number % webs.count
            return try await webs[place].placeOrder(user, [(products[place].id, 1)])
        }
        #expect(answers.count { $0.status == 201 } == 17)
        for answer in answers where answer.status != 201 {
            #expect(answer.status == 409, "\(answer.body)")
            let problem: Problem = try answer.decoded()
            #expect((problem.code, problem.balance, problem.required) == ("insufficient_balance", 1, Self.price))
        }
        #expect(try await system.api.get("/v1/users/\(user)").decoded(as: User.self).balance == 1)
        var sold: Int64 = 0
        for product in products { sold += 1_000 - (try await system.product(product.id).stock) }
        #expect(sold == 17)
    }

    private func expectOneOrderPerKey(_ system: System, _ webs: [Web]) async throws {
        let product = try await system.createProduct(price: Self.price, stock: 1_000)
        let user = try await system.createUser(balance: 100 * Self.price)
        let key = ["idempotency-key": "the-same-\(webs.count)"]
        let answers = try await system.atOnce(50) { number in
            try await webs[number % webs.count].placeOrder(user, [(product.id, 1)], headers: key)
        }
        #expect(Set(answers.map(\.status)) == [201])
        #expect(Set(answers.map(\.body)).count == 1)
        #expect(answers.count { $0.header("idempotency-replayed") == "true" } == 49)
        #expect(try await system.product(product.id).stock == 999)
        #expect(try await system.api.get("/v1/users/\(user)").decoded(as: User.self).balance == 99 * Self.price)
    }

    private static let balances = SQLStatement("concurrency_balances", "SELECT id, balance FROM users")
}

extension EndToEndTests {
    /// How long baskets are placed: 5 s, or what `JUMUN_TEST_SOAK_SECONDS` says.
    private static let soakTime = Duration.seconds(
        ProcessInfo.processInfo.environment["JUMUN_TEST_SOAK_SECONDS"].flatMap { Int($0) } ?? 5
    )
    private static let soakClients = 64

    @Test("random baskets and cancellations of many clients at two processes leave books that balance")
    func randomBaskets() async throws {
        let seed = SplitMix64.seed
        print("random baskets from seed \(seed)")
        try await System.with { system in
            try await system.withFurtherAPI { further in
                try await expectBalancedBooks(system, [system.api, further], seed: seed)
            }
        }
    }

    /// The books themselves are audited when the system ends.
    private func expectBalancedBooks(_ system: System, _ webs: [Web], seed: UInt64) async throws {
        var products: [Product] = []
        // Some are sold out soon, and some never.
        for number in 1...20 {
            products.append(try await system.createProduct(price: 700, stock: number > 10 ? 1_000_000 : 300))
        }
        let users = try await system.atOnce(Self.soakClients) { _ in try await system.createUser(balance: 900_000) }
        let end = ContinuousClock.now + Self.soakTime
        let placed = try await system.atOnce(Self.soakClients) { [products] client in
            var random = SplitMix64(seed: seed &+ UInt64(client))
            var orders: [String] = []
            while ContinuousClock.now < end {
                // Users are shared, so that orders meet at a balance as well as at a stock.
                let user = users[random.below(users.count)]
                let web = webs[random.below(webs.count)]
                if let order = try await Self.placeBasket(user, of: products, web, &random) { orders.append(order) }
                if !orders.isEmpty, random.chance(40) {
                    let web = webs[random.below(webs.count)]
                    try await Self.cancel(orders[random.below(orders.count)], web)
                }
            }
            return orders.count
        }
        print("\(placed.reduce(0, +)) baskets were sold")
        #expect(placed.reduce(0, +) > Self.soakClients)
        try system.expectNoFailedBatch()
    }

    /// The id of the order, when it was taken.
    private static func placeBasket(
        _ user: Int64,
        of products: [Product],
        _ web: Web,
        _ random: inout SplitMix64
    ) async throws -> String? {
        let lines = (0...random.below(5)).map { _ in
            (product: products[random.below(products.count)].id, quantity: Int64(1 + random.below(4)))
        }
        let answer = try await web.placeOrder(user, lines)
        if answer.status == 201 { return try answer.decoded(as: Order.self).id }
        #expect(answer.status == 409, "\(answer.body)")
        return nil
    }

    /// A second time, too: it stays cancelled once.
    private static func cancel(_ order: String, _ web: Web) async throws {
        let answer = try await web.post("/v1/orders/\(order)/cancel", "{}")
        #expect([200, 409].contains(answer.status), "\(answer.body)")
    }
}

extension System {
    /// No process has had a batch that PostgreSQL refused: such a one is split until it passes, which would hide that
    /// the engine had decided wrongly.
    fileprivate func expectNoFailedBatch() throws {
        let files = try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)
            .filter { $0.lastPathComponent.hasPrefix(Service.orderAPI.rawValue) }
        #expect(!files.isEmpty)
        for file in files {
            let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n")
            #expect(lines.filter { $0.contains("batch failed") } == [])
        }
    }
}
