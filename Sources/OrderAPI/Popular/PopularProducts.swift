import Foundation
import Logging
import OrderDomain
import OrderMessages
import OrderStore
import Postgres
import RankingBoard
import Redis

/// The popular products: from Redis, or from the last run in PostgreSQL while Redis has none.
///
/// Each list is kept for half a second, so that any number of readers costs two looks a second.
actor PopularProducts {
    /// A list with the names and prices of now.
    struct List: Sendable {
        let window: RankingWindow
        let source: PopularAnswer.Source
        let products: [(ranked: RankedProduct, product: Product)]

        /// The head of the list.
        func answer(limit: Int) -> PopularAnswer {
            PopularAnswer(
                from: window.from,
                to: window.to,
                asOf: window.to,
                stale: source == .postgres || Date().timeIntervalSince(window.to) > PopularProducts.staleAfter,
                source: source,
                data: products.prefix(limit).enumerated().map { index, entry in
                    PopularAnswer.Entry(
                        rank: index + 1,
                        productID: entry.product.id,
                        name: entry.product.name,
                        price: entry.product.price,
                        quantity: entry.ranked.quantity,
                        amount: entry.ranked.amount
                    )
                }
            )
        }
    }

    /// When a list is too old to be taken for the current one: several runs must have failed.
    private static let staleAfter: TimeInterval = 300
    /// How long a list is kept: of the two seconds in which a sale is to be seen, a run a second leaves no more.
    private static let lifetime = Duration.milliseconds(500)
    /// Redis answers in a millisecond or is in trouble; then PostgreSQL is asked.
    private static let redisTimeout = Duration.milliseconds(250)
    /// How many places are read: more than the API gives, so that products which are no longer sold can be left out.
    private static let candidates = 2 * PageRequest.limits.upperBound

    private let board: RankingBoard
    private let pool: PostgresPool
    private let products: ProductStore
    private let logger: Logger
    /// A list, and what has been written of it: the same head of the same list has the same bytes.
    private struct Kept {
        let list: Task<List, any Error>
        let since: ContinuousClock.Instant
        var bodies: [Int: String] = [:]
    }

    private var kept: [Ranking: Kept] = [:]

    init(redis: RedisClient, pool: PostgresPool, logger: Logger) {
        board = RankingBoard(redis)
        self.pool = pool
        products = ProductStore(pool)
        self.logger = logger
    }

    /// The first `limit` products as the API answers them, at most a second old.
    ///
    /// - Throws: `PostgresError` when neither server can give the list.
    func body(_ ranking: Ranking, limit: Int, deadline: ContinuousClock.Instant) async throws -> String {
        let (list, since) = try await list(ranking, deadline: deadline)
        // While the list was awaited another may have taken its place, whose bodies are not this one's.
        let isKept = kept[ranking]?.since == since
        if isKept, let body = kept[ranking]?.bodies[limit] { return body }
        let body = try encoded(list.answer(limit: limit))
        if isKept { kept[ranking]?.bodies[limit] = body }
        return body
    }

    /// The list as it is kept; throws as ``body(_:limit:deadline:)`` does.
    func current(_ ranking: Ranking, deadline: ContinuousClock.Instant) async throws -> List {
        try await list(ranking, deadline: deadline).list
    }

    private func list(
        _ ranking: Ranking,
        deadline: ContinuousClock.Instant
    ) async throws -> (list: List, since: ContinuousClock.Instant) {
        if let kept = kept[ranking], kept.since.duration(to: .now) < PopularProducts.lifetime {
            return (try await kept.list.value, kept.since)
        }
        // A task of its own, since all who ask meanwhile share it: one who hangs up must not take it from the others.
        let new = Kept(list: Task { try await load(ranking, deadline: deadline) }, since: .now)
        kept[ranking] = new
        do {
            return (try await new.list.value, new.since)
        } catch {
            kept[ranking] = nil
            throw error
        }
    }

    /// The list with as many products as the API may give, as far as there are.
    private func load(_ ranking: Ranking, deadline: ContinuousClock.Instant) async throws -> List {
        let list = try await load(ranking, limit: PopularProducts.candidates, deadline: deadline)
        let lacksProducts = list.list.products.count < PageRequest.limits.upperBound
        // So many of the best are no longer sold that the whole list is needed.
        guard list.places == PopularProducts.candidates, lacksProducts else { return list.list }
        return try await load(ranking, limit: RankingStore.listLimit, deadline: deadline).list
    }

    private func load(
        _ ranking: Ranking,
        limit: Int,
        deadline: ContinuousClock.Instant
    ) async throws -> (list: List, places: Int) {
        let window: RankingWindow
        let ranked: [RankedProduct]
        let source: PopularAnswer.Source
        if let list = await readBoard(ranking, limit: limit) {
            (window, ranked, source) = (list.window, list.products, .redis)
        } else {
            let latest = try await RankingStore.latest(ranking, limit: limit, from: pool, deadline: deadline)
            // Before the first run: an empty list of a window that ends now.
            window = latest?.run.window ?? RankingWindow(.rolling, endingAt: Date().wholeMilliseconds)
            (ranked, source) = (latest?.list ?? [], .postgres)
        }
        let list = List(window: window, source: source, products: try await named(ranked, deadline: deadline))
        return (list, ranked.count)
    }

    private func readBoard(_ ranking: Ranking, limit: Int) async -> RankingBoard.List? {
        do {
            return try await board.read(ranking, limit: limit, deadline: .now + PopularProducts.redisTimeout)
        } catch {
            logger.warning("popular products come from PostgreSQL", metadata: ["error": "\(error)"])
            return nil
        }
    }

    /// The products that are still sold, with the names and prices of now.
    private func named(
        _ ranked: [RankedProduct],
        deadline: ContinuousClock.Instant
    ) async throws -> [(ranked: RankedProduct, product: Product)] {
        guard !ranked.isEmpty else { return [] }
        let found = try await products.find(ranked.map(\.productID), deadline: deadline)
        let byID = Dictionary(found.map { ($0.id, $0) }) { first, _ in first }
        return ranked.compactMap { entry in
            guard let product = byID[entry.productID], product.status == .active else { return nil }
            return (entry, product)
        }
    }
}
