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
/// Each list is kept for a second, so that any number of readers costs one look a second.
actor PopularProducts {
    /// A list with the names and prices of now.
    struct List: Sendable {
        let windowFrom: Date
        let windowTo: Date
        let asOf: Date
        let source: PopularAnswer.Source
        let products: [(ranked: RankedProduct, product: Product)]

        /// The head of the list.
        func answer(limit: Int) -> PopularAnswer {
            PopularAnswer(
                from: windowFrom,
                to: windowTo,
                asOf: asOf,
                stale: source == .postgres || Date().timeIntervalSince(asOf) > PopularProducts.staleAfter,
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
    private static let lifetime = Duration.seconds(1)
    /// Redis answers in a millisecond or is in trouble; then PostgreSQL is asked.
    private static let redisTimeout = Duration.milliseconds(250)
    /// More than the API gives, so that products which are no longer sold can be left out.
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

    private func load(_ ranking: Ranking, deadline: ContinuousClock.Instant) async throws -> List {
        if let list = await readBoard(ranking) {
            return List(
                windowFrom: list.windowFrom,
                windowTo: list.windowTo,
                asOf: list.asOf,
                source: .redis,
                products: try await named(list.products, deadline: deadline)
            )
        }
        let latest = try await RankingStore.latest(
            ranking,
            limit: PopularProducts.candidates,
            from: pool,
            deadline: deadline
        )
        // Before the first run: an empty list of a window that ends now.
        let now = Date().wholeMilliseconds
        let window = RankingStore.window(at: now)
        return List(
            windowFrom: latest?.run.windowFrom ?? window.from,
            windowTo: latest?.run.windowTo ?? window.to,
            asOf: latest?.run.asOf ?? now,
            source: .postgres,
            products: try await named(latest?.list ?? [], deadline: deadline)
        )
    }

    private func readBoard(_ ranking: Ranking) async -> RankingBoard.List? {
        do {
            return try await board.read(
                ranking,
                limit: PopularProducts.candidates,
                deadline: .now + PopularProducts.redisTimeout
            )
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
