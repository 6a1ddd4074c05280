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
        let ids = PostgresValue.uuidArray(lines.map(\.order.id.uuid))
        let products = PostgresValue.int64Array(lines.map(\.item.productID.rawValue))
        let quantities = PostgresValue.int32Array(lines.map { Int32(clamping: $0.item.quantity.pieces) })
        let amounts = PostgresValue.int64Array(lines.map(\.item.amount.minorUnits))
        let items = PostgresStep(
            CommitStore.Statements.insertItems,
            [
                ids,
                .int16Array(lines.map { Int16(clamping: $0.line) }),
                products,
                .textArray(lines.map(\.item.name)),
                quantities,
                .int64Array(lines.map(\.item.unitPrice.minorUnits)),
                amounts,
            ]
        )
        let sales = PostgresStep(
            CommitStore.Statements.insertSales,
            [ids, products, quantities, amounts, .timestampArray(lines.map(\.order.createdAt))]
        )
        return [items, sales]
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
                    .int64Array(answers.map(\.claim.key.userID.rawValue)),
                    .textArray(answers.map(\.claim.key.key)),
                    .bytesArray(answers.map(\.claim.fingerprint)),
                    .int16Array(answers.map { Int16(clamping: $0.answer.status) }),
                    .textArray(answers.map(\.answer.location)),
                    .textArray(answers.map(\.answer.contentType)),
                    .textArray(answers.map(\.answer.body)),
                    .timestamp(now),
                    .timestamp(keysSince),
                ]
            )
        ]
    }
}
