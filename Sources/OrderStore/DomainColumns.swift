import FoundationEssentials
import OrderDomain
import Postgres

/// A row holds what the schema forbids; only a schema that is not ours can cause it.
struct UnexpectedRow: Error, CustomStringConvertible {
    let description: String
}

extension String {
    /// As a column can hold it that is bounded by `char_length`: PostgreSQL counts code points, and has no U+0000.
    func storable(limit: Int) -> String {
        String(String.UnicodeScalarView(unicodeScalars.lazy.filter { $0 != "\0" }.prefix(limit)))
    }
}

extension PostgresRow {
    func userID(_ column: String) throws -> UserID {
        try valid(column, UserID(try get(column)))
    }

    func productID(_ column: String) throws -> ProductID {
        try valid(column, ProductID(try get(column)))
    }

    func orderID(_ column: String) throws -> OrderID {
        OrderID(try get(column))
    }

    func money(_ column: String) throws -> Money {
        Money(minorUnits: try get(column))
    }

    func quantity(_ column: String) throws -> Quantity {
        try valid(column, Quantity(Int(try get(column, as: Int32.self))))
    }

    func choice<T: RawRepresentable>(_ column: String) throws -> T where T.RawValue == String {
        try valid(column, T(rawValue: try get(column)))
    }

    private func valid<T>(_ column: String, _ value: T?) throws -> T {
        guard let value else {
            throw UnexpectedRow(description: "column \(column) holds a value that the domain does not know")
        }
        return value
    }
}
