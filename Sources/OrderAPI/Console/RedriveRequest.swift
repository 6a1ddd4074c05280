import Foundation
import Operations
import OrderMessages

extension DeadLetterDesk.Order {
    private static let names: Set<String> = ["dryRun", "group", "all", "expected", "redriveId"]
    private static let maximumRedriveIDLength = 100
    private static let maximumGroupLength = 200
    /// The most unknown fields that are named.
    private static let maximumUnknown = 20

    /// Reads what a redrive is asked for, strictly: a slip must not send more than was meant. A `group` or
    /// `"all": true` is wanted, and without `dryRun` how many are `expected`.
    ///
    /// Throws `ValidationFailure` with everything that is wrong in it.
    init(parsing body: Data) throws(ValidationFailure) {
        guard case .object(let fields)? = try? JSONValue(parsing: body) else {
            throw ValidationFailure([FieldError(field: "body", code: "wrong_type", detail: "must be a JSON object")])
        }
        var errors = Self.unknown(fields)
        func note(_ field: String, _ detail: String) {
            let code = fields[field] == nil ? "required" : "invalid"
            errors.append(FieldError(field: field, code: code, detail: detail))
        }
        if case .bool(let flag)? = fields["dryRun"] {
            dryRun = flag
        } else {
            dryRun = true
            note("dryRun", "must be true or false")
        }
        switch (fields["group"], fields["all"]) {
        case (.string(let group)?, nil) where (1...Self.maximumGroupLength).contains(group.unicodeScalars.count):
            selection = .group(group)
        case (nil, .bool(true)?): selection = .all
        default:
            selection = .all
            note(
                "group",
                "must be a text of 1 to \(Self.maximumGroupLength) characters, or instead of it \"all\": true"
            )
        }
        let most = DeadLetterDesk.maximumLetters
        switch fields["expected"] {
        case nil where dryRun: limit = most
        case .integer(let count)? where !dryRun && (1...Int64(most)).contains(count): limit = Int(count)
        default:
            limit = 0
            note("expected", "must be what a dry run has selected, 1 to \(most); not given in a dry run")
        }
        switch fields["redriveId"] {
        case nil, .null?: redriveId = nil
        case .string(let id)? where (1...Self.maximumRedriveIDLength).contains(id.unicodeScalars.count): redriveId = id
        default:
            redriveId = nil
            note("redriveId", "must be a text of 1 to \(Self.maximumRedriveIDLength) characters, or null")
        }
        guard errors.isEmpty else { throw ValidationFailure(errors) }
    }

    private static func unknown(_ fields: [String: JSONValue]) -> [FieldError] {
        fields.keys.filter { !names.contains($0) }.sorted().prefix(maximumUnknown).map {
            FieldError(field: $0, code: "unknown_field", detail: "is not a field of this request")
        }
    }
}
