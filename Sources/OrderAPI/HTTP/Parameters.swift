import FoundationEssentials
import Hummingbird
import OrderDomain
import OrderMessages

extension APIContext {
    /// The user of the path; throws `Problem` 404 when it is no id.
    func userID() throws -> UserID {
        let text = try parameters.require("id")
        guard let id = Int64(text).flatMap(UserID.init) else { throw Problem.notFound("user", "\(text.prefix(64))") }
        return id
    }

    /// The product of the path; throws `Problem` 404 when it is no id.
    func productID() throws -> ProductID {
        let text = try parameters.require("id")
        guard let id = Int64(text).flatMap(ProductID.init) else {
            throw Problem.notFound("product", "\(text.prefix(64))")
        }
        return id
    }

    /// The order of the path; throws `Problem` 404 when it is no id.
    func orderID() throws -> OrderID {
        let text = try parameters.require("id")
        guard let uuid = UUID(uuidString: text) else { throw Problem.notFound("order", "\(text.prefix(64))") }
        return OrderID(uuid)
    }
}

extension Request {
    /// The query's parameters.
    ///
    /// - Throws: `ValidationFailure` naming a parameter that is not among `known`, comes twice, or holds a control
    ///   character.
    func query(_ known: Set<String>) throws -> [String: String] {
        var values: [String: String] = [:]
        var errors: [FieldError] = []
        for (name, value) in uri.queryParameters {
            let name = String(name)
            if !known.contains(name) {
                errors.append(
                    FieldError(field: String(name.prefix(64)), code: "unknown_field", detail: "is not a parameter here")
                )
            } else if values.updateValue(String(value), forKey: name) != nil {
                errors.append(FieldError(field: name, code: "invalid", detail: "must be given once"))
            } else if value.unicodeScalars.contains(where: { $0.properties.generalCategory == .control }) {
                errors.append(FieldError(field: name, code: "invalid", detail: "must not contain control characters"))
            }
        }
        guard errors.isEmpty else { throw ValidationFailure(errors) }
        return values
    }
}

/// One of the values of `Choice`, or nil when the parameter was not sent.
///
/// - Throws: `ValidationFailure` naming the parameter and the values that it may have.
func choice<Choice: RawRepresentable<String> & CaseIterable>(
    _ name: String,
    in query: [String: String],
    as type: Choice.Type = Choice.self
) throws -> Choice? {
    guard let text = query[name] else { return nil }
    guard let choice = Choice(rawValue: text) else {
        let choices = Choice.allCases.map(\.rawValue).joined(separator: ", ")
        throw ValidationFailure([FieldError(field: name, code: "invalid", detail: "must be one of \(choices)")])
    }
    return choice
}
