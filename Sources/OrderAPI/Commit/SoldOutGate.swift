import OrderDomain
import Synchronization

/// Remembers which products are sold out, so that the crowd which comes too late is answered without the database.
///
/// It is told by the batches that were committed. What it knows is at most ``recheckInterval`` old: after that one
/// order goes through to the database, whose answer is the news. So a stock that another process has filled up is seen
/// within that time, and one that this process has filled up at once.
final class SoldOutGate: Sendable {
    /// How long the gate answers on its own before the database is asked again.
    static let recheckInterval = Duration.milliseconds(100)
    /// The most products that it knows of; beyond that it begins anew.
    static let maximumProducts = 100_000

    private struct Knowledge {
        /// The product's version of which this was true: news that comes late must not overwrite newer.
        var version: Int64
        var isSoldOut: Bool
        var recheckAt: ContinuousClock.Instant
    }

    private let products = Mutex<[ProductID: Knowledge]>([:])

    /// The shortages of a basket of which every product is known to be sold out; nil when the database must say.
    func shortages(of lines: [BasketLine]) -> [Shortage]? {
        let now = ContinuousClock.now
        let isKnown = products.withLock { products in
            guard lines.allSatisfy({ products[$0.productID]?.isSoldOut == true }) else { return false }
            for line in lines where products[line.productID].map({ $0.recheckAt <= now }) ?? true {
                // This order is the one that asks; those behind it are answered here until its answer comes.
                products[line.productID]?.recheckAt = now + SoldOutGate.recheckInterval
                return false
            }
            return true
        }
        guard isKnown else { return nil }
        return lines.map { Shortage(productID: $0.productID, requested: Int64($0.quantity.pieces), available: 0) }
    }

    /// Tells what a product's stock is in a version of it; versions that are older than what is known are ignored.
    func learn(_ product: ProductID, stock: Int64, version: Int64) {
        learn([(product, stock, version)])
    }

    /// Tells what a committed batch has found and left.
    func learn(_ adjudication: Adjudication, _ snapshot: Snapshot) {
        let changed = Set(adjudication.stocks.map(\.productID))
        var news = adjudication.stocks.map { ($0.productID, $0.stock, $0.version) }
        for case .refused(.insufficientStock(let shortages)) in adjudication.outcomes {
            for shortage in shortages where shortage.available == 0 && !changed.contains(shortage.productID) {
                guard let shelf = snapshot.shelves[shortage.productID] else { continue }
                news.append((shortage.productID, 0, shelf.version))
            }
        }
        learn(news)
    }

    private func learn(_ news: [(product: ProductID, stock: Int64, version: Int64)]) {
        guard !news.isEmpty else { return }
        let recheckAt = ContinuousClock.now + SoldOutGate.recheckInterval
        products.withLock { products in
            if products.count + news.count > SoldOutGate.maximumProducts { products.removeAll() }
            for (product, stock, version) in news where version >= products[product]?.version ?? 0 {
                products[product] = Knowledge(version: version, isSoldOut: stock <= 0, recheckAt: recheckAt)
            }
        }
    }
}
