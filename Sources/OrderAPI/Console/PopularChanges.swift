import Foundation
import OrderDomain
import OrderMessages

/// The popular products, and how many places each has moved since about a minute ago. A value.
struct PopularChanges {
    /// What the console shows.
    struct List: Encodable, Sendable {
        let asOf: String
        let source: String
        let stale: Bool
        let data: [Entry]
    }

    /// A place in the list.
    struct Entry: Encodable, Sendable {
        let rank: Int
        let productId: Int64
        let name: String
        let quantity: Int64
        /// Places up, or down when negative; nil when there is nothing to compare with.
        let moved: Int?
        /// It was not among the first before.
        let isNew: Bool

        private enum CodingKeys: CodingKey {
            case rank, productId, name, quantity, moved, isNew
        }

        func encode(to encoder: any Encoder) throws {
            var fields = encoder.container(keyedBy: CodingKeys.self)
            try fields.encode(rank, forKey: .rank)
            try fields.encode(productId, forKey: .productId)
            try fields.encode(name, forKey: .name)
            try fields.encode(quantity, forKey: .quantity)
            try fields.encode(moved, forKey: .moved)
            try fields.encode(isNew, forKey: .isNew)
        }
    }

    /// How many are shown.
    static let shown = 10
    /// How old the list that is compared with is at least, so that changes can be seen although one comes each second.
    private static let comparedAge: TimeInterval = 55

    /// Of the lists before, the places by product; those of the last minute, and one that is older.
    private var earlier: [(asOf: Date, ranks: [Int64: Int])] = []

    /// Takes a list, and says what has changed.
    mutating func add(_ list: PopularProducts.List) -> List {
        let ids = list.products.prefix(Self.shown).map(\.product.id.rawValue)
        let asOf = list.window.to
        // An empty list says nothing of what comes after it.
        if !list.products.isEmpty, earlier.last?.asOf != asOf {
            let ranks = Dictionary(zip(list.products.map(\.product.id.rawValue), 1...)) { first, _ in first }
            earlier.append((asOf, ranks))
            while earlier.count > 1, asOf.timeIntervalSince(earlier[1].asOf) >= Self.comparedAge {
                earlier.removeFirst()
            }
        }
        let before = earlier.count > 1 ? earlier[0].ranks : nil
        let answer = list.answer(limit: Self.shown)
        return List(
            asOf: asOf.rfc3339,
            source: list.source.rawValue,
            stale: answer.stale,
            data: zip(ids, list.products).enumerated().map { index, entry in
                let was = before?[entry.0]
                return Entry(
                    rank: index + 1,
                    productId: entry.0,
                    name: entry.1.product.name,
                    quantity: entry.1.ranked.quantity,
                    moved: was.map { $0 - (index + 1) },
                    isNew: before != nil && was == nil
                )
            }
        )
    }
}
