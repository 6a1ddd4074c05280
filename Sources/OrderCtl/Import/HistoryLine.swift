import Foundation

/// A line of a history as it stands in the file.
struct SourceLine: Sendable, Equatable {
    /// From 1.
    let number: Int
    let raw: [UInt8]
}

/// A line of a history, checked.
struct HistoryLine: Sendable, Equatable {
    let orderRef: String
    let userRef: String
    let productRef: String
    let productName: String
    let category: String?
    let quantity: Int64
    /// In minor units.
    let unitPrice: Int64
    /// Milliseconds since 1970.
    let orderedAt: Int64
}

/// Reads lines of a history by the names of its columns.
struct HistoryColumns: Sendable {
    /// The names, each of which a header has once, in any order.
    static let names = [
        "order_ref", "user_ref", "product_ref", "product_name", "category", "quantity", "unit_price", "ordered_at",
    ]
    /// In characters.
    static let maximumReferenceLength = 100
    static let quantities: ClosedRange<Int64> = 1...1_000_000
    static let unitPrices: ClosedRange<Int64> = 1...1_000_000_000

    /// What a line is.
    enum Reading: Equatable {
        case line(HistoryLine)
        /// The order that it belongs to, if that can be told, and all that is wrong with it.
        case bad(orderRef: String?, reason: String)
    }

    /// Where in a record each of ``names`` stands.
    private let positions: [Int]
    /// Milliseconds since 1970; nothing was ordered later.
    private let latest: Int64

    /// Finds the columns in a header; throws ``CSVFault`` when one is missing or unknown.
    init(header: [String], latest: Int64) throws {
        let expected = "expected \(HistoryColumns.names.joined(separator: ","))"
        if let unknown = header.first(where: { !HistoryColumns.names.contains($0) }) {
            throw CSVFault(description: "the header has an unknown column '\(unknown.prefix(40))': \(expected)")
        }
        positions = try HistoryColumns.names.map { name in
            guard let position = header.firstIndex(of: name) else {
                throw CSVFault(description: "the header has no column \(name): \(expected)")
            }
            return position
        }
        self.latest = latest
    }

    /// Checks a record.
    func read(_ record: CSVRecord) -> Reading {
        guard record.count == positions.count else {
            // A guess that errs on the safe side: an order of which a line may be missing is not imported.
            var ignored: [String] = []
            let order = positions[0] < record.count ? reference(record, 0, &ignored) : nil
            return .bad(orderRef: order, reason: "\(record.count) fields instead of \(positions.count)")
        }
        var faults: [String] = []
        let order = reference(record, 0, &faults)
        let user = reference(record, 1, &faults)
        let product = reference(record, 2, &faults)
        let name = label(record, 3, 1...200, &faults)
        let category = label(record, 4, 0...100, &faults)
        let quantity = number(record, 5, HistoryColumns.quantities, &faults)
        let price = number(record, 6, HistoryColumns.unitPrices, &faults)
        let time = time(record, 7, &faults)
        guard faults.isEmpty, let order, let user, let product, let name, let category, let quantity, let price,
            let time
        else {
            return .bad(orderRef: order, reason: faults.joined(separator: "; "))
        }
        return .line(
            HistoryLine(
                orderRef: order,
                userRef: user,
                productRef: product,
                productName: name,
                category: category.isEmpty ? nil : category,
                quantity: quantity,
                unitPrice: price,
                orderedAt: time
            )
        )
    }

    /// A line that is no record: whose it seems to be, unless a quote stands before that.
    func readBroken(_ raw: [UInt8], _ reason: String) -> Reading {
        let fields = raw.split(
            separator: UInt8(ascii: ","),
            maxSplits: positions[0] + 1,
            omittingEmptySubsequences: false
        )
        let isPlain = !fields.prefix(positions[0] + 1).joined().contains(UInt8(ascii: "\""))
        guard fields.count > positions[0], isPlain else { return .bad(orderRef: nil, reason: reason) }
        let reference = String(validating: fields[positions[0]], as: UTF8.self) ?? ""
        return .bad(orderRef: reference.isEmpty ? nil : reference, reason: reason)
    }

    private func text(_ record: CSVRecord, _ column: Int, _ faults: inout [String]) -> String? {
        let text = record.text(positions[column])
        if text == nil { faults.append("\(HistoryColumns.names[column]) is not UTF-8") }
        return text
    }

    private func reference(_ record: CSVRecord, _ column: Int, _ faults: inout [String]) -> String? {
        guard let text = label(record, column, 1...HistoryColumns.maximumReferenceLength, &faults) else { return nil }
        if text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) {
            faults.append("\(HistoryColumns.names[column]) has a control character")
            return nil
        }
        guard Self.isNormal(text) else {
            faults.append(
                "\(HistoryColumns.names[column]) is not in Unicode's normal form C (NFC): "
                    + "convert the file, for example with 'uconv -x any-nfc'"
            )
            return nil
        }
        return text
    }

    /// Whether it is in normal form C. Of such texts Swift takes those for the same that have the same bytes, as
    /// PostgreSQL does; of others also some that PostgreSQL tells apart.
    private static func isNormal(_ text: String) -> Bool {
        text.utf8.allSatisfy { $0 < 0x80 } || text.precomposedStringWithCanonicalMapping.utf8.elementsEqual(text.utf8)
    }

    private func label(
        _ record: CSVRecord,
        _ column: Int,
        _ length: ClosedRange<Int>,
        _ faults: inout [String]
    ) -> String? {
        guard let text = text(record, column, &faults) else { return nil }
        let name = HistoryColumns.names[column]
        if text.isEmpty, length.lowerBound > 0 {
            faults.append("\(name) is empty")
        } else if text.utf8.count > length.upperBound, text.unicodeScalars.count > length.upperBound {
            faults.append("\(name) is longer than \(length.upperBound) characters")
        } else if text.utf8.contains(0) {
            faults.append("\(name) has a zero byte")
        } else {
            return text
        }
        return nil
    }

    /// Digits alone, with a sign for what is negative.
    private func number(
        _ record: CSVRecord,
        _ column: Int,
        _ range: ClosedRange<Int64>,
        _ faults: inout [String]
    ) -> Int64? {
        guard let text = text(record, column, &faults) else { return nil }
        if let number = Int64(text), range.contains(number), text.utf8.first != UInt8(ascii: "+") { return number }
        faults.append(
            "\(HistoryColumns.names[column]) is '\(Self.shown(text))': expected a whole number from "
                + "\(range.lowerBound) to \(range.upperBound)"
        )
        return nil
    }

    private func time(_ record: CSVRecord, _ column: Int, _ faults: inout [String]) -> Int64? {
        guard let text = text(record, column, &faults) else { return nil }
        let name = HistoryColumns.names[column]
        do {
            let milliseconds = try OrderTime.milliseconds(text.utf8)
            if milliseconds <= latest { return milliseconds }
            faults.append("\(name) is '\(Self.shown(text))', which is still to come")
        } catch .hasNoZone {
            faults.append("\(name) is '\(Self.shown(text))', without a zone: expected Z or an offset behind it")
        } catch {
            faults.append("\(name) is '\(Self.shown(text))': expected a time such as 2026-01-31T09:05:00+09:00")
        }
        return nil
    }

    /// A value in a message: its beginning, on one line.
    private static func shown(_ text: String) -> String {
        String(text.prefix(40).map { $0.isNewline || $0 == "\0" ? " " : $0 })
    }
}
