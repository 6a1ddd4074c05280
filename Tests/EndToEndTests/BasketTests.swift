import Foundation
import Testing

extension EndToEndTests {
    @Test("the popular list of 300 real baskets is what the baskets add up to")
    func realBaskets() async throws {
        let baskets = try Basket.load(300)
        try await System.with { system in
            let products = try await createProducts(of: baskets, in: system)
            var users: [String: Int64] = [:]
            for basket in baskets where users[basket.user] == nil {
                users[basket.user] = try await system.createUser()
            }
            for basket in baskets {
                let user = try #require(users[basket.user])
                let lines = try basket.lines.map { (try #require(products[$0.product]).id, $0.quantity) }
                let answer = try await system.placeOrder(user, lines)
                try #require(answer.status == 201, "basket \(basket.order): \(answer.body)")
            }
            try await system.run("aggregator", ["run"])

            let sold = try totals(of: baskets, products)
            for by in ["quantity", "amount"] {
                let popular = try await system.popular("by=\(by)&limit=100")
                #expect(popular.source == "redis")
                #expect(popular.data == best(100, of: sold, byAmount: by == "amount"))
            }
            try await system.eventually("all events are at the platform", within: Self.recoveryTime) {
                try await system.events().count == baskets.count
            }
        }
    }

    /// By the name that the baskets give them; each at the price at which it was sold first.
    private func createProducts(of baskets: [Basket], in system: System) async throws -> [String: Product] {
        var products: [String: Product] = [:]
        for line in baskets.flatMap(\.lines) where products[line.product] == nil {
            products[line.product] = try await system.createProduct(
                name: line.name,
                price: line.unitPrice,
                stock: 1_000_000
            )
        }
        return products
    }

    private func totals(of baskets: [Basket], _ products: [String: Product]) throws -> [Popular.Entry] {
        var quantities: [String: Int64] = [:]
        for line in baskets.flatMap(\.lines) { quantities[line.product, default: 0] += line.quantity }
        return try quantities.map { reference, quantity in
            let product = try #require(products[reference])
            return Popular.Entry(
                rank: 0,
                productId: product.id,
                name: product.name,
                price: product.price,
                quantity: quantity,
                amount: quantity * product.price
            )
        }
    }

    /// The largest first, among equals the lower id.
    private func best(_ count: Int, of sold: [Popular.Entry], byAmount: Bool) -> [Popular.Entry] {
        let ordered = sold.sorted {
            let (left, right) = byAmount ? ($0.amount, $1.amount) : ($0.quantity, $1.quantity)
            return left == right ? $0.productId < $1.productId : left > right
        }
        return ordered.prefix(count).enumerated().map { index, entry in
            Popular.Entry(
                rank: index + 1,
                productId: entry.productId,
                name: entry.name,
                price: entry.price,
                quantity: entry.quantity,
                amount: entry.amount
            )
        }
    }
}

/// A real purchase, from the file that the environment names.
private struct Basket {
    struct Line {
        let product: String
        let name: String
        let quantity: Int64
        let unitPrice: Int64
    }

    let order: String
    let user: String
    var lines: [Line]

    /// The first baskets of the file.
    static func load(_ count: Int) throws -> [Basket] {
        let path = try TestEnvironment.required("JUMUN_TEST_BASKETS")
        let rows = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(fields)
        let header = try #require(rows.first)
        func column(_ name: String) throws -> Int { try #require(header.firstIndex(of: name), "\(name)") }
        let (order, user, product) = (try column("order_ref"), try column("user_ref"), try column("product_ref"))
        let (name, quantity, price) = (try column("product_name"), try column("quantity"), try column("unit_price"))
        var baskets: [Basket] = []
        for row in rows.dropFirst() {
            try #require(row.count == header.count)
            if baskets.last?.order != row[order] {
                if baskets.count == count { break }
                baskets.append(Basket(order: row[order], user: row[user], lines: []))
            }
            let line = Line(
                product: row[product],
                name: row[name],
                quantity: try #require(Int64(row[quantity])),
                unitPrice: try #require(Int64(row[price]))
            )
            baskets[baskets.count - 1].lines.append(line)
        }
        return baskets
    }

    /// The fields of a line, which may be quoted.
    private static func fields(_ line: Substring) -> [String] {
        var fields = [""]
        var isQuoted = false
        for character in line {
            switch character {
            case "\"": isQuoted.toggle()
            case "," where !isQuoted: fields.append("")
            default: fields[fields.count - 1].append(character)
            }
        }
        return fields
    }
}
