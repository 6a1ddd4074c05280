package import FoundationEssentials

/// What products are ranked by.
package enum Ranking: String, CaseIterable, Sendable {
    case quantity
    case amount
}

/// A product's place in a list.
package struct RankedProduct: Hashable, Sendable {
    package let productID: ProductID
    package let quantity: Int64
    package let amount: Money

    /// Makes a place.
    package init(productID: ProductID, quantity: Int64, amount: Money) {
        self.productID = productID
        self.quantity = quantity
        self.amount = amount
    }
}

/// Which lists are the newer ones: the later run of the later database.
package struct RankingVersion: Hashable, Comparable, Sendable {
    /// Rises when a database is made anew or restored, and its runs begin with lower numbers again.
    package let epoch: Int64
    /// Rises with every run: the fencing number of what it publishes.
    package let run: Int64

    /// Makes a version.
    package init(epoch: Int64, run: Int64) {
        self.epoch = epoch
        self.run = run
    }

    package static func < (left: RankingVersion, right: RankingVersion) -> Bool {
        (left.epoch, left.run) < (right.epoch, right.run)
    }
}

/// What one run of the aggregator found.
package struct AggregationRun: Hashable, Sendable {
    /// Who asked for it.
    package enum Trigger: String, CaseIterable, Sendable {
        case manual
        case schedule
        case follow
        case rebuild
    }

    /// What became of its lists in Redis.
    package enum Publication: String, CaseIterable, Sendable {
        case published
        /// A newer run stood there already.
        case superseded
        case failed
    }

    package let version: RankingVersion
    package let trigger: Trigger
    package let window: RankingWindow
    /// Rows of the ledger that it took in.
    package let rowsRead: Int64
    /// Products whose totals changed.
    package let productsTouched: Int64
    package let startedAt: Date
    package let finishedAt: Date
    /// Nil while nobody has tried.
    package let publication: Publication?
    /// How many values the last verification found wrong; nil while there was none.
    package let mismatches: Int64?

    /// Makes a run.
    package init(
        version: RankingVersion,
        trigger: Trigger,
        window: RankingWindow,
        rowsRead: Int64,
        productsTouched: Int64,
        startedAt: Date,
        finishedAt: Date,
        publication: Publication? = nil,
        mismatches: Int64? = nil
    ) {
        self.version = version
        self.trigger = trigger
        self.window = window
        self.rowsRead = rowsRead
        self.productsTouched = productsTouched
        self.startedAt = startedAt
        self.finishedAt = finishedAt
        self.publication = publication
        self.mismatches = mismatches
    }
}
