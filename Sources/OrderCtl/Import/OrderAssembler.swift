import Crypto
import FoundationEssentials
import OrderStore

/// A line that is not imported, and why.
struct RejectedLine: Sendable, Equatable {
    let source: SourceLine
    let reason: String
}

/// An order of a history with the lines that it was made of.
struct HistoricOrder: Sendable {
    let order: ImportStore.Order
    let sources: [SourceLine]
}

/// Makes orders of lines: those of one order stand together.
///
/// An order is taken as a whole or not at all: when one of its lines is bad, all are rejected. Pure.
struct OrderAssembler {
    /// How many products an order has at most, as the schema has it.
    static let maximumProducts = 1_000
    /// How many lines an order has at most; bounds the memory for one.
    static let maximumLines = 5_000
    /// What an order may cost at most, in minor units: nine million such orders fit the 64-bit sums of the ranking,
    /// which would otherwise fail in every run for days.
    static let maximumTotal: Int64 = 1_000_000_000_000
    /// How many orders may be rejected, of which the references are kept in memory; with more the import ends.
    static let maximumRejectedOrders = 1_000_000

    /// What a line has led to.
    enum Outcome {
        case order(HistoricOrder)
        /// Lines that are left out; `isOrder` when they are the whole of an order.
        case rejected([RejectedLine], isOrder: Bool)
    }

    /// Too many orders were rejected for the file to be what it should be.
    struct TooManyRejected: Error, CustomStringConvertible {
        var description: String {
            "more than \(OrderAssembler.maximumRejectedOrders) orders are rejected: mend the file first"
        }
    }

    private struct Group {
        let orderRef: String
        var lines: [HistoryLine] = []
        var sources: [SourceLine] = []
        /// What is wrong, by the place in `sources`.
        var faults: [Int: String] = [:]
        /// The line behind its last one, when nobody can tell whose it is.
        var unreadable: Int?
        /// Such a line with further lines of the order behind it.
        var gap: Int?
        /// It has more than ``OrderAssembler/maximumLines``; its further lines are rejected as they come.
        var isTooLong = false
    }

    private var group: Group?
    /// Hashes of the references whose orders were rejected.
    private var rejected: Set<Int> = []

    /// Takes the next line, and gives what is complete with it.
    mutating func take(_ reading: HistoryColumns.Reading, from source: SourceLine) throws -> [Outcome] {
        let orderRef: String?
        switch reading {
        case .line(let line): orderRef = line.orderRef
        case .bad(let reference, _): orderRef = reference
        }
        guard let orderRef else {
            guard case .bad(_, let reason) = reading else { return [] }
            group?.unreadable = source.number
            return [.rejected([RejectedLine(source: source, reason: reason)], isOrder: false)]
        }
        let finished = group?.orderRef == orderRef ? [] : try finish()
        return try finished + add(reading, of: orderRef, from: source)
    }

    /// Gives the order whose lines came last.
    mutating func finish() throws -> [Outcome] {
        defer { group = nil }
        guard let group, !group.isTooLong else { return [] }
        if !group.faults.isEmpty { return try reject(group) }
        if let gap = group.gap { return try reject(group, "line \(gap), among the lines of this order, is rejected") }
        if rejected.contains(group.orderRef.hashValue) {
            return try reject(group, "an earlier part of this order was rejected; the lines of an order stand together")
        }
        switch Self.order(of: group.lines) {
        case .success(let order): return [.order(HistoricOrder(order: order, sources: group.sources))]
        case .failure(let fault): return try reject(group, fault.reason)
        }
    }

    private mutating func add(
        _ reading: HistoryColumns.Reading,
        of orderRef: String,
        from source: SourceLine
    ) throws -> [Outcome] {
        var current = group ?? Group(orderRef: orderRef)
        group = nil
        defer { group = current }
        current.gap = current.gap ?? current.unreadable
        if case .bad(_, let reason) = reading { current.faults[current.sources.count] = reason }
        if case .line(let line) = reading { current.lines.append(line) }
        current.sources.append(source)
        guard current.isTooLong || current.sources.count > Self.maximumLines else { return [] }
        let outcome = try reject(
            current,
            "the order has more than \(Self.maximumLines) lines",
            isOrder: !current.isTooLong
        )
        current = Group(orderRef: orderRef, isTooLong: true)
        return outcome
    }

    /// Rejects all lines: those that are bad for their own reasons, the others for the one given.
    private mutating func reject(
        _ group: Group,
        _ reason: String? = nil,
        isOrder: Bool = true
    ) throws -> [Outcome] {
        rejected.insert(group.orderRef.hashValue)
        guard rejected.count <= Self.maximumRejectedOrders else { throw TooManyRejected() }
        let first = group.faults.keys.min().map { group.sources[$0].number } ?? 0
        let lines = group.sources.enumerated().map { index, source in
            RejectedLine(
                source: source,
                reason: group.faults[index] ?? reason ?? "another line of this order is rejected: line \(first)"
            )
        }
        return [.rejected(lines, isOrder: isOrder)]
    }
}

extension OrderAssembler {
    private struct Fault: Error {
        let reason: String
    }

    /// The order of these lines, or what is wrong with them together; there is at least one.
    private static func order(of lines: [HistoryLine]) -> Result<ImportStore.Order, Fault> {
        guard let first = lines.first else { return .failure(Fault(reason: "the order has no lines")) }
        guard lines.allSatisfy({ $0.userRef == first.userRef }) else {
            return .failure(Fault(reason: "the lines of the order differ in user_ref"))
        }
        guard lines.allSatisfy({ $0.orderedAt == first.orderedAt }) else {
            return .failure(Fault(reason: "the lines of the order differ in ordered_at"))
        }
        return summed(lines).flatMap { items in
            // At most 5,000 lines of at most 10^15 each: their sum fits.
            let total = items.reduce(0) { $0 + Int64($1.quantity) * $1.unitPrice }
            guard total <= maximumTotal else {
                return .failure(Fault(reason: "the order costs \(total): expected at most \(maximumTotal)"))
            }
            return .success(
                ImportStore.Order(
                    reference: first.orderRef,
                    id: id(of: first.orderRef, at: first.orderedAt),
                    fingerprint: fingerprint(user: first.userRef, at: first.orderedAt, items),
                    userRef: first.userRef,
                    orderedAt: Date(timeIntervalSince1970: Double(first.orderedAt) / 1_000),
                    items: items,
                    total: total
                )
            )
        }
    }

    /// One item a product, in the order in which the products come first.
    private static func summed(_ lines: [HistoryLine]) -> Result<[ImportStore.Item], Fault> {
        var items: [HistoryLine] = []
        var quantities: [Int64] = []
        var places: [String: Int] = [:]
        for line in lines {
            guard let place = places[line.productRef] else {
                places[line.productRef] = items.count
                items.append(line)
                quantities.append(line.quantity)
                continue
            }
            guard items[place].unitPrice == line.unitPrice else {
                return .failure(Fault(reason: "product \(line.productRef) stands in the order at two prices"))
            }
            quantities[place] += line.quantity
            guard HistoryColumns.quantities.contains(quantities[place]) else {
                let most = HistoryColumns.quantities.upperBound
                return .failure(Fault(reason: "product \(line.productRef) stands in the order more than \(most) times"))
            }
        }
        guard items.count <= maximumProducts else {
            return .failure(Fault(reason: "the order has more than \(maximumProducts) products"))
        }
        return .success(
            zip(items, quantities).map { item, quantity in
                ImportStore.Item(
                    productRef: item.productRef,
                    productName: item.productName,
                    category: item.category,
                    quantity: Int32(clamping: quantity),
                    unitPrice: item.unitPrice
                )
            }
        )
    }

    /// A UUID of version 7 that says when the order was made, so that lists of orders have it in its place; the rest
    /// comes from the reference, so that the same order has the same id wherever it is imported.
    private static func id(of reference: String, at milliseconds: Int64) -> UUID {
        let hash = Array(SHA256.hash(data: Array("jumun order ".utf8) + Array(reference.utf8)))
        func time(_ shift: Int64) -> UInt8 { UInt8(truncatingIfNeeded: milliseconds >> shift) }
        return UUID(
            uuid: (
                time(40), time(32), time(24), time(16), time(8), time(0), 0x70 | hash[0] & 0x0F, hash[1],
                0x80 | hash[2] & 0x3F, hash[3], hash[4], hash[5], hash[6], hash[7], hash[8], hash[9]
            )
        )
    }

    /// Of what counts for the money: a product's name may change.
    private static func fingerprint(user: String, at milliseconds: Int64, _ items: [ImportStore.Item]) -> [UInt8] {
        // References have no line ends.
        var text = "\(user)\n\(milliseconds)\n"
        for item in items { text += "\(item.productRef)\n\(item.quantity)\n\(item.unitPrice)\n" }
        return Array(SHA256.hash(data: Array(text.utf8)))
    }
}
