import FoundationEssentials

/// Which page of a list is wanted.
package struct PageRequest: Hashable, Sendable {
    /// How many elements a page may have.
    package static let limits = 1...100

    package let limit: Int
    /// What the last page's `nextCursor` said: the position after which to go on.
    package let after: [String]?

    /// Reads `?limit=` and `?cursor=`.
    ///
    /// - Parameters:
    ///   - limit: the parameter as it was sent.
    ///   - cursor: the parameter as it was sent.
    ///   - parts: how many values the position of this list has.
    ///   - defaultLimit: what is meant when nothing was sent.
    /// - Throws: ``ValidationFailure`` naming the parameter.
    package init(limit: String?, cursor: String?, parts: Int, defaultLimit: Int = 20) throws {
        var errors: [FieldError] = []
        let number = limit.map { Int($0) ?? 0 } ?? defaultLimit
        if !PageRequest.limits.contains(number) {
            errors.append(
                FieldError(field: "limit", code: "out_of_range", detail: "must be a whole number from 1 to 100")
            )
        }
        let position = cursor.flatMap(PageRequest.position)
        if cursor != nil, position?.count != parts {
            errors.append(
                FieldError(field: "cursor", code: "invalid", detail: "must be a nextCursor of this same list")
            )
        }
        guard errors.isEmpty else { throw ValidationFailure(errors) }
        self.limit = number
        after = position
    }

    /// The cursor that stands for a position: opaque to clients, free of characters that a URL would escape.
    package static func cursor(_ position: [String]) -> String {
        let text = (try? JSONEncoder().encode(position)) ?? Data()
        return text.base64EncodedString()
            .replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    private static func position(_ cursor: String) -> [String]? {
        let standard = cursor.replacing("-", with: "+").replacing("_", with: "/")
        let padded = standard + String(repeating: "=", count: (4 - standard.count % 4) % 4)
        let parts = Data(base64Encoded: padded).flatMap { try? JSONDecoder().decode([String].self, from: $0) }
        // PostgreSQL's texts cannot hold a NUL, so no cursor of ours has one.
        return parts.flatMap { $0.contains(where: { $0.utf8.contains(0) }) ? nil : $0 }
    }
}
