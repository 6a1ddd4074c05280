import OrderMessages
import Yams

/// The description of the API. `openapi.yaml` beside this file is its one source, and part of the executable.
enum OpenAPIDocument {
    /// A part of the description that JSON cannot say.
    struct NotJSON: Error, CustomStringConvertible {
        let description: String
    }

    /// The text of `openapi.yaml`.
    static var yaml: String { String(decoding: PackageResources.openapi_yaml, as: UTF8.self) }

    /// The same description in JSON, its fields in the same order.
    ///
    /// - Throws: `YamlError` or ``NotJSON`` when a text is none that both formats can say.
    static func json(from yaml: String) throws -> String {
        guard let node = try Yams.compose(yaml: yaml) else { throw NotJSON(description: "the text is empty") }
        var json = ""
        try write(node, to: &json)
        return json
    }

    private static func write(_ node: Node, to json: inout String) throws {
        switch node {
        case .mapping(let mapping):
            json += "{"
            for (index, pair) in mapping.enumerated() {
                guard case .scalar(let key) = pair.key else { throw NotJSON(description: "a key is no text") }
                json += (index == 0 ? "" : ",") + (try encoded(key.string)) + ":"
                try write(pair.value, to: &json)
            }
            json += "}"
        case .sequence(let sequence):
            json += "["
            for (index, element) in sequence.enumerated() {
                if index > 0 { json += "," }
                try write(element, to: &json)
            }
            json += "]"
        case .scalar(let scalar):
            json += try text(of: scalar, tag: node.tag.description)
        case .alias:
            throw NotJSON(description: "an alias is left over")
        }
    }

    private static func text(of scalar: Node.Scalar, tag: String) throws -> String {
        switch tag {
        case Tag.Name.null.rawValue: "null"
        case Tag.Name.bool.rawValue: try encoded(Bool.construct(from: scalar))
        case Tag.Name.int.rawValue: try encoded(Int.construct(from: scalar))
        case Tag.Name.float.rawValue: try encoded(Double.construct(from: scalar))
        default: try encoded(scalar.string)
        }
    }
}
