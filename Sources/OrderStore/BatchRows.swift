import FoundationEssentials
import OrderDomain
import Postgres

/// A batch as columns: one statement a table, one array a column, whatever the number of orders.
///
/// Each function gives no step at all when there is nothing to write.
enum BatchRows {
    static func balances(_ adjudication: Adjudication) -> [PostgresStep] {
        let changes = adjudication.balances
        guard !changes.isEmpty else { return [] }
        var changedAt: [UserID: Date] = [:]
        for entry in adjudication.entries { changedAt[entry.userID] = entry.createdAt }
        return [
            PostgresStep(
                CommitStore.Statements.updateBalances,
                [
                    .int64Array(changes.map(\.userID.rawValue)),
                    .int64Array(changes.map(\.balance.minorUnits)),
                    .int64Array(changes.map(\.versionBefore)),
                    .int64Array(changes.map(\.versionAfter)),
                    .timestampArray(changes.map { changedAt[$0.userID] ?? Date(timeIntervalSince1970: 0) }),
                ]
            )
        ]
    }

    static func stocks(_ adjudication: Adjudication, at now: Date) -> [PostgresStep] {
        let changes = adjudication.stocks
        guard !changes.isEmpty else { return [] }
        return [
            PostgresStep(
                CommitStore.Statements.updateStocks,
                [
                    .int64Array(changes.map(\.productID.rawValue)),
                    .int64Array(changes.map(\.stock)),
                    .timestamp(now),
                ]
            )
        ]
    }

    static func orders(_ orders: [Order]) -> [PostgresStep] {
        guard !orders.isEmpty else { return [] }
        let ids = PostgresValue.uuidArray(orders.map(\.id.uuid))
        let heads = PostgresStep(
            CommitStore.Statements.insertOrders,
            [
                ids,
                .int64Array(orders.map(\.userID.rawValue)),
                .textArray(orders.map(\.status.rawValue)),
                .int64Array(orders.map(\.total.minorUnits)),
                .int32Array(orders.map { Int32(clamping: $0.version) }),
                .timestampArray(orders.map(\.createdAt)),
                .timestampArray(orders.map(\.updatedAt)),
            ]
        )
        let payments = PostgresStep(
            CommitStore.Statements.insertPayments,
            [
                ids,
                .int64Array(orders.map(\.payment.amount.minorUnits)),
                .textArray(orders.map(\.payment.status.rawValue)),
                .timestampArray(orders.map(\.payment.paidAt)),
            ]
        )
        return [heads] + items(orders) + [payments]
    }

    private static func items(_ orders: [Order]) -> [PostgresStep] {
        let lines = orders.flatMap { order in
            order.items.enumerated().map { (order: order, line: $0.offset + 1, item: $0.element) }
        }
        let items = PostgresStep(
            CommitStore.Statements.insertItems,
            [
                .uuidArray(lines.map(\.order.id.uuid)),
                .int16Array(lines.map { Int16(clamping: $0.line) }),
                .int64Array(lines.map(\.item.productID.rawValue)),
                .textArray(lines.map(\.item.name)),
                .int32Array(lines.map { Int32(clamping: $0.item.quantity.pieces) }),
                .int64Array(lines.map(\.item.unitPrice.minorUnits)),
                .int64Array(lines.map(\.item.amount.minorUnits)),
            ]
        )
        return [items, ledger(CommitStore.Statements.insertSales, orders)]
    }

    static func changes(_ changes: [Adjudication.OrderChange]) -> [PostgresStep] {
        guard !changes.isEmpty else { return [] }
        // Of an order that changed twice the last state counts; versions rise.
        let last = Dictionary(changes.map { ($0.order.id, $0.order) }, uniquingKeysWith: { $1 })
        let orders = last.values.sorted { $0.id.uuid < $1.id.uuid }
        let cancelled = orders.filter { $0.status == .cancelled }
        var steps = [
            PostgresStep(
                CommitStore.Statements.updateOrders,
                [
                    .uuidArray(orders.map(\.id.uuid)),
                    .textArray(orders.map(\.status.rawValue)),
                    .int32Array(orders.map { Int32(clamping: $0.version) }),
                    .timestampArray(orders.map(\.updatedAt)),
                ]
            ),
            PostgresStep(
                CommitStore.Statements.insertTransitions,
                [
                    .uuidArray(changes.map(\.order.id.uuid)),
                    .int32Array(changes.map { Int32(clamping: $0.order.version) }),
                    .textArray(changes.map(\.from.rawValue)),
                    .textArray(changes.map(\.order.status.rawValue)),
                    .textArray(changes.map(\.reason)),
                    .timestampArray(changes.map(\.order.updatedAt)),
                ]
            ),
        ]
        if !cancelled.isEmpty {
            steps.append(
                PostgresStep(
                    CommitStore.Statements.refundPayments,
                    [.uuidArray(cancelled.map(\.id.uuid)), .timestampArray(cancelled.map(\.updatedAt))]
                )
            )
            steps.append(ledger(CommitStore.Statements.insertReturns, cancelled))
        }
        return steps
    }

    private static func ledger(_ statement: SQLStatement, _ orders: [Order]) -> PostgresStep {
        let lines = orders.flatMap { order in order.items.map { (order: order, item: $0) } }
        return PostgresStep(
            statement,
            [
                .uuidArray(lines.map(\.order.id.uuid)),
                .int64Array(lines.map(\.item.productID.rawValue)),
                .int32Array(lines.map { Int32(clamping: $0.item.quantity.pieces) }),
                .int64Array(lines.map(\.item.amount.minorUnits)),
                .timestampArray(lines.map(\.order.createdAt)),
            ]
        )
    }

    static func keys(_ claims: [IdempotencyClaim], since: Date) -> PostgresStep {
        PostgresStep(
            CommitStore.Statements.readKeys,
            [
                .int64Array(claims.map { $0.key.userID?.rawValue ?? 0 }),
                .textArray(claims.map(\.key.key)),
                .timestamp(since),
            ]
        )
    }

    static func entries(_ entries: [BalanceEntry]) -> [PostgresStep] {
        guard !entries.isEmpty else { return [] }
        return [
            PostgresStep(
                CommitStore.Statements.insertEntries,
                [
                    .uuidArray(entries.map(\.id)),
                    .int64Array(entries.map(\.userID.rawValue)),
                    .int64Array(entries.map(\.version)),
                    .textArray(entries.map(\.kind.rawValue)),
                    .int64Array(entries.map(\.amount.minorUnits)),
                    .int64Array(entries.map(\.balanceAfter.minorUnits)),
                    .uuidArray(entries.map { $0.orderID?.uuid }),
                    .timestampArray(entries.map(\.createdAt)),
                ]
            )
        ]
    }

    static func events(_ events: [OutboxEvent]) -> [PostgresStep] {
        guard !events.isEmpty else { return [] }
        return [
            PostgresStep(
                CommitStore.Statements.insertEvents,
                [
                    .int16Array(events.map { OutboxStore.shard(of: $0.orderID) }),
                    .uuidArray(events.map(\.id)),
                    .uuidArray(events.map(\.orderID.uuid)),
                    .int32Array(events.map { Int32(clamping: $0.sequence) }),
                    .textArray(events.map(\.type)),
                    .timestampArray(events.map(\.occurredAt)),
                    .textArray(events.map(\.traceparent)),
                    .jsonArray(events.map(\.data)),
                ]
            )
        ]
    }

    static func answers(
        _ answers: [(claim: IdempotencyClaim, answer: RememberedAnswer)],
        at now: Date,
        keysSince: Date
    ) -> [PostgresStep] {
        guard !answers.isEmpty else { return [] }
        return [
            PostgresStep(
                CommitStore.Statements.upsertAnswers,
                [
                    .int64Array(answers.map { $0.claim.key.userID?.rawValue ?? 0 }),
                    .textArray(answers.map(\.claim.key.key)),
                    .bytesArray(answers.map(\.claim.fingerprint)),
                    .int16Array(answers.map { Int16(clamping: $0.answer.status) }),
                    .textArray(answers.map(\.answer.location)),
                    .textArray(answers.map(\.answer.contentType)),
                    .textArray(answers.map(\.answer.etag)),
                    .textArray(answers.map(\.answer.body)),
                    .timestamp(now),
                    .timestamp(keysSince),
                ]
            )
        ]
    }
}
